//! Where events come from: bytes in, [`Event`](trueup_ledger::Event) or
//! [`Rejection`](trueup_ledger::Rejection) out.
//!
//! ```text
//!  Transport ──▶ Partition ──▶ RawBatch ──▶ Format::decode ──▶ EventDraft::admit ──▶ Event
//!  local log     one reader    frames of         │                   │
//!  Kafka         a partition   one segment       └──── Rejection ◀───┘
//! ```
//!
//! A [`Transport`] knows where bytes are and nothing of what they say; a [`Format`] knows what one
//! record says and nothing of where it was. Any transport goes with any format.
//!
//! Invariants: this crate decides no validity (that is
//! [`EventDraft::admit`](trueup_ledger::EventDraft::admit)), remembers no position across runs (the
//! commit log does), and drops no record: what cannot be decoded is a rejection.

pub mod batch;
pub mod conformance;
pub mod format;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod local_log;
pub mod transport;

pub use batch::{Frame, RawBatch};
pub use format::json::Json;
pub use format::{Decoded, Format};
#[cfg(feature = "kafka")]
pub use kafka::{Kafka, KafkaConfig};
pub use local_log::LocalLog;
pub use transport::{Partition, Polled, SourceError, Transport};
