//! The engine: views maintained incrementally with timely and differential dataflow.
//!
//! ```text
//!  push ─▶ events ──▶ transactions ─┬─ rows, some due later ──────────────────────┐
//!            │             ▲        ├─ movements ─▶ balances, days, closed months ─┤
//!            │          closings    ├─ lines, facts ─▶ reconciliation ─────────────┤
//!            │             │        ├─ shards ─▶ trial balance, detectors ─────────┼─▶ publish ─▶ EpochOutput
//!            ├─ periods ───┘        └─ accepted counts ────────────────────────────┤
//!            └─ sequences ─▶ what was sent ─▶ continuity, control totals ──────────┤
//!                                           all imbalances ─▶ alerts, data quality ┘
//! ```
//!
//! Guarantee: what an epoch publishes is the exact difference between two values of each view, and
//! those are functions of the set of events, and of the times of epochs where a row depends on time.
//! Worker counts and arrival order within an epoch change nothing; epoch cuts change when a row
//! changes, and what came into a month behind its closing.
//!
//! Invariants: only this crate names timely and differential. It reads and writes
//! nothing but its own state on disk: events come in by method calls, epochs go out by a callback.

pub mod accounts;
pub mod books;
mod cache;
mod controls;
pub mod due;
pub mod engine;
pub mod facts;
mod hash;
pub mod host;
pub mod names;
mod pairs;
pub mod periods;
mod publish;
pub mod record;
mod room;
pub mod store;
pub mod sums;
mod ticks;
pub mod time;
mod totals;
pub mod transactions;
mod wiring;

pub mod detectors;
pub mod views;

pub use engine::{Engine, EpochOutput, Setup};
pub use host::{Connection, Host, Hosts, Links};
pub use record::{Accepted, Origin};
