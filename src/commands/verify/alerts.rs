//! What `alerts` must hold: a function of the history of `imbalances`, so derived commit by commit
//! from what was published of them. Whether the imbalances themselves are right is another question.

use anyhow::Context;
use trueup_ledger::reference::Alerts;
use trueup_ledger::table::Rows;
use trueup_ledger::{Epoch, Rules, Table, View};
use trueup_sinks::scan_delta_file;

use crate::commands::store::Opened;

/// The alerts that follow from what has been published so far.
pub(super) struct Derived {
    imbalances: Rows,
    alerts: Alerts,
}

impl Derived {
    pub(super) fn new(rules: &Rules) -> Derived {
        Derived { imbalances: Rows::default(), alerts: Alerts::new(rules) }
    }

    /// Takes what an epoch changed of `imbalances`.
    pub(super) fn apply(&mut self, table: &Table) {
        self.imbalances.apply(table);
    }

    /// Ends the epoch.
    pub(super) fn step(&mut self, epoch: Epoch, epoch_time: i64) {
        self.alerts.step(epoch, epoch_time, &self.imbalances);
    }

    pub(super) fn rows(&self) -> Rows {
        self.alerts.rows()
    }
}

/// Returns the alerts that there must be at an epoch.
pub(super) fn at(opened: &Opened, rules: &Rules, upto: Epoch) -> anyhow::Result<Rows> {
    let mut derived = Derived::new(rules);
    let (store, view) = (&**opened.log.store(), View::Imbalances);
    for record in opened.log.iter(Epoch(1), upto) {
        let record = record.context("reading the commits")?;
        for file in record.files.iter().filter(|file| file.view == view.name()) {
            scan_delta_file(store, file, record.epoch, view, opened.scale, &mut |table| {
                derived.apply(table);
                Ok(())
            })?;
        }
        derived.step(record.epoch, record.epoch_time_micros);
    }
    Ok(derived.rows())
}
