//! The workload generator: a realistic and hostile stream of JSONL records about money, for
//! `trueup generate`, the demo, and the tests.
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
//!
//! ```text
//! Planner (scenarios) --events--> Queue (shuffled delivery) --> render --> one line of JSON
//!     ^                                                    \
//!     '-- Memory: openings to correct, reverse, refund      '--> a copy later: a duplicate
//! ```
//!
//! What [`Summary`] counts is what was *planted*; chance adds a little more (two reversals may pick one
//! target, a quarantined record may be one that somebody waited for), so an exact expectation
//! comes from the reference, not from here.

mod draw;
mod event;
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

use planner::Planner;
pub use tally::{Hostilities, Hostility, Poison, RecordKind, Summary};

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
    planner: Planner,
    summary: Summary,
    last: Hostilities,
}

impl Generator {
    /// Starts the workload from its first record.
    #[must_use]
    pub fn new(workload: &Workload) -> Generator {
        Generator {
            planner: Planner::new(workload),
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
        let (kind, planted) = match self.next_poison() {
            Some(poison) => (self.write_poison(poison, out), Hostilities::default()),
            None => self.write_event(out),
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

    fn next_poison(&mut self) -> Option<Poison> {
        if !self.workload.poison {
            return None;
        }
        if self.summary.records % GIANT_EVERY == GIANT_FIRST {
            return Some(Poison::TooLarge);
        }
        if !self.planner.draw.chance(POISON_PER_100K) {
            return None;
        }
        let poison = Poison::ALL[self.planner.draw.index(Poison::ALL.len())];
        // The giant has its own schedule; the most common accident stands in for it.
        Some(if poison == Poison::TooLarge { Poison::Truncated } else { poison })
    }

    fn write_poison(&mut self, poison: Poison, out: &mut Vec<u8>) -> RecordKind {
        let recorded = self.planner.now();
        poison::write(poison, &mut self.planner.draw, recorded, out);
        RecordKind::Poison(poison)
    }

    fn write_event(&mut self, out: &mut Vec<u8>) -> (RecordKind, Hostilities) {
        let left = self.workload.events - self.summary.records;
        let event = self.planner.next_event(self.summary.records, left);
        render::event(&event, self.planner.tenant(event.tenant), out);
        let mut planted = event.planted;
        planted.add_if(Hostility::SchemaDrift, event.look.drift);
        planted.add_if(Hostility::LargeRecord, event.look.large);
        planted.add_if(Hostility::EscapedUnicode, event.look.escaped);
        (event.kind.into(), planted)
    }
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
