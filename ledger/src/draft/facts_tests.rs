//! One row per sentence about what events without a transaction say; declarations of accounts are
//! beside the other fields.

use super::*;
use crate::Fact;

#[test]
fn what_statements_say() {
    use Reason::*;
    let draft = |amount: &str| StatementDraft {
        processor: Some("psp".into()),
        reference: Some("t1".into()),
        amount: Some(amount.to_owned().into()),
        currency: Some("EUR".into()),
        value_date: Some("2026-01-31".into()),
    };
    let admitted = |amount: &str| {
        let kind = Some("statement_line".into());
        let draft = EventDraft { kind, statement: Some(draft(amount)), ..good() };
        let event = draft.admit(Scale::DEFAULT).map_err(|rejection| rejection.reason)?;
        assert_eq!((&*event.transaction_id, event.postings.len()), ("", 0));
        match event.fact.as_deref() {
            Some(Fact::Statement(line)) => Ok(line.amount.0),
            other => panic!("{other:?}"),
        }
    };
    let said = |change: fn(&mut StatementDraft<'static>)| {
        reason(|d| {
            d.kind = Some("statement_line".into());
            let mut statement = draft("1");
            change(&mut statement);
            d.statement = Some(statement);
        })
    };
    let amounts = [
        ("1.5", Ok(1_500_000_000)),
        ("-1.5", Ok(-1_500_000_000)),
        ("0", Ok(0)),
        ("-0", Ok(0)),
        ("-9999999999999999999.999999999", Ok(1 - 10_i128.pow(28))),
        ("10000000000000000000", Err(AmountRange)),
        ("-10000000000000000000", Err(AmountRange)),
        ("-0.0000000001", Err(AmountPrecision)),
        ("", Err(BadAmount)),
        ("-", Err(BadAmount)),
        ("--1", Err(BadAmount)),
        ("+1", Err(BadAmount)),
        ("- 1", Err(BadAmount)),
        ("1-", Err(BadAmount)),
        ("1e3", Err(BadAmount)),
    ];
    for (amount, expected) in amounts {
        assert_eq!(admitted(amount), expected, "{amount:?}");
    }
    assert_eq!(reason(|d| d.kind = Some("statement_line".into())), Some(MissingField));
    assert_eq!(said(|s| s.processor = None), Some(MissingField));
    assert_eq!(said(|s| s.processor = Some("".into())), Some(BadIdentifier));
    assert_eq!(said(|s| s.processor = Some("é".repeat(128).into())), None);
    assert_eq!(said(|s| s.processor = Some("é".repeat(129).into())), Some(BadIdentifier));
    assert_eq!(said(|s| s.reference = None), Some(MissingField));
    assert_eq!(said(|s| s.reference = Some("".into())), Some(BadIdentifier));
    assert_eq!(said(|s| s.reference = Some("x".repeat(129).into())), Some(BadIdentifier));
    assert_eq!(said(|s| s.amount = None), Some(MissingField));
    assert_eq!(said(|s| s.currency = None), Some(MissingField));
    assert_eq!(said(|s| s.currency = Some("eur".into())), Some(BadCurrency));
    assert_eq!(said(|s| s.value_date = None), Some(MissingField));
    for date in ["", "2026-1-31", "2026-02-29", "2026-01-31T00:00:00Z", "20260131", "2026-01-3é"] {
        let bad = EventDraft {
            kind: Some("statement_line".into()),
            statement: Some(StatementDraft { value_date: Some(date.into()), ..draft("1") }),
            ..good()
        };
        assert_eq!(bad.admit(Scale::DEFAULT).unwrap_err().reason, BadDate, "{date:?}");
    }
    assert_eq!(said(|s| s.value_date = Some("2024-02-29".into())), None);
}

#[test]
fn what_control_totals_say() {
    use Reason::*;
    type Draft = ControlDraft<'static>;
    let sum = |currency: &'static str, debit: &'static str, credit: &'static str| {
        let sum = ControlSumDraft { debit: Some(debit.into()), credit: Some(credit.into()) };
        (Cow::Borrowed(currency), sum)
    };
    let admitted = |change: fn(&mut Draft)| {
        let mut control = ControlDraft {
            from_sequence: Some(3),
            to_sequence: Some(7),
            count: Some(5),
            totals: Some(vec![sum("USD", "2", "3"), sum("EUR", "1", "0"), sum("GBP", "0", "0")]),
        };
        change(&mut control);
        let draft =
            EventDraft { kind: Some("control_total".into()), control: Some(control), ..good() };
        let event = draft.admit(Scale::DEFAULT).map_err(|rejection| rejection.reason)?;
        match event.fact.as_deref() {
            Some(Fact::Control(total)) => {
                let sums = total.totals.iter();
                let sums = sums.map(|sum| (sum.currency.to_string(), sum.debit.0, sum.credit.0));
                Ok((total.from, total.to, total.count, sums.collect::<Vec<_>>()))
            }
            other => panic!("{other:?}"),
        }
    };
    // In the order of currencies, without those of which nothing was sent.
    let one = Scale::DEFAULT.one();
    let sums = vec![("EUR".to_owned(), one, 0), ("USD".to_owned(), 2 * one, 3 * one)];
    assert_eq!(admitted(|_| ()), Ok((3, 7, 5, sums)));
    let rejected = |change: fn(&mut Draft)| admitted(change).err();
    assert_eq!(reason(|d| d.kind = Some("control_total".into())), Some(MissingField));
    assert_eq!(rejected(|c| c.from_sequence = None), Some(MissingField));
    assert_eq!(rejected(|c| c.to_sequence = None), Some(MissingField));
    assert_eq!(rejected(|c| c.count = None), Some(MissingField));
    assert_eq!(rejected(|c| c.totals = None), Some(MissingField));
    assert_eq!(rejected(|c| c.totals = Some(vec![])), None);
    assert_eq!(rejected(|c| c.from_sequence = Some(0)), Some(BadRange));
    assert_eq!(rejected(|c| c.from_sequence = Some(7)), None);
    assert_eq!(rejected(|c| c.from_sequence = Some(8)), Some(BadRange));
    assert_eq!(rejected(|c| c.to_sequence = Some(1 << 63)), Some(BadRange));
    assert_eq!(rejected(|c| c.to_sequence = Some((1 << 63) - 1)), None);
    assert_eq!(rejected(|c| c.count = Some(0)), None);
    assert_eq!(rejected(|c| c.count = Some(1 << 63)), Some(BadRange));
    let totals = |currency, debit, credit| {
        reason(|d| {
            d.kind = Some("control_total".into());
            d.control = Some(ControlDraft {
                from_sequence: Some(1),
                to_sequence: Some(1),
                count: Some(1),
                totals: Some(vec![sum("EUR", "1", "1"), sum(currency, debit, credit)]),
            });
        })
    };
    // A sum may have 38 digits, of which the default scale takes nine.
    let largest = "99999999999999999999999999999.999999999";
    assert_eq!(totals("USD", largest, largest), None);
    assert_eq!(totals("USD", "100000000000000000000000000000", "1"), Some(AmountRange));
    assert_eq!(totals("USD", "1", "100000000000000000000000000000"), Some(AmountRange));
    assert_eq!(totals("USD", "0.0000000001", "1"), Some(AmountPrecision));
    assert_eq!(totals("USD", "-1", "1"), Some(BadAmount));
    assert_eq!(totals("USD", "1", "x"), Some(BadAmount));
    assert_eq!(totals("usd", "1", "1"), Some(BadCurrency));
    assert_eq!(totals("", "1", "1"), Some(BadCurrency));
    assert_eq!(totals("EUR", "2", "2"), Some(DuplicateField));
    // Though they say nothing, a currency is given twice.
    assert_eq!(totals("EUR", "0", "0"), Some(DuplicateField));
    let half = |c: &mut Draft, sum| c.totals = Some(vec![("EUR".into(), sum)]);
    let no_debit = ControlSumDraft { debit: None, credit: Some("1".into()) };
    let no_credit = ControlSumDraft { debit: Some("1".into()), credit: None };
    for sum in [no_debit, no_credit] {
        let mut control = ControlDraft {
            from_sequence: Some(1),
            to_sequence: Some(1),
            count: Some(1),
            totals: None,
        };
        half(&mut control, sum);
        let draft =
            EventDraft { kind: Some("control_total".into()), control: Some(control), ..good() };
        assert_eq!(draft.admit(Scale::DEFAULT).unwrap_err().reason, MissingField);
    }
}

#[test]
fn what_periods_say() {
    use Reason::*;
    for kind in ["close_period", "reopen_period"] {
        let admitted = |period: Option<&'static str>| {
            let period = period.map(Cow::Borrowed);
            let draft = EventDraft { kind: Some(kind.into()), period, ..good() };
            let event = draft.admit(Scale::DEFAULT).map_err(|rejection| rejection.reason)?;
            match event.fact.as_deref() {
                Some(Fact::Period(month)) => Ok(month.to_string()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(admitted(None), Err(MissingField));
        for month in ["2026-10", "0000-01", "9999-12"] {
            assert_eq!(admitted(Some(month)), Ok(month.to_owned()));
        }
        for text in ["", "2026", "2026-00", "2026-13", "2026-1", "26-10", "2026-10-01", "2026-1é"]
        {
            assert_eq!(admitted(Some(text)), Err(BadPeriod), "{text:?}");
        }
    }
}

#[test]
fn what_events_without_a_transaction_do_not_use() {
    use Reason::*;
    let statement = || StatementDraft {
        processor: Some("psp".into()),
        reference: Some("t1".into()),
        amount: Some("1".into()),
        currency: Some("EUR".into()),
        value_date: Some("2026-01-31".into()),
    };
    let control = || ControlDraft {
        from_sequence: Some(1),
        to_sequence: Some(1),
        count: Some(1),
        totals: Some(vec![]),
    };
    for kind in ["statement_line", "control_total", "close_period", "reopen_period"] {
        let said = |change: fn(&mut EventDraft<'static>)| {
            reason(|d| {
                d.kind = Some(kind.into());
                d.statement = Some(statement());
                d.control = Some(control());
                d.period = Some("2026-10".into());
                change(d);
            })
        };
        assert_eq!(said(|_| ()), None, "{kind}");
        // What only transactions have is not judged, nor what another kind says.
        assert_eq!(said(|d| d.transaction_id = None), None);
        assert_eq!(said(|d| d.transaction_id = Some("".into())), None);
        assert_eq!(said(|d| d.leg = Some("fees".into())), None);
        assert_eq!(said(|d| d.revision = Some(7)), None);
        assert_eq!(said(|d| d.postings = None), None);
        assert_eq!(said(|d| d.postings = Some(vec![posting("NaN")])), None);
        assert_eq!(said(|d| d.account = Some(AccountDraft::default())), None);
        // What every event has is.
        assert_eq!(said(|d| d.event_id = None), Some(MissingField));
        assert_eq!(said(|d| d.tenant = None), Some(MissingField));
        assert_eq!(said(|d| d.effective_at = None), Some(MissingField));
        assert_eq!(said(|d| d.effective_at = Some("soon".into())), Some(BadTimestamp));
        assert_eq!(said(|d| d.recorded_at = None), Some(MissingField));
        assert_eq!(said(|d| d.source = None), Some(MissingField));
    }
    assert_eq!(reason(|d| d.statement = Some(StatementDraft::default())), None);
    assert_eq!(reason(|d| d.control = Some(ControlDraft::default())), None);
    assert_eq!(reason(|d| d.period = Some("never".into())), None);
}
