//! `trueup ready`: may a day of a tenant be built upon, and if not, why? From the committed files
//! alone, for dbt, Airflow or a person to gate on.
//!
//! Guarantee: it errs on the side of "not ready". What cannot be told to be of another tenant, or of
//! a later day, counts.

mod behind;
mod quarantined;
mod reasons;
mod tenant;

use serde::Serialize;
use trueup_ledger::{Epoch, Timestamp};

use super::output::{self, Column, Kind, grouped};
use super::store::{self, Opened};
use crate::cli::{OutputFormat, ReadyArgs, ReportFormat};
use crate::exit;
use reasons::{Accepted, Reason};

/// What is asked.
struct Question<'a> {
    opened: &'a Opened,
    /// The store, as commands name it.
    place: &'a str,
    tenant: &'a str,
    /// In days since 1970.
    date: i32,
    epoch: Epoch,
    epoch_time: i64,
    /// Detectors whose imbalances are no reasons.
    accept: &'a [String],
}

/// Prints whether the day is ready, with every reason why not.
///
/// # Errors
/// A day that is not ready, and a store or an epoch that is not there.
pub fn run(args: &ReadyArgs) -> anyhow::Result<()> {
    let opened = store::open(&store::location(&args.store)?)?;
    let epoch = opened.epoch(args.epoch)?;
    let question = Question {
        opened: &opened,
        place: &args.store,
        tenant: &args.tenant,
        date: args.date,
        epoch,
        epoch_time: opened.log.read(epoch)?.epoch_time_micros,
        accept: &args.accept,
    };
    let (reasons, accepted) = reasons::all(&question)?;
    match args.format {
        ReportFormat::Json => output::line(&json(&question, &reasons, &accepted)?)?,
        ReportFormat::Table if reasons.is_empty() => {
            output::line(&format!("{} is ready at epoch {epoch}", named(&question)))?;
        }
        ReportFormat::Table => output::print(OutputFormat::Table, &COLUMNS, cells(&reasons))?,
    }
    if args.format == ReportFormat::Table && !accepted.is_empty() {
        let counts = accepted.iter().map(|(name, count)| format!("{name} {}", grouped(*count)));
        output::note(&format!("accepted: {}", counts.collect::<Vec<_>>().join(", ")));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    let count = grouped(reasons.len() as u64);
    let plural = if reasons.len() == 1 { "" } else { "s" };
    Err(exit::difference(format!(
        "{} is not ready at epoch {epoch}, for {count} reason{plural}",
        named(&question)
    )))
}

const COLUMNS: [Column; 5] = [
    Column { name: "reason", kind: Kind::Text },
    Column { name: "subject", kind: Kind::Text },
    Column { name: "count", kind: Kind::Integer },
    Column { name: "what", kind: Kind::Text },
    Column { name: "show", kind: Kind::Text },
];

fn cells(reasons: &[Reason]) -> impl Iterator<Item = Vec<String>> {
    reasons.iter().map(|reason| {
        let (count, code) = (reason.count.to_string(), reason.reason.to_owned());
        vec![code, reason.subject.clone(), count, reason.what.clone(), reason.show.clone()]
    })
}

fn named(question: &Question<'_>) -> String {
    let date = Timestamp::display_date(question.date);
    format!("{} of {date}", output::escaped(question.tenant))
}

fn json(
    question: &Question<'_>,
    reasons: &[Reason],
    accepted: &Accepted<'_>,
) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Answer<'a> {
        tenant: &'a str,
        date: String,
        epoch: Epoch,
        epoch_time: String,
        ready: bool,
        accepted: &'a Accepted<'a>,
        reasons: &'a [Reason],
    }
    Ok(serde_json::to_string(&Answer {
        tenant: question.tenant,
        date: Timestamp::display_date(question.date),
        epoch: question.epoch,
        epoch_time: Timestamp::display_micros(question.epoch_time),
        ready: reasons.is_empty(),
        accepted,
        reasons,
    })?)
}
