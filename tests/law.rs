//! The law of SPEC §1, on the whole pipeline in this process: same set, same digest; nothing is
//! dropped; published means committed, whatever the store, the log or another writer does.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, unreachable_pub)]

#[path = "common/judge.rs"]
mod judge;
#[path = "common/python.rs"]
mod python;
#[path = "common/records.rs"]
mod records;
#[path = "common/runs.rs"]
mod runs;

#[path = "law/faults.rs"]
mod faults;
#[path = "law/follow.rs"]
mod follow;
#[path = "law/history.rs"]
mod history;
#[path = "law/periods.rs"]
mod periods;
#[path = "law/quarantine.rs"]
mod quarantine;
#[path = "law/set.rs"]
mod set;
#[path = "law/ticks.rs"]
mod ticks;
#[path = "law/transfers.rs"]
mod transfers;
