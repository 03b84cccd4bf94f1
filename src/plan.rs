//! What a load needs: cores, memory, disk, requests, traffic and dollars, by a model that is fed with
//! measured constants. `trueup plan` prints it; docs/capacity.md explains it.
//!
//! ```text
//! Inputs (what is asked) ──┐
//! Mix (what was measured) ─┼─▶ Model ─▶ Bill ─▶ Report ─▶ table, JSON
//! Prices ──────────────────┘      └───▶ limits ──┘
//! ```
//!
//! Guarantees: pure functions of their arguments, in whole numbers with the unit in each name,
//! rounded up where something is to be bought. More events never cost less on the same processes.
//!
//! Left out: any measuring (`benches/capacity/measure.py`), and whatever [`report::NOT_MODELLED`] says.

pub mod bill;
pub mod constants;
pub mod inputs;
pub mod limits;
pub mod model;
pub mod prices;
pub mod report;

/// Days of a month, for everything that is said by the month.
pub const MONTH_DAYS: u128 = 30;

/// How much state, copies and deltas have grown to when it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Days since the first event.
    pub days: u64,
}

/// Returns `percent` of a value, rounded up.
fn percent_of(value: u128, percent: u128) -> u128 {
    (value * percent).div_ceil(100)
}

/// Returns `per_million` of each million of a value, rounded up.
fn per_million_of(value: u128, per_million: u128) -> u128 {
    (value * per_million).div_ceil(1_000_000)
}
