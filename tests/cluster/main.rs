//! Several processes of the program make the books of one, whatever happens to them: killed, stopped,
//! called by strangers, told to work with those that do not fit.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code)]

mod fixture;
mod loss;
mod state;
mod strangers;
mod together;

#[path = "../common/judge.rs"]
mod judge;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/records.rs"]
mod records;
#[path = "../common/runs.rs"]
mod runs;
