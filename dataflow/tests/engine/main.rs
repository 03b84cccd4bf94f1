//! The engine against its other two witnesses, the case tables and the reference fold, at every
//! epoch and on several workers.

#![allow(clippy::unwrap_used, clippy::panic)]

mod cases;
mod harness;
mod properties;
