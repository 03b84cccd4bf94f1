//! What services say that they have sent against what was applied (SPEC §4,
//! `control_total_mismatch`), and how far the records of each are complete and verified.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::books::{Continuity, Records, Sides};
use super::imbalances::{CRITICAL, Imbalance, escape, plain};
use super::{Books, Content};
use crate::table::Row;
use crate::{Amount, ControlTotal, Event, Fact, Scale};

/// A control total that counts, and what was applied of its range.
pub(super) struct Control<'a> {
    tenant: &'a str,
    service: &'a str,
    total: &'a ControlTotal<'a>,
    count: u64,
    sums: BTreeMap<String, Sides>,
}

/// What is wrong with a range: without a currency its count, with one its sums.
struct Mismatch<'c> {
    currency: &'c str,
    amount: i128,
    detail: Value,
}

/// How far the records of a service are there.
pub(super) struct Completeness<'a> {
    pub(super) tenant: &'a str,
    pub(super) service: &'a str,
    pub(super) max_sequence: u64,
    pub(super) complete_through: u64,
    pub(super) verified_through: u64,
}

/// Judges all control totals that count, by tenant, service and range.
pub(super) fn controls<'a>(books: &'a Books<'_>, records: &Records<'_>) -> Vec<Control<'a>> {
    let mut from_old_to_new: Vec<_> = books.alone.iter().map(|one| &one.event).collect();
    from_old_to_new.sort_by_key(|event| (event.recorded_at, Reverse(&event.event_id)));
    let mut newest: BTreeMap<(&str, &str, u64, u64), (&Event<'_>, &ControlTotal<'_>)> =
        BTreeMap::new();
    for event in from_old_to_new {
        if let Some(Fact::Control(total)) = event.fact.as_deref() {
            let range = (&*event.tenant, &*event.source.service, total.from, total.to);
            newest.insert(range, (event, total));
        }
    }
    newest.into_values().map(|(event, total)| control(event, total, records)).collect()
}

fn control<'a>(
    event: &'a Event<'_>,
    total: &'a ControlTotal<'_>,
    records: &Records<'_>,
) -> Control<'a> {
    let (tenant, service) = (&*event.tenant, &*event.source.service);
    let name = (tenant.to_owned(), service.to_owned());
    let applied = records.get(&name).map_or(&[][..], |records| range(records, total));
    let mut sums: BTreeMap<String, Sides> = BTreeMap::new();
    for (_, content) in applied {
        for posting in content.event().postings {
            let sides = sums.entry(posting.currency.into()).or_default();
            sides.add_amount(posting.side, posting.amount.0);
        }
    }
    Control { tenant, service, total, count: applied.len() as u64, sums }
}

/// Returns the records of a range, of which `records` are in the order of their sequence.
fn range<'r, 'a>(
    records: &'r [(u64, &'a Content)],
    total: &ControlTotal<'_>,
) -> &'r [(u64, &'a Content)] {
    let start = records.partition_point(|(sequence, _)| *sequence < total.from);
    let end = records.partition_point(|(sequence, _)| *sequence <= total.to);
    &records[start..end]
}

impl Control<'_> {
    fn mismatches(&self, scale: Scale) -> Vec<Mismatch<'_>> {
        let mut all = Vec::new();
        if self.count != self.total.count {
            all.push(Mismatch {
                currency: "",
                // A whole number: 63 bits times 10^18 are well within 38 digits.
                amount: i128::from(self.count.abs_diff(self.total.count)) * scale.one(),
                detail: json!({
                    "applied": self.count.to_string(),
                    "control": self.total.count.to_string(),
                }),
            });
        }
        let said: BTreeMap<&str, Sides> = self
            .total
            .totals
            .iter()
            .map(|sum| (&*sum.currency, Sides { debits: sum.debit.0, credits: sum.credit.0 }))
            .collect();
        let currencies: BTreeSet<&str> =
            self.sums.keys().map(String::as_str).chain(said.keys().copied()).collect();
        for currency in currencies {
            let applied = self.sums.get(currency).copied().unwrap_or_default();
            let control = said.get(currency).copied().unwrap_or_default();
            // Each is at most 38 digits, since neither is negative; their sum may have more.
            let off = (applied.debits - control.debits)
                .abs()
                .saturating_add((applied.credits - control.credits).abs());
            if off != 0 {
                all.push(Mismatch {
                    currency,
                    amount: off.min(Amount::MAX_SUM.0),
                    detail: json!({
                        "applied_credit": plain(scale, applied.credits),
                        "applied_debit": plain(scale, applied.debits),
                        "control_credit": plain(scale, control.credits),
                        "control_debit": plain(scale, control.debits),
                    }),
                });
            }
        }
        all
    }

    fn is_match(&self) -> bool {
        self.mismatches(Scale::DEFAULT).is_empty()
    }
}

pub(super) fn mismatches(controls: &[Control<'_>], scale: Scale) -> Vec<Row> {
    let mut all = Vec::new();
    for control in controls {
        let (from, to) = (control.total.from, control.total.to);
        let subject = format!("{}/{from}-{to}", escape(control.service));
        for mismatch in control.mismatches(scale) {
            let imbalance = Imbalance {
                tenant: control.tenant,
                detector: "control_total_mismatch",
                subject: &subject,
                currency: mismatch.currency,
                amount: mismatch.amount,
                severity: CRITICAL,
                detail: mismatch.detail,
            };
            all.push(imbalance.row());
        }
    }
    all
}

/// Judges the services that have a sequence.
pub(super) fn completeness<'s>(
    services: &'s BTreeMap<(String, String), Continuity>,
    controls: &[Control<'_>],
) -> Vec<Completeness<'s>> {
    // The controls of a service are in the order of their ranges.
    let mut by_service: BTreeMap<(&str, &str), Vec<&Control<'_>>> = BTreeMap::new();
    for control in controls {
        by_service.entry((control.tenant, control.service)).or_default().push(control);
    }
    let judged = |((tenant, service), continuity): (&'s (String, String), &Continuity)| {
        let name = (tenant.as_str(), service.as_str());
        let controls = by_service.get(&name).map_or(&[][..], Vec::as_slice);
        Completeness {
            tenant,
            service,
            max_sequence: continuity.max,
            complete_through: complete_through(continuity, controls),
            verified_through: verified_through(continuity, controls),
        }
    };
    services.iter().map(judged).collect()
}

fn complete_through(continuity: &Continuity, controls: &[&Control<'_>]) -> u64 {
    let unbroken = continuity.contiguous_through;
    let first_wrong = controls.iter().find(|control| !control.is_match());
    let through = first_wrong.map_or(unbroken, |wrong| unbroken.min(wrong.total.from - 1));
    if through < continuity.first { 0 } else { through }
}

fn verified_through(continuity: &Continuity, controls: &[&Control<'_>]) -> u64 {
    let before = continuity.first - 1;
    let mut through = before;
    for control in controls.iter().filter(|control| control.is_match()) {
        if control.total.from > through + 1 {
            break;
        }
        through = through.max(control.total.to);
    }
    if through == before { 0 } else { through }
}
