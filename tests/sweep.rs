//! The program is killed at its durable steps, one by one: before a step, after it, in the middle
//! of a write, and with the power cut. The volume gets full, and syncs fail. Whatever happens, a
//! plain start ends with the books of the log. And the sweep is itself tried on syncs that lie.
//!
//! The tests take a sample of the steps, every kind of step on every kind of file, drawn by a seed
//! that is printed (`TRUEUP_SEED` sets it). The whole sweep is
//! `cargo test --release --test sweep -- --ignored --nocapture`.

// System calls are watched by the means of Linux.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code)]

#[path = "common/program.rs"]
mod program;
#[path = "common/records.rs"]
mod records;

#[path = "sweep/faults.rs"]
mod faults;
#[path = "sweep/kills.rs"]
mod kills;
#[path = "sweep/planted.rs"]
mod planted;
#[path = "sweep/scene.rs"]
mod scene;
