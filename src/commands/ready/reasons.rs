//! Why a day is not ready, each reason with how many there are and the command that shows them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;
use trueup_ledger::table::Rows;
use trueup_ledger::{Timestamp, View};
use trueup_sinks::snapshot_at;

use super::{Question, behind, quarantined};
use crate::cli::TOLD_ELSEWHERE;
use crate::commands::fields::{DAY_MICROS, Fields, command, fields, of_tenant, two_names};
use crate::commands::filter::Filter;

/// A reason.
#[derive(Debug, Serialize)]
pub(super) struct Reason {
    /// A code that stays.
    pub(super) reason: &'static str,
    /// What it is about: a service, a detector, a processor.
    pub(super) subject: String,
    pub(super) count: u64,
    /// The same in words.
    pub(super) what: String,
    /// The command that shows more.
    pub(super) show: String,
}

/// How many imbalances of the detectors that were accepted there are.
pub(super) type Accepted<'a> = BTreeMap<&'a str, u64>;

/// What the lines of all transactions sum to.
const OF_ALL: [&str; 2] = ["shard_imbalance", "trial_imbalance"];

/// Finds all reasons, and counts the imbalances that are none because they are accepted.
pub(super) fn all<'a>(asked: &Question<'a>) -> anyhow::Result<(Vec<Reason>, Accepted<'a>)> {
    let of = |view| of_tenant(asked.opened, view, asked.tenant, asked.epoch);
    let imbalances = of(View::Imbalances)?;
    let continuity = of(View::SourceContinuity)?;
    let reconciliation = of(View::Reconciliation)?;
    let quality = of(View::DataQuality)?;
    let seen = [&imbalances, &continuity, &reconciliation, &quality];
    let mut reasons = Vec::new();
    let day_end = (i64::from(asked.date) + 1) * DAY_MICROS;
    if asked.epoch_time < day_end {
        reasons.push(day_not_over(asked, day_end));
    } else {
        reasons.extend(behind::reasons(asked, day_end)?);
    }
    if seen.iter().all(|rows| rows.0.is_empty()) && is_unknown(asked)? {
        reasons.push(asked.reason(
            ("unknown_tenant", asked.tenant, 1),
            "the tenant has no row in any view".to_owned(),
            &["query", "transaction_totals"],
        ));
    }
    let later = Later::find(asked, &imbalances, &reconciliation)?;
    reasons.extend(gaps(asked, &continuity));
    reasons.extend(incomplete(asked, &quality));
    let mut accepted = asked.accept.iter().map(|name| (name.as_str(), 0)).collect();
    reasons.extend(open(asked, &imbalances, &later, &mut accepted));
    reasons.extend(unmatched(asked, &reconciliation, &later));
    reasons.extend(quarantined::reasons(asked)?);
    Ok((reasons, accepted))
}

impl Question<'_> {
    /// Returns the command that asks the same of the last commit, which moves on.
    pub(super) fn again(&self) -> String {
        let date = Timestamp::display_date(self.date);
        let words = ["trueup", "ready", "--store", self.place, "--tenant", self.tenant, "--date"];
        command(&[words.as_slice(), &[&date]].concat())
    }

    /// Builds a reason; the command gets store, tenant and epoch where it takes them.
    pub(super) fn reason(
        &self,
        (reason, subject, count): (&'static str, &str, u64),
        what: String,
        show: &[&str],
    ) -> Reason {
        let epoch = self.epoch.to_string();
        let mut words = vec!["trueup"];
        words.extend(show);
        words.extend(["--store", self.place, "--epoch", &epoch]);
        if show.first() == Some(&"query") {
            words.extend(["--tenant", self.tenant]);
        }
        Reason { reason, subject: subject.to_owned(), count, what, show: command(&words) }
    }
}

/// The events of a day may still be on their way until a commit is made after it.
fn day_not_over(asked: &Question<'_>, end: i64) -> Reason {
    let shown = Timestamp::display_micros;
    let what =
        format!("the commit is of {}, the day ends at {}", shown(asked.epoch_time), shown(end));
    let subject = Timestamp::display_date(asked.date);
    Reason { reason: "day_not_over", subject, count: 1, what, show: asked.again() }
}

/// Says whether no view has a row of the tenant.
fn is_unknown(asked: &Question<'_>) -> anyhow::Result<bool> {
    for view in View::ALL {
        let filter = Filter::default().text(view, "tenant", asked.tenant);
        let wants = |table: &_, row| filter.wants(table, row);
        let found = snapshot_at(&asked.opened.log, view, Some(asked.epoch), Some(&wants))
            .with_context(|| format!("reading {}", view.name()))?;
        if !found.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn gaps(asked: &Question<'_>, continuity: &Rows) -> Vec<Reason> {
    let gap = |row: &Fields<'_>| row.integer("missing") > 0;
    let reason = |row: Fields<'_>| {
        let (service, missing) = (row.text("service"), row.integer("missing"));
        let what = format!(
            "of the sequences {} to {} so many are missing",
            row.integer("first_sequence"),
            row.integer("max_sequence")
        );
        let condition = format!("service={service}");
        asked.reason(
            ("sequence_gap", service, missing.unsigned_abs()),
            what,
            &["query", "source_continuity", "--where", &condition],
        )
    };
    fields(View::SourceContinuity, continuity).filter(gap).map(reason).collect()
}

fn incomplete(asked: &Question<'_>, quality: &Rows) -> Vec<Reason> {
    let is_open =
        |row: &Fields<'_>| row.text("measure") == "completeness" && row.text("state") == "open";
    let reason = |row: Fields<'_>| {
        let (service, through) = (row.text("subject"), row.integer("value"));
        let detail: Value = serde_json::from_str(row.text("detail")).unwrap_or_default();
        let number = |name: &str| detail[name].as_str().unwrap_or("?").to_owned();
        let (last, verified) = (number("max_sequence"), number("verified_through"));
        let behind = last.parse::<i64>().map_or(1, |last| last.abs_diff(through).max(1));
        let what = format!("complete through {through} of {last}, verified through {verified}");
        let condition = format!("subject={service}");
        let show = ["query", "data_quality", "--where", "measure=completeness", "--where"];
        let show = [show.as_slice(), &[&condition]].concat();
        asked.reason(("incomplete", service, behind), what, &show)
    };
    fields(View::DataQuality, quality).filter(is_open).map(reason).collect()
}

fn open(
    asked: &Question<'_>,
    imbalances: &Rows,
    later: &Later,
    accepted: &mut Accepted<'_>,
) -> Vec<Reason> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for row in fields(View::Imbalances, imbalances) {
        let detector = row.text("detector");
        if TOLD_ELSEWHERE.contains(&detector) || later.explains(row) {
            continue;
        }
        let count = match accepted.get_mut(detector) {
            Some(accepted) => accepted,
            None => counts.entry((detector, row.text("severity"))).or_default(),
        };
        *count += 1;
    }
    let reason = |((detector, severity), count): ((&str, &str), u64)| {
        let code = match detector {
            "control_total_mismatch" => "control_total_mismatch",
            _ => "open_imbalance",
        };
        let (detector_is, severity_is) =
            (format!("detector={detector}"), format!("severity={severity}"));
        let show = ["query", "imbalances", "--where", &detector_is, "--where", &severity_is];
        asked.reason((code, detector, count), severity.to_owned(), &show)
    };
    counts.into_iter().map(reason).collect()
}

fn unmatched(asked: &Question<'_>, reconciliation: &Rows, later: &Later) -> Vec<Reason> {
    let mut counts: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for row in fields(View::Reconciliation, reconciliation) {
        let state = row.text("state");
        // Where there is a statement, that one may be of the day.
        let is_later = state == "ledger_only" && later.transactions.contains(row.text("reference"));
        if state != "matched" && !is_later {
            *counts.entry(row.text("processor")).or_default().entry(state).or_default() += 1;
        }
    }
    let reason = |(processor, states): (&str, BTreeMap<&str, u64>)| {
        let count = states.values().sum();
        let what: Vec<_> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let date = Timestamp::display_date(asked.date);
        let show = ["reconcile", "--tenant", asked.tenant, "--processor", processor, "--date"];
        let show = [show.as_slice(), &[&date]].concat();
        asked.reason(("unmatched", processor, count), what.join(", "), &show)
    };
    counts.into_iter().map(reason).collect()
}

/// What is of a later day only: transactions that have postings, all of them effective after it.
struct Later {
    date: i32,
    transactions: BTreeSet<String>,
    /// Currencies in which all transactions that do not balance are of a later day.
    currencies: BTreeSet<String>,
}

impl Later {
    fn find(
        asked: &Question<'_>,
        imbalances: &Rows,
        reconciliation: &Rows,
    ) -> anyhow::Result<Later> {
        let mut named: BTreeSet<String> =
            fields(View::Imbalances, imbalances).filter_map(transaction).collect();
        let references = fields(View::Reconciliation, reconciliation);
        named.extend(references.map(|row| row.text("reference").to_owned()));
        let mut transactions = BTreeSet::new();
        let mut by_the_day = BTreeSet::new();
        if !named.is_empty() {
            let postings = of_tenant(asked.opened, View::Postings, asked.tenant, asked.epoch)?;
            for row in fields(View::Postings, &postings) {
                let id = row.text("transaction_id");
                if !named.contains(id) {
                    continue;
                }
                let date = row.integer("effective_at").div_euclid(DAY_MICROS);
                let found =
                    if date > i64::from(asked.date) { &mut transactions } else { &mut by_the_day };
                found.insert(id.to_owned());
            }
        }
        transactions.retain(|id| !by_the_day.contains(id));
        let mut currencies = BTreeSet::new();
        let mut disturbed = BTreeSet::new();
        for row in fields(View::Imbalances, imbalances) {
            if row.text("detector") == "unbalanced_transaction" {
                let is_later = transactions.contains(row.text("subject"));
                let found = if is_later { &mut currencies } else { &mut disturbed };
                found.insert(row.text("currency").to_owned());
            }
        }
        currencies.retain(|currency| !disturbed.contains(currency));
        Ok(Later { date: asked.date, transactions, currencies })
    }

    /// Says whether an imbalance is there because of a later day alone.
    fn explains(&self, row: Fields<'_>) -> bool {
        let detector = row.text("detector");
        if OF_ALL.contains(&detector) {
            // They are the sums of what does not balance.
            return self.currencies.contains(row.text("currency"));
        }
        if detector == "late_into_closed_period" {
            // A line that is of a later day changes the whole of its month.
            let (_, month) = two_names(row.text("subject"));
            let first = Timestamp::parse_date(&format!("{month}-01"));
            return first.is_some_and(|first| first > self.date);
        }
        transaction(row).is_some_and(|id| self.transactions.contains(&id))
    }
}

/// Returns the transaction whose lines tell of which day an imbalance is. A `conflict` has none: the
/// event that was not taken may be of any day.
fn transaction(row: Fields<'_>) -> Option<String> {
    let subject = row.text("subject");
    match row.text("detector") {
        "unbalanced_transaction"
        | "orphan"
        | "over_reversed"
        | "over_refunded"
        | "over_captured"
        | "hold_already_resolved"
        | "stuck_hold" => Some(subject.to_owned()),
        "delayed_event" => {
            // Of an event without transaction the first name is empty.
            Some(two_names(subject).0).filter(|id| !id.is_empty())
        }
        _ => None,
    }
}
