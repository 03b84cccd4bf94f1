//! The re-drives of a store, held against the records that they say they are of: each is of one that
//! is quarantined, and says of it what its quarantine file says.

use std::collections::BTreeSet;

use trueup_ledger::Epoch;
use trueup_sinks::record::sha256_hex;
use trueup_sinks::redrive::redrive_path;
use trueup_sinks::{Audit, Quarantined};

use super::{Log, partition, redriven, redrives, scan};
use crate::commands::store::Opened;
use crate::exit;

/// The numbers of the re-drives whose records were met so far.
#[derive(Default)]
pub(super) struct Account(BTreeSet<u64>);

impl Account {
    /// Takes a quarantined record, with its re-drive where there is one, which must be of it.
    pub(super) fn meet(
        &mut self,
        record: &Quarantined<'_>,
        audit: Option<&Audit>,
    ) -> anyhow::Result<()> {
        let Some(audit) = audit else { return Ok(()) };
        let said = (audit.epoch, audit.reason.as_str(), audit.sha256.as_str());
        if said == (record.epoch, record.reason, sha256_hex(record.raw).as_str()) {
            self.0.insert(audit.number);
            return Ok(());
        }
        Err(exit::difference(format!(
            "{} is not of the record that is quarantined in {} at {}: its epoch, reason or SHA-256 \
             is another; restore `redrive/` from a copy",
            redrive_path(audit.number),
            partition(record),
            record.position
        )))
    }

    /// Checks that every re-drive of a record up to `epoch` was met.
    pub(super) fn close(self, log: &Log, epoch: Epoch) -> anyhow::Result<()> {
        let said = log.audits().filter(|audit| audit.epoch <= epoch);
        let missing = said.filter(|audit| !self.0.contains(&audit.number));
        let Some(audit) = missing.min_by_key(|audit| audit.number) else { return Ok(()) };
        Err(exit::difference(format!(
            "{} is of a record of {}/{} at {}, and epoch {} has quarantined none there; restore \
             `redrive/` and `commits/` from one copy",
            redrive_path(audit.number),
            audit.source,
            audit.partition,
            audit.position,
            audit.epoch
        )))
    }
}

/// Checks all re-drives of records up to an epoch.
///
/// # Errors
/// The first that is not of a quarantined record, by the name of its file; what the store says.
pub(in crate::commands) fn check(opened: &Opened, epoch: Epoch) -> anyhow::Result<()> {
    let log = redrives(opened.log.store())?;
    if log.audits().next().is_none() {
        return Ok(());
    }
    let mut account = Account::default();
    scan(opened, epoch, |record| account.meet(&record, redriven(&log, &record)))?;
    account.close(&log, epoch)
}
