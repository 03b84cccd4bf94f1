//! `trueup quarantine redrive`: quarantined records are to be read again, each once.
//!
//! Two passes over the quarantine, so that no more than one file of it is in memory. The first asks
//! what this program would make of each record now, and refuses before anything is written; the
//! second writes. What others re-drive between the two is found by whoever comes second.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use trueup_ledger::{Scale, Timestamp};
use trueup_sinks::{Outcome, Quarantined, Request};
use trueup_sources::batch::HOLD_BYTES_MAX;

use super::{Log, described, missing, partition, redriven, redrives, scan};
use crate::cli::{OutputFormat, QuarantineRedriveArgs};
use crate::commands::output::{self, Column, Kind, grouped, note};
use crate::commands::store::{self, Opened};
use crate::config::StoreLocation;
use crate::{exit, redrive as source};

/// What this program would make of a record now.
enum Verdict {
    /// What it says: transaction, kind and event.
    Accepted(String),
    /// The code of the reason, and what is wrong.
    Quarantined(&'static str, String),
}

/// What the first pass found.
#[derive(Default)]
struct Survey {
    /// Records that were asked for, re-driven ones among them.
    matched: u64,
    /// Those that are open, and how many of them this program would accept, by the reason they were
    /// quarantined for.
    open: u64,
    by_reason: BTreeMap<String, (u64, u64)>,
    /// How many of these would only be quarantined again, by reason, and the first of each.
    rejected: BTreeMap<&'static str, (u64, String)>,
    /// Who re-drove the one that was asked for.
    before: Option<String>,
    /// Each record, where these are printed.
    rows: Vec<Vec<String>>,
}

impl Survey {
    fn rejected(&self) -> u64 {
        self.rejected.values().map(|(count, _)| count).sum()
    }
}

/// Re-drives what was asked for, and says what is to be done next.
///
/// # Errors
/// A record that is not there or was re-driven before, records that would only be quarantined
/// again, and what the store says.
pub(super) fn redrive(args: &QuarantineRedriveArgs) -> anyhow::Result<()> {
    let location = store::location(&args.store)?;
    let opened = store::open(&location)?;
    let with = args.with.as_deref().map(replacement).transpose()?;
    // A dry run needs no more than to read.
    let mut log = if args.dry_run {
        redrives(opened.log.store())?
    } else {
        redrives(&store::writable(&location)?)?
    };
    let survey = survey(args, &opened, &log, with.as_deref())?;
    check(args, &survey)?;
    let left = if args.accepted_only { survey.rejected() } else { 0 };
    if shows_each(args) {
        output::print(args.format, &EACH, survey.rows.into_iter())?;
    } else {
        let cells = survey.by_reason.into_iter().map(|(reason, (open, accepted))| {
            let numbers = [open, accepted, open - accepted].map(|number| number.to_string());
            [reason].into_iter().chain(numbers).collect()
        });
        output::print(args.format, &BY_REASON, cells)?;
    }
    if args.dry_run {
        let count = grouped(survey.open - left);
        note(&format!("{count} records would be redriven; nothing was written"));
        return Ok(());
    }
    let written = write(args, &opened, &mut log, with.as_deref())?;
    note(&format!("{} records redriven by {}", grouped(written), args.by));
    if left > 0 {
        note(&format!("{} stay open, since they would only be quarantined again", grouped(left)));
    }
    if written > 0 && args.format == OutputFormat::Table {
        note(&next(&location, &opened));
    }
    Ok(())
}

/// Says whether each record is printed. Of many only what they come to is, but for a look at what
/// would be done: a quarantine may be larger than the memory.
fn shows_each(args: &QuarantineRedriveArgs) -> bool {
    args.dry_run || args.position.is_some()
}

/// Reads the bytes that are to stand in for a record. A line feed at the end is the editor's.
fn replacement(path: &Path) -> anyhow::Result<Vec<u8>> {
    let name = path.display();
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let cannot = |error| exit::usage(format!("--with: {name} cannot be read: {error}"));
        Box::new(File::open(path).map_err(cannot)?)
    };
    let mut bytes = Vec::new();
    let most = HOLD_BYTES_MAX as u64;
    input.take(most + 1).read_to_end(&mut bytes).with_context(|| format!("reading {name}"))?;
    if bytes.len() > HOLD_BYTES_MAX {
        return Err(exit::usage(format!("--with: {name} has more than {most} bytes, no record")));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

/// Says whether a record was asked for.
fn wants(args: &QuarantineRedriveArgs, record: &Quarantined<'_>) -> bool {
    match (&args.partition, &args.position, &args.reason) {
        (Some(at), Some(position), _) => {
            partition(record) == *at && record.position == position.as_str()
        }
        (_, _, Some(reason)) => record.reason == reason.as_str(),
        _ => args.all,
    }
}

fn judge(raw: &[u8], scale: Scale) -> Verdict {
    let format = source::format();
    match format.decode(raw).and_then(|decoded| decoded.draft.admit(scale)) {
        Ok(event) => Verdict::Accepted(format!(
            "tenant {}, transaction {}, {} {}, leg {:?}, revision {}",
            event.tenant,
            event.transaction_id,
            event.kind.name(),
            event.event_id,
            event.leg,
            event.revision
        )),
        Err(rejection) => Verdict::Quarantined(rejection.reason.code(), rejection.detail),
    }
}

fn survey(
    args: &QuarantineRedriveArgs,
    opened: &Opened,
    log: &Log,
    with: Option<&[u8]>,
) -> anyhow::Result<Survey> {
    let mut survey = Survey::default();
    scan(opened, opened.head, |record| {
        if !wants(args, &record) {
            return Ok(());
        }
        survey.matched += 1;
        if let Some(audit) = redriven(log, &record) {
            survey.before = Some(described(audit));
            return Ok(());
        }
        survey.open += 1;
        let verdict = judge(with.unwrap_or(record.raw), opened.scale);
        let (open, accepted) = survey.by_reason.entry(record.reason.to_owned()).or_default();
        *open += 1;
        *accepted += u64::from(matches!(verdict, Verdict::Accepted(_)));
        let (outcome, says) = match verdict {
            Verdict::Accepted(says) => ("accepted".to_owned(), says),
            Verdict::Quarantined(reason, detail) => {
                let first = || format!("{} at {}: {detail}", partition(&record), record.position);
                survey.rejected.entry(reason).or_insert_with(|| (0, first())).0 += 1;
                (format!("quarantined again, {reason}"), detail)
            }
        };
        if shows_each(args) {
            let position = record.position.to_owned();
            let row = [partition(&record), position, record.reason.to_owned(), outcome, says];
            survey.rows.push(row.into());
        }
        Ok(())
    })?;
    Ok(survey)
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

const EACH: [Column; 5] = [
    column("partition", Kind::Text),
    column("position", Kind::Text),
    column("reason", Kind::Text),
    column("now", Kind::Text),
    column("says", Kind::Text),
];

const BY_REASON: [Column; 4] = [
    column("reason", Kind::Text),
    column("open", Kind::Integer),
    column("accepted", Kind::Integer),
    column("quarantined_again", Kind::Integer),
];

/// Refuses what must not be written.
fn check(args: &QuarantineRedriveArgs, survey: &Survey) -> anyhow::Result<()> {
    if let (Some(partition), Some(position)) = (&args.partition, &args.position) {
        if survey.matched == 0 {
            return Err(missing(&args.store, partition, position));
        }
        if let Some(before) = &survey.before {
            return Err(already(partition, position, before));
        }
    }
    if let (Some(reason), 0) = (&args.reason, survey.matched) {
        return Err(exit::usage(format!(
            "no record is quarantined for the reason {reason}; `trueup quarantine list --store {}` \
             says which reasons there are",
            args.store
        )));
    }
    let rejected = survey.rejected();
    if rejected == 0 || args.force || args.accepted_only {
        return Ok(());
    }
    let reasons = survey.rejected.iter();
    let reasons = reasons.map(|(reason, (count, first))| {
        format!("\n  {reason}: {}, the first is {first}", grouped(*count))
    });
    Err(exit::usage(format!(
        "nothing was written: {} of {} records would only be quarantined again{}\nmend one with \
         --partition, --position and --with, leave these out with --accepted-only, or redrive them \
         all the same with --force",
        grouped(rejected),
        grouped(survey.open),
        reasons.collect::<String>()
    )))
}

fn already(partition: &str, position: &str, before: &str) -> anyhow::Error {
    exit::usage(format!(
        "the record of {partition} at {position} has left the quarantine already: {before}"
    ))
}

/// Writes the re-drives, and returns how many.
fn write(
    args: &QuarantineRedriveArgs,
    opened: &Opened,
    log: &mut Log,
    with: Option<&[u8]>,
) -> anyhow::Result<u64> {
    let when = Timestamp::display_micros(now_micros());
    let (mut written, mut lost) = (0, 0_u64);
    scan(opened, opened.head, |record| {
        let raw = with.unwrap_or(record.raw);
        let left_out =
            || args.accepted_only && matches!(judge(raw, opened.scale), Verdict::Quarantined(..));
        if !wants(args, &record) || redriven(log, &record).is_some() || left_out() {
            return Ok(());
        }
        let request = Request {
            who: &args.by,
            when: &when,
            why: &args.why,
            source: record.source,
            partition: record.partition,
            position: record.position,
            epoch: record.epoch,
            reason: record.reason,
            quarantined: record.raw,
            replacement: with,
        };
        let outcome = log.append(&request).with_context(|| {
            format!(
                "redriving after {written} records; ask for the same again, what is written is not \
                 written twice"
            )
        })?;
        match outcome {
            Outcome::Written(_) => written += 1,
            Outcome::Before(audit) if args.position.is_some() => {
                let before = described(&audit);
                return Err(already(&partition(&record), record.position, &before));
            }
            Outcome::Before(_) => lost += 1,
        }
        Ok(())
    })?;
    if lost > 0 {
        note(&format!("{} records were redriven by somebody else meanwhile", grouped(lost)));
    }
    Ok(written)
}

fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Says who reads what was written.
fn next(location: &StoreLocation, opened: &Opened) -> String {
    if source::last_commit_names_it(opened.log.store()) {
        let seconds = source::interval(location).as_secs();
        return format!(
            "the `trueup run` that is running reads them within {seconds} s, or else the next one"
        );
    }
    "the next `trueup run` reads them; one that began before the first redrive of this store has to \
     be started again"
        .to_owned()
}
