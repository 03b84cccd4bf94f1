//! The stagers: one thread beside each worker that writes its share of an epoch to files, so that
//! the dataflow goes on while the disk works.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use trueup_dataflow::EpochOutput;
use trueup_ledger::timestamp::DAY_MICROS;
use trueup_ledger::{Epoch, Position, Scale, Table};
use trueup_sinks::{
    DeltaWriter, FileEntry, QuarantineRecord, SinkError, Store, ViewTotals, write_quarantine,
};

use super::worker::Closed;
use super::{RunError, Shared};

/// One worker's share of an epoch, before it is written.
pub(crate) struct ToStage {
    pub(crate) closed: Closed,
    pub(crate) output: EpochOutput,
    pub(crate) quarantined: Vec<QuarantineRecord>,
    /// Rejected records by partition.
    pub(crate) rejected: BTreeMap<usize, u64>,
    pub(crate) unknown_fields: u64,
}

/// One worker's share of an epoch, durable and not yet published.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) files: Vec<FileEntry>,
    pub(crate) views: BTreeMap<String, ViewTotals>,
    /// Applied and duplicate records by partition.
    pub(crate) accepted: Vec<(u32, trueup_dataflow::Accepted)>,
    pub(crate) rejected: BTreeMap<usize, u64>,
    pub(crate) unknown_fields: u64,
    /// What was derived again, to be looked at where it differs. Other processes do not send theirs.
    #[serde(skip)]
    pub(crate) derived: Option<Vec<Table>>,
}

/// What a partition gave to an epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RangeRead {
    /// The partition's place in the sorted list of all.
    pub(crate) partition: usize,
    pub(crate) from: Position,
    pub(crate) to: Position,
    pub(crate) read: u64,
    pub(crate) fingerprint: Option<String>,
    pub(crate) caught_up: bool,
}

/// What the committer is told, by the stagers and by the intake.
pub(crate) enum Staged {
    /// A worker's share is staged.
    Share(Epoch, Share),
    /// A process has closed an epoch: the ranges of its partitions, and for a committed epoch what
    /// must come out, which only the leader tells.
    Cut(Closed, Vec<RangeRead>, Option<super::replay::Expected>),
    /// No epoch comes after this one.
    End(Epoch),
}

/// What every stager needs.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) scale: Scale,
    pub(crate) shared: Arc<Shared>,
    pub(crate) staged: Sender<Staged>,
}

impl Setup {
    /// Stages what comes until the worker is gone or the run has failed.
    pub(crate) fn run(&self, pieces: &Receiver<ToStage>) {
        let _guard = self.shared.guard("a stager");
        let mut deltas = DeltaWriter::default();
        for piece in pieces {
            let epoch = piece.closed.epoch;
            match self.stage(piece, &mut deltas) {
                Ok(share) => {
                    if self.staged.send(Staged::Share(epoch, share)).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    self.shared.fail(RunError::from(error));
                    return;
                }
            }
        }
    }

    fn stage(&self, piece: ToStage, deltas: &mut DeltaWriter) -> Result<Share, SinkError> {
        let ToStage { closed, output, quarantined, rejected, unknown_fields } = piece;
        let mut share =
            Share { accepted: output.accepted, rejected, unknown_fields, ..Share::default() };
        if closed.replay {
            share.views = totals(&output.tables, self.scale)?;
            share.derived = Some(output.tables);
            return Ok(share);
        }
        let date = closed.epoch_time_micros.div_euclid(DAY_MICROS);
        // Dates of a clock that has not gone mad are well within 32 bits of days.
        let date = i32::try_from(date).unwrap_or(i32::MAX);
        let (store, epoch, worker) = (&*self.store, output.epoch, output.worker);
        let (files, views) =
            deltas.write(store, output.tables, (epoch, worker), date, self.scale)?;
        share.files = files;
        share.files.extend(write_quarantine(store, &quarantined, epoch, worker, date)?);
        share.views =
            views.into_iter().map(|(view, sums)| (view.name().to_owned(), sums)).collect();
        Ok(share)
    }
}

/// Returns the control totals of tables that are not written.
fn totals(tables: &[Table], scale: Scale) -> Result<BTreeMap<String, ViewTotals>, SinkError> {
    let mut views: BTreeMap<String, ViewTotals> = BTreeMap::new();
    for table in tables.iter().filter(|table| !table.is_empty()) {
        let sums = ViewTotals::of(table, scale)?;
        views.entry(table.view().name().to_owned()).or_default().add(&sums, scale)?;
    }
    Ok(views)
}
