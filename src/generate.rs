//! The workload generator: streams of JSONL records about money, for `trueup generate`, the demo,
//! the tests and benchmarks. The *hostile* workload is realistic and does everything that a log can
//! do to its readers; the *ledger* workload is what other programs can compute the balances of, too.
//!
//! Guarantees:
//! - The same [`Workload`] gives the same bytes on every platform: one ChaCha8 stream decides
//!   everything; there is no clock, no float, and no order that depends on a hash map.
//! - Exactly [`Workload::events`] records are written, duplicates and poison included. No record
//!   contains a newline byte.
//! - Every record that is not poison is valid by SPEC §2, and every [`Poison`] record is not, so `quarantined` of a run equals [`Summary::poison_records`].
//! - Memory is bounded: of the past only a ring of recent openings and a reservoir sample of old
//!   ones are kept, as targets of corrections, reversals and refunds. A hold is planned with what
//!   resolves it.
//! - The ledger workload has no duplicates, poison, holds, legs or conflicts; postings are in every
//!   record, amounts have two decimals, and each revision of a transaction comes once and in order.
//!
//! ```text
//! Planner (scenarios) --events--> Queue (shuffled delivery) --> render --> one line of JSON
//!     ^                                                    \       ^
//!     '-- Memory: openings to correct, reverse, refund      '--> a copy later: a duplicate
//!                                                                  |
//! Ledger (pure functions of numbers) --events----------------------'
//! ```
//!
//! What [`Summary`] counts is what was *planted*; chance adds a little more (two reversals may pick one
//! target, a quarantined record may be one that somebody waited for), so an exact expectation
//! comes from the reference, not from here.

mod draw;
mod event;
mod ledger;
mod memory;
mod metadata;
mod planner;
mod poison;
mod render;
mod scenarios;
mod tally;
mod text;
mod world;

use std::io::{self, Write};

use event::Event;
use ledger::Ledger;
use planner::Planner;
pub use tally::{Hostilities, Hostility, Poison, RecordKind, Summary};
use world::Tenant;

/// What to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// How many records to write, duplicates and poison included.
    pub events: u64,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How many tenants share the stream, at least 1; tenant n gets about 1/n of the records.
    pub tenants: u32,
    /// Whether about 0.3 % of the records are ones that must be quarantined.
    pub poison: bool,
    /// Whether months are closed and opened again. What came to a month behind its closing depends on
    /// when it was closed, so equal sets in other epochs are not equal books then.
    pub periods: bool,
    /// When the first event is recorded, in seconds since 1970-01-01T00:00:00Z. Events follow
    /// about one a second; effective dates reach seven years back.
    pub start_seconds: u64,
    /// What the stream is like.
    pub kind: WorkloadKind,
}

/// What a stream is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// Realistic and hostile: every kind of event, in a slightly wrong order, with mistakes.
    Hostile,
    /// What most of a ledger's log is, a thousand records a second of its own time: about 96.5 %
    /// posts, 2.5 % corrections, 0.5 % reversals and 0.5 % refunds. It has neither poison nor
    /// periods, whatever the workload says of them.
    Ledger(LedgerWorkload),
}

/// The shape of a ledger workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerWorkload {
    /// How many bytes a record has without its newline; a few have more where this is less than a
    /// thousand. 0: as it comes.
    pub record_bytes: usize,
    /// How many accounts all tenants have together; at least 17 a tenant.
    pub accounts: u64,
    /// Over how many days before the start the effective dates are spread, evenly.
    pub days: u32,
    /// Where events concentrate.
    pub skew: Skew,
    /// All records are corrections, of transactions drawn evenly from those of the first so many
    /// records of the same workload without this.
    pub corrections_of: Option<u64>,
}

impl Default for LedgerWorkload {
    /// Records of 1 KiB on 100,000 accounts and 90 days.
    fn default() -> LedgerWorkload {
        LedgerWorkload {
            record_bytes: 1_024,
            accounts: 100_000,
            days: 90,
            skew: Skew::Even,
            corrections_of: None,
        }
    }
}

/// Where events of a ledger workload concentrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// Nowhere, but that a few tenants have more than others.
    Even,
    /// One account is in every event, which thus all are of one tenant.
    HotAccount,
    /// One tenant has 90 % of the events, and of the accounts.
    HotTenant,
}

impl Default for Workload {
    /// 100,000 records of 200 tenants with poison, recorded from 2026-01-05T08:00:00Z on.
    fn default() -> Workload {
        Workload {
            events: 100_000,
            seed: 1,
            tenants: 200,
            poison: true,
            periods: false,
            start_seconds: 1_767_600_000,
            kind: WorkloadKind::Hostile,
        }
    }
}

/// Poison records of a hundred thousand.
const POISON_PER_100K: u64 = 300;
/// The one record above 1 MiB comes once in so many records, so that files do not explode.
const GIANT_EVERY: u64 = 200_000;
/// Where it comes first: late enough to leave a short demo readable.
const GIANT_FIRST: u64 = 4_321;

/// Generates the records of a [`Workload`] one by one.
pub struct Generator {
    workload: Workload,
    source: Source,
    summary: Summary,
    last: Hostilities,
}

/// Where events come from.
enum Source {
    Hostile(Box<Planner>),
    Ledger(Box<Ledger>),
}

impl Generator {
    /// Starts the workload from its first record.
    #[must_use]
    pub fn new(workload: &Workload) -> Generator {
        Generator {
            source: match &workload.kind {
                WorkloadKind::Hostile => Source::Hostile(Box::new(Planner::new(workload))),
                WorkloadKind::Ledger(shape) => {
                    Source::Ledger(Box::new(Ledger::new(workload, shape)))
                }
            },
            workload: workload.clone(),
            summary: Summary::default(),
            last: Hostilities::default(),
        }
    }

    /// Appends the next record to `out`, one line of JSON without its newline, and returns its
    /// kind; `None` after [`Workload::events`] records.
    pub fn next_record(&mut self, out: &mut Vec<u8>) -> Option<RecordKind> {
        if self.summary.records >= self.workload.events {
            return None;
        }
        let start = out.len();
        let (kind, planted) = match &mut self.source {
            Source::Hostile(planner) => match next_poison(planner, &self.workload, &self.summary) {
                Some(poison) => {
                    let recorded = planner.now();
                    poison::write(poison, &mut planner.draw, recorded, out);
                    (RecordKind::Poison(poison), Hostilities::default())
                }
                None => {
                    let left = self.workload.events - self.summary.records;
                    let event = planner.next_event(self.summary.records, left);
                    write_event(&event, planner.tenant(event.tenant), out)
                }
            },
            Source::Ledger(ledger) => {
                let event = ledger.next_event();
                write_event(&event, ledger.tenant(event.tenant), out)
            }
        };
        self.last = planted;
        self.summary.count(kind, planted, out.len() - start + 1);
        Some(kind)
    }

    /// Says what is hostile about the last record.
    #[must_use]
    pub fn last_hostilities(&self) -> Hostilities {
        self.last
    }

    /// Counts the records up to now.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }
}

fn next_poison(planner: &mut Planner, workload: &Workload, summary: &Summary) -> Option<Poison> {
    if !workload.poison {
        return None;
    }
    if summary.records % GIANT_EVERY == GIANT_FIRST {
        return Some(Poison::TooLarge);
    }
    if !planner.draw.chance(POISON_PER_100K) {
        return None;
    }
    let poison = Poison::ALL[planner.draw.index(Poison::ALL.len())];
    // The giant has its own schedule; the most common accident stands in for it.
    Some(if poison == Poison::TooLarge { Poison::Truncated } else { poison })
}

fn write_event(event: &Event, tenant: &Tenant, out: &mut Vec<u8>) -> (RecordKind, Hostilities) {
    render::event(event, tenant, out);
    let mut planted = event.planted;
    planted.add_if(Hostility::SchemaDrift, event.look.drift);
    planted.add_if(Hostility::LargeRecord, event.look.large);
    planted.add_if(Hostility::EscapedUnicode, event.look.escaped);
    (event.kind.into(), planted)
}

/// How much is gathered before it is written.
const WRITE_BYTES: usize = 256 * 1024;

/// Writes a whole workload to `out`, a newline behind each record, and flushes.
///
/// # Errors
/// Passes on what `out` reports; the output is then incomplete and should be thrown away.
pub fn write_jsonl<W: Write>(workload: &Workload, mut out: W) -> io::Result<Summary> {
    let mut generator = Generator::new(workload);
    let mut lines = Vec::with_capacity(2 * WRITE_BYTES);
    while generator.next_record(&mut lines).is_some() {
        lines.push(b'\n');
        if lines.len() >= WRITE_BYTES {
            out.write_all(&lines)?;
            lines.clear();
        }
    }
    out.write_all(&lines)?;
    out.flush()?;
    Ok(generator.summary)
}

#[cfg(test)]
mod tests;
