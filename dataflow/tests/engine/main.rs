//! The engine against its witnesses, at every epoch and on several workers: the case tables, the
//! reference fold, and the differential twin.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
mod connections;
mod harness;
mod properties;
mod restarts;
mod sizes;
mod twin;
