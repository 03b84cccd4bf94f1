//! `trueup quarantine list`: how many records of each reason are open and how many were re-driven,
//! or each of them with its state.

use std::collections::BTreeMap;

use trueup_ledger::Epoch;
use trueup_sinks::{Audit, Quarantined};

use super::account::Account;
use super::{partition, redriven, redrives, scan};
use crate::cli::{OutputFormat, QuarantineListArgs};
use crate::commands::output::{self, Column, Kind, grouped, note};
use crate::commands::store;

/// What is known of one reason.
struct Group {
    records: u64,
    redriven: u64,
    first_epoch: Epoch,
    last_epoch: Epoch,
    /// Partition, position and detail of the first record.
    example: [String; 3],
}

impl Group {
    fn of(record: &Quarantined<'_>) -> Group {
        Group {
            records: 0,
            redriven: 0,
            first_epoch: record.epoch,
            last_epoch: record.epoch,
            example: [partition(record), record.position.to_owned(), record.detail.to_owned()],
        }
    }

    fn cells(self, reason: String) -> Vec<String> {
        let open = self.records - self.redriven;
        let numbers = [self.records, self.redriven, open, self.first_epoch.0, self.last_epoch.0];
        let numbers = numbers.map(|number| number.to_string());
        [reason].into_iter().chain(numbers).chain(self.example).collect()
    }
}

/// Prints the account, or its records.
pub(super) fn list(args: &QuarantineListArgs) -> anyhow::Result<()> {
    let opened = store::open(&store::location(&args.store)?)?;
    let epoch = opened.epoch(args.epoch)?;
    let log = redrives(opened.log.store())?;
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut rows = Vec::new();
    let mut account = Account::default();
    let (mut wanted, mut wanted_redriven) = (0, 0);
    let all = scan(&opened, epoch, |record| {
        let audit = redriven(&log, &record);
        account.meet(&record, audit)?;
        let passes = |filter: &Option<String>, text| filter.as_deref().is_none_or(|f| f == text);
        if !passes(&args.reason, record.reason)
            || !passes(&args.source, record.source)
            || (args.open && audit.is_some())
        {
            return Ok(());
        }
        wanted += 1;
        wanted_redriven += u64::from(audit.is_some());
        if args.each {
            rows.push(cells(&record, audit));
            return Ok(());
        }
        let group = groups.entry(record.reason.to_owned()).or_insert_with(|| Group::of(&record));
        group.records += 1;
        group.redriven += u64::from(audit.is_some());
        group.last_epoch = record.epoch;
        Ok(())
    })?;
    account.close(&log, epoch)?;
    if args.each {
        output::print(args.format, &EACH, rows.into_iter())?;
    } else {
        let cells = groups.into_iter().map(|(reason, group)| group.cells(reason));
        output::print(args.format, &BY_REASON, cells)?;
    }
    if args.format == OutputFormat::Table {
        let of = if wanted == all { String::new() } else { format!(" of {}", grouped(all)) };
        note(&format!(
            "quarantine at epoch {epoch}: {}{of} records, {} redriven since, {} open",
            grouped(wanted),
            grouped(wanted_redriven),
            grouped(wanted - wanted_redriven)
        ));
    }
    Ok(())
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

const BY_REASON: [Column; 9] = [
    column("reason", Kind::Text),
    column("records", Kind::Integer),
    column("redriven", Kind::Integer),
    column("open", Kind::Integer),
    column("first_epoch", Kind::Integer),
    column("last_epoch", Kind::Integer),
    column("partition", Kind::Text),
    column("position", Kind::Text),
    column("detail", Kind::Text),
];

const EACH: [Column; 10] = [
    column("epoch", Kind::Integer),
    column("partition", Kind::Text),
    column("position", Kind::Text),
    column("reason", Kind::Text),
    column("state", Kind::Text),
    column("redriven_by", Kind::Text),
    column("redriven_at", Kind::Text),
    column("bytes", Kind::Integer),
    column("correlation_id", Kind::Text),
    column("detail", Kind::Text),
];

fn cells(record: &Quarantined<'_>, audit: Option<&Audit>) -> Vec<String> {
    vec![
        record.epoch.to_string(),
        partition(record),
        record.position.to_owned(),
        record.reason.to_owned(),
        if audit.is_some() { "redriven" } else { "open" }.to_owned(),
        audit.map(|audit| audit.who.clone()).unwrap_or_default(),
        audit.map(|audit| audit.when.clone()).unwrap_or_default(),
        record.raw.len().to_string(),
        record.correlation_id.unwrap_or_default().to_owned(),
        record.detail.to_owned(),
    ]
}
