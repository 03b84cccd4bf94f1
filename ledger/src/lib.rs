//! The domain of trueup: what an event says, what a transaction's events mean together, and which
//! rows the views hold.
//!
//! Everything here is a pure function. Invariant: no input or output, no clock, no threads, no
//! timely, no Arrow, and no floating point near money.
//!
//! The crate holds the meaning twice, on purpose: [`transaction`] is what the engine calls for one
//! transaction at a time, [`mod@reference`] is the specification as a plain fold over a whole set of
//! events. They share the vocabulary (events, amounts, views) and nothing else, so that each can
//! witness against the other.

pub mod amount;
pub mod cases;
pub mod codec;
pub mod digest;
pub mod draft;
pub mod event;
pub mod explain;
pub mod fact;
pub mod key;
pub mod position;
pub mod reference;
pub mod rejection;
pub mod rules;
pub mod table;
pub mod timestamp;
pub mod transaction;
pub mod view;

pub use amount::{Amount, Scale};
pub use digest::Digest;
pub use draft::{
    AccountDraft, ControlDraft, ControlSumDraft, EventDraft, PostingDraft, SourceDraft,
    StatementDraft,
};
pub use event::{Event, Kind, Posting, Side, Source};
pub use fact::{
    ControlSum, ControlTotal, Declaration, Fact, Month, Overdraft, StatementLine, Terms,
};
pub use key::TransactionKey;
pub use position::{Counts, Epoch, PartitionId, Position};
pub use rejection::{Reason, Rejection};
pub use rules::{Delayed, Rules};
pub use table::{Datum, Row, Table, Value};
pub use timestamp::Timestamp;
pub use view::{Column, ColumnType, View};
