//! The engine: views maintained incrementally with timely and differential dataflow.
//!
//! ```text
//!  Engine::push ─▶ events ─▶ transactions ─┬─ rows ─────────────────────────────┐
//!                                          ├─ movements ─▶ balances, daily ─────┤
//!                                          ├─ shards ─▶ trial balance, detectors┤─▶ publish ─▶ EpochOutput
//!                                          └─ accepted counts ──────────────────┤
//!               control totals, as facts ┐                                      │
//!  Engine::push ─▶ sequences ────────────┴─▶ continuity, completeness, gaps ────┘
//! ```
//!
//! Guarantee: what an epoch publishes is the exact difference between two values of each view, and
//! those are functions of the set of events alone. Worker counts, arrival order and epoch cuts
//! change when a row changes, never what the view is.
//!
//! Invariants: only this crate names timely and differential. It reads and writes
//! nothing but its own state on disk: events come in by method calls, epochs go out by a callback.

pub mod accounts;
pub mod books;
mod controls;
pub mod due;
pub mod engine;
pub mod facts;
mod hash;
pub mod host;
pub mod names;
pub mod periods;
mod publish;
pub mod record;
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
