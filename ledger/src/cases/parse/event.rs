//! From one line of a case to an event, through admission.

use super::{instant_text, recorded_at, sign_of};
use crate::draft::{
    AccountDraft, ControlDraft, ControlSumDraft, EventDraft, PostingDraft, SourceDraft,
    StatementDraft,
};
use crate::{Event, Kind, Scale};

pub(super) fn event(kind: &str, rest: &str, number: i64) -> Result<Event<'static>, String> {
    let mut words = rest.split_whitespace();
    let (Some(subject), Some(event_id)) = (words.next(), words.next()) else {
        return Err("an event needs a transaction and an event id".to_owned());
    };
    let is_alone = Kind::by_name(kind).is_some_and(|kind| !kind.has_transaction());
    let mut draft = EventDraft {
        v: Some(1),
        event_id: Some(event_id.to_owned().into()),
        tenant: Some("acme".into()),
        kind: Some(kind.to_owned().into()),
        transaction_id: (!is_alone).then(|| subject.to_owned().into()),
        revision: Some(if kind == "correct" { 2 } else { 1 }),
        effective_at: Some(instant_text("2026-01-01").into()),
        recorded_at: Some(recorded_at(&number.to_string())?.into()),
        source: Some(SourceDraft { service: Some("billing".into()), sequence: None }),
        expires_at: Some(instant_text("2026-02-01").into()),
        ..EventDraft::default()
    };
    set_subject(&mut draft, kind, subject)?;
    let mut postings = Vec::new();
    for word in words {
        if let Some(effective_at) = word.strip_prefix('@') {
            draft.effective_at = Some(instant_text(effective_at).into());
        } else if let Some((name, value)) = word.split_once('=') {
            set(&mut draft, name, value)?;
        } else if is_alone {
            add_word(&mut draft, word)?;
        } else {
            postings.push(posting(word)?);
        }
    }
    // Who may do without lines leaves them out; a leg without lines is void and says so.
    let may_derive = matches!(kind, "reverse" | "capture" | "release");
    draft.postings = (!may_derive || !postings.is_empty()).then_some(postings);
    draft.admit(Scale::DEFAULT).map_err(|rejection| rejection.to_string())
}

/// Sets what the first word of an event without transaction says.
fn set_subject(draft: &mut EventDraft<'static>, kind: &str, subject: &str) -> Result<(), String> {
    let text = |text: &str| Some(text.to_owned().into());
    match kind {
        "account" => {
            draft.account = Some(AccountDraft { name: text(subject), ..AccountDraft::default() });
        }
        "statement_line" => {
            let (processor, reference) =
                subject.split_once(':').ok_or("a statement is of PROCESSOR:REFERENCE")?;
            draft.statement = Some(StatementDraft {
                processor: text(processor),
                reference: text(reference),
                value_date: text("2026-01-01"),
                ..StatementDraft::default()
            });
        }
        "control_total" => {
            let number = |text: &str| text.parse::<u64>().ok();
            let (from, to) = subject.split_once('-').ok_or("a range is FROM-TO")?;
            draft.control = Some(ControlDraft {
                from_sequence: number(from),
                to_sequence: number(to),
                count: None,
                totals: Some(Vec::new()),
            });
        }
        "close_period" | "reopen_period" => draft.period = text(subject),
        _ => {}
    }
    Ok(())
}

/// Adds a word that is no option to an event without transaction.
fn add_word(draft: &mut EventDraft<'static>, word: &str) -> Result<(), String> {
    let text = |text: &str| Some(text.to_owned().into());
    if let Some(account) = &mut draft.account {
        match account.normal_side {
            None => account.normal_side = text(word),
            Some(_) => account.overdraft = text(word),
        }
    } else if let Some(statement) = &mut draft.statement {
        let (amount, currency) = word.split_once(':').ok_or("a sum is AMOUNT:CURRENCY")?;
        statement.amount = text(amount);
        statement.currency = text(currency);
    } else if let Some(control) = &mut draft.control {
        let mut parts = word.splitn(3, ':');
        let (currency, debit, credit) = (parts.next(), parts.next(), parts.next());
        let currency = currency.unwrap_or_default().to_owned().into();
        let sum = ControlSumDraft { debit: debit.and_then(text), credit: credit.and_then(text) };
        control.totals.get_or_insert_default().push((currency, sum));
    } else {
        return Err(format!("{word:?} is no option"));
    }
    Ok(())
}

fn set(draft: &mut EventDraft<'static>, name: &str, value: &str) -> Result<(), String> {
    let number = || value.parse::<u64>().map_err(|_| format!("{value:?} is no whole number"));
    let text = Some(value.to_owned().into());
    match name {
        "tenant" => draft.tenant = text,
        "leg" => draft.leg = text,
        "rev" => draft.revision = Some(number()?),
        "rec" => draft.recorded_at = Some(recorded_at(value)?.into()),
        "val" => match &mut draft.statement {
            Some(statement) => statement.value_date = text,
            None => return Err("only a statement has a value date".to_owned()),
        },
        "count" => match &mut draft.control {
            Some(control) => control.count = Some(number()?),
            None => return Err("only a control total has a count".to_owned()),
        },
        "exp" => draft.expires_at = Some(instant_text(value).into()),
        "of" => {
            let targets = [&mut draft.reverses, &mut draft.refunds, &mut draft.captures];
            targets.into_iter().for_each(|target| target.clone_from(&text));
            draft.releases = text;
        }
        "svc" | "seq" => {
            let source = draft.source.get_or_insert_default();
            match name {
                "svc" => source.service = text,
                _ => source.sequence = Some(number()?),
            }
        }
        _ => return Err(format!("unknown option {name:?}")),
    }
    Ok(())
}

fn posting(word: &str) -> Result<PostingDraft<'static>, String> {
    let mut parts = word.rsplitn(3, ':');
    let (Some(currency), Some(amount), Some(account)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(format!("{word:?} is no ACCOUNT:AMOUNT:CURRENCY"));
    };
    let (sign, digits) = sign_of(amount);
    Ok(PostingDraft {
        account: Some(account.to_owned().into()),
        side: Some(if sign < 0 { "credit" } else { "debit" }.into()),
        amount: Some(digits.to_owned().into()),
        currency: Some(currency.to_owned().into()),
    })
}
