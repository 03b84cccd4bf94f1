//! Imbalances that have lasted (`alerts`), as a plain fold over the history of `imbalances`.

use std::collections::BTreeMap;

use super::books::{rows, text};
use crate::explain::{alert_id, explain, first_events};
use crate::table::{Datum, Row, Rows};
use crate::{Epoch, Rules, View};

/// How many columns of `imbalances` are its key: tenant, detector, subject and currency.
const KEY: usize = View::Imbalances.key_columns();

/// The imbalances that there are, since when each lasts, and the alerts that were raised of them.
///
/// Unlike the other views, `alerts` is no function of a set with its epochs but of every commit:
/// [`Alerts::step`] wants the rows of `imbalances` at each epoch, in order.
///
/// ```
/// use trueup_ledger::reference::Alerts;
/// use trueup_ledger::table::Rows;
/// use trueup_ledger::{Epoch, Rules};
/// let mut alerts = Alerts::new(&Rules::default());
/// alerts.step(Epoch(1), 0, &Rows::default());
/// assert!(alerts.rows().0.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Alerts {
    /// How long an imbalance must last, in microseconds.
    grace: i64,
    lasting: BTreeMap<Row, Lasting>,
}

/// An imbalance that has had a row in every commit since an epoch.
#[derive(Clone, Debug)]
struct Lasting {
    since: Epoch,
    since_time: i64,
    /// The row of the alert, once it is raised.
    alert: Option<Row>,
}

impl Alerts {
    /// Returns the alerts of the empty store.
    #[must_use]
    pub fn new(rules: &Rules) -> Alerts {
        Alerts { grace: rules.alert_grace, lasting: BTreeMap::new() }
    }

    /// Goes on to the next epoch, of which `imbalances` are all rows at its end. `epoch_time` is in
    /// microseconds since 1970 and not before that of the epoch before.
    pub fn step(&mut self, epoch: Epoch, epoch_time: i64, imbalances: &Rows) {
        let mut before = std::mem::take(&mut self.lasting);
        for row in imbalances.0.keys() {
            let (key, said) = row.split_at(KEY);
            let begun = || Lasting { since: epoch, since_time: epoch_time, alert: None };
            let mut lasting = before.remove(key).unwrap_or_else(begun);
            let lasts = epoch_time.saturating_sub(lasting.since_time);
            if lasting.alert.is_none() && lasts > self.grace {
                lasting.alert = Some(alert(key, said, &lasting));
            }
            self.lasting.insert(key.to_vec(), lasting);
        }
    }

    /// Returns the rows of `alerts` at the end of the last epoch.
    #[must_use]
    pub fn rows(&self) -> Rows {
        rows(self.lasting.values().filter_map(|lasting| lasting.alert.clone()))
    }
}

/// Makes the row of an alert of the columns of an imbalance.
fn alert(key: &[Datum], said: &[Datum], lasting: &Lasting) -> Row {
    let name = |column: usize| match &key[column] {
        Datum::Text(text) => &**text,
        _ => "",
    };
    let (tenant, detector, subject, currency) = (name(0), name(1), name(2), name(3));
    let detail = match said.last() {
        Some(Datum::Text(detail)) => detail,
        _ => "",
    };
    let mut row = vec![
        text(tenant),
        text(&alert_id(tenant, detector, subject, currency, lasting.since)),
        text(detector),
        text(subject),
        text(currency),
    ];
    // Amount and severity.
    row.extend_from_slice(&said[..2]);
    row.push(Datum::Instant(lasting.since_time));
    row.push(text(&first_events(detail)));
    row.push(text(detail));
    row.push(text(&explain(tenant, detector, subject, currency)));
    row
}
