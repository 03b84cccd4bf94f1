//! What was published, checked for itself: the chain of commits, their files and totals.

use std::collections::BTreeMap;

use anyhow::Context;
use trueup_ledger::table::Rows;
use trueup_ledger::{Digest, Epoch, Rules, View};
use trueup_sinks::record::{QUARANTINE, sha256_hex};
use trueup_sinks::{
    CommitRecord, FileEntry, InputRange, LogError, Retry, SinkError, Store, StoreError, ViewTotals,
    scan_delta_file,
};

use super::alerts::Derived;
use super::in_epoch;
use crate::commands::meter;
use crate::commands::store::Opened;

/// What one epoch read and published.
pub(super) struct Cut {
    pub(super) epoch: Epoch,
    /// In microseconds since 1970.
    pub(super) epoch_time: i64,
    pub(super) inputs: Vec<InputRange>,
    /// The files of its quarantined records.
    pub(super) quarantine: Vec<FileEntry>,
    /// The digest of every view at this epoch.
    pub(super) digests: BTreeMap<View, Digest>,
}

/// What was published.
pub(super) struct Published {
    pub(super) cuts: Vec<Cut>,
    /// The alerts that there must be at the last of them.
    pub(super) alerts: Rows,
    /// The place of the first cut with other alerts than there must be.
    pub(super) wrong_alerts: Option<usize>,
}

/// Checks the whole chain, and the files and totals of the commits up to `upto`.
pub(super) fn check(opened: &Opened, rules: &Rules, upto: Epoch) -> anyhow::Result<Published> {
    let chain = opened.log.verify_chain();
    // A file may be bad before the chain is: the first bad epoch is to be named.
    let sound = match &chain {
        Ok(()) => upto,
        Err(LogError::Broken(broken)) => Epoch(broken.epoch.0.saturating_sub(1)).min(upto),
        Err(LogError::Store(_)) => Epoch(0),
    };
    let bar = meter::bar(sound.0, "checking commits");
    let mut cuts: Vec<Cut> = Vec::new();
    let (mut derived, mut wrong_alerts) = (Derived::new(rules), None);
    let mut digests: BTreeMap<View, Digest> = BTreeMap::new();
    for record in opened.log.iter(Epoch(1), sound) {
        let record = record.context("reading the commits")?;
        let epoch = record.epoch;
        check_record(opened, &record, &mut derived).map_err(in_epoch(epoch, "damaged"))?;
        for view in View::ALL {
            let change = record.views.get(view.name()).map(|totals| totals.digest);
            digests.entry(view).or_default().add(change.unwrap_or_default());
        }
        let epoch_time = record.epoch_time_micros;
        derived.step(epoch, epoch_time);
        let published = digests.get(&View::Alerts).copied().unwrap_or_default();
        if wrong_alerts.is_none() && derived.rows().digest() != published {
            wrong_alerts = Some(cuts.len());
        }
        let digests = digests.clone();
        let mut quarantine = record.files;
        quarantine.retain(|file| file.view == QUARANTINE);
        cuts.push(Cut { epoch, epoch_time, inputs: record.inputs, quarantine, digests });
        bar.inc(1);
    }
    bar.finish_and_clear();
    match chain {
        Ok(()) => Ok(Published { cuts, alerts: derived.rows(), wrong_alerts }),
        Err(LogError::Broken(broken)) => {
            let epoch = broken.epoch;
            let error = anyhow::Error::new(LogError::Broken(broken));
            Err(in_epoch(epoch, "damaged")(error))
        }
        Err(error) => Err(error).context("reading the commits"),
    }
}

fn check_record(
    opened: &Opened,
    record: &CommitRecord,
    derived: &mut Derived,
) -> anyhow::Result<()> {
    let damaged = |what: String| SinkError::Damaged {
        path: trueup_sinks::record::commit_path(record.epoch),
        what,
    };
    if record.amount_scale != opened.scale.digits() {
        let (found, wanted) = (record.amount_scale, opened.scale.digits());
        return Err(damaged(format!("its amount_scale is {found}, later {wanted}")).into());
    }
    if record.rules != opened.rules {
        let (found, wanted) = (&record.rules, &opened.rules);
        return Err(damaged(format!("its rules are {found:?}, later {wanted:?}")).into());
    }
    let store = opened.log.store();
    let mut found: BTreeMap<String, ViewTotals> = BTreeMap::new();
    let mut quarantined = 0;
    for file in &record.files {
        if file.view == QUARANTINE {
            check_bytes(store, file)?;
            quarantined += file.rows;
            continue;
        }
        let Some(view) = View::by_name(&file.view) else {
            let what = format!("it has files of a view {}, which is not known", file.view);
            return Err(damaged(what).into());
        };
        let totals = found.entry(file.view.clone()).or_default();
        let (epoch, scale) = (record.epoch, opened.scale);
        scan_delta_file(&**store, file, epoch, view, scale, &mut |table| {
            if view == View::Imbalances {
                derived.apply(table);
            }
            totals.add(&ViewTotals::of(table, scale)?, scale)
        })?;
    }
    if quarantined != record.counts().quarantined {
        let counted = record.counts().quarantined;
        let what = format!("it counts {counted} quarantined, its files hold {quarantined}");
        return Err(damaged(what).into());
    }
    for name in record.views.keys().chain(found.keys()) {
        let said = record.views.get(name).cloned().unwrap_or_default();
        if found.get(name).cloned().unwrap_or_default() != said {
            let what = format!("its control totals of {name} are not those of its files");
            return Err(damaged(what).into());
        }
    }
    Ok(())
}

/// Compares a file that is no delta with its commit.
fn check_bytes(store: &dyn Store, file: &FileEntry) -> Result<(), SinkError> {
    let path = file.path.clone();
    let bytes = match Retry::default().ask(|| store.get(&path)) {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { .. }) => {
            let what = "a commit names it, and it is not there".to_owned();
            return Err(SinkError::Damaged { path, what });
        }
        Err(error) => return Err(error.into()),
    };
    let hash = sha256_hex(&bytes);
    if bytes.len() as u64 == file.bytes && hash == file.sha256 {
        return Ok(());
    }
    let what = format!("its SHA-256 is {hash}, {} committed", file.sha256);
    Err(SinkError::Damaged { path, what })
}
