//! Statements, control totals and periods among what moves money, as few as collide: months close
//! and open under postings, ranges of sequences overlap, and events of one id say different things.

use proptest::prelude::*;
use trueup_ledger::{
    Amount, ControlSum, ControlTotal, Event, Fact, Kind, Month, StatementLine, Timestamp,
};

use super::{account, posting};

/// The instants of events, spread over three months, and of their expiry.
fn spread(mut event: Event<'static>) -> Event<'static> {
    let days = event.effective_at.seconds() / 86_400;
    event.effective_at = Timestamp::from_parts(days * 31 * 86_400, 0).unwrap();
    event
}

fn statement() -> impl Strategy<Value = Fact<'static>> {
    let processor = prop::sample::select(vec!["stripe", "adyen", "bank", "unknown"]);
    let currency = prop::sample::select(vec!["EUR", "USD"]);
    (processor, 0_u8..5, -3_i128..4, currency, -2_i32..2).prop_map(
        |(processor, reference, units, currency, value_date)| {
            Fact::Statement(StatementLine {
                processor: processor.into(),
                reference: format!("t{reference}").into(),
                amount: Amount(units * 1_000_000_000),
                currency: currency.into(),
                value_date,
            })
        },
    )
}

fn control() -> impl Strategy<Value = Fact<'static>> {
    let sums = prop::collection::vec((posting(), 0_i128..4), 0..2);
    let range = (1_u64..5, prop_oneof![9 => 0_u64..4, 1 => Just(1 << 62)]);
    (range, 0_u64..4, sums).prop_map(|((from, more), count, sums)| {
        let sums = sums.into_iter().map(|(posting, units)| ControlSum {
            currency: posting.currency,
            debit: posting.amount,
            credit: Amount(units * 1_000_000_000),
        });
        let mut totals: Vec<ControlSum<'static>> =
            sums.filter(|sum| sum.debit != Amount(0) || sum.credit != Amount(0)).collect();
        totals.sort_by(|a, b| a.currency.cmp(&b.currency));
        totals.dedup_by(|a, b| a.currency == b.currency);
        Fact::Control(ControlTotal { from, to: from + more, count, totals })
    })
}

/// What has no transaction, among what has one.
pub(crate) fn fact() -> impl Strategy<Value = Event<'static>> {
    let month = (0_i32..3).prop_map(|month| Fact::Period(Month(1970 * 12 + month)));
    let said = prop_oneof![2 => statement(), 1 => control(), 2 => month];
    (account(), said, any::<bool>(), 0_u8..2).prop_map(|(event, said, closes, place)| {
        let mut event = spread(event);
        // As many move money as say something.
        if place == 0 {
            return event;
        }
        event.kind = match &said {
            Fact::Statement(_) => Kind::StatementLine,
            Fact::Control(_) => Kind::ControlTotal,
            _ if closes => Kind::ClosePeriod,
            _ => Kind::ReopenPeriod,
        };
        event.transaction_id = "".into();
        event.leg = "".into();
        event.revision = 1;
        event.target = None;
        event.expires_at = None;
        event.postings.clear();
        event.fact = Some(Box::new(said));
        event
    })
}
