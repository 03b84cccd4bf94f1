//! One row per sentence of SPEC §2 about validity: a change to a good draft, and the reason.

use super::*;

fn good() -> EventDraft<'static> {
    EventDraft {
        v: Some(1),
        event_id: Some("e1".into()),
        tenant: Some("acme".into()),
        kind: Some("post".into()),
        transaction_id: Some("t1".into()),
        effective_at: Some("2026-01-02T03:04:05Z".into()),
        recorded_at: Some("2026-01-02T03:04:06Z".into()),
        source: Some(SourceDraft { service: Some("billing".into()), sequence: Some(1) }),
        postings: Some(vec![posting("1.50")]),
        ..EventDraft::default()
    }
}

fn posting(amount: &'static str) -> PostingDraft<'static> {
    PostingDraft {
        account: Some("assets:cash".into()),
        side: Some("debit".into()),
        amount: Some(amount.into()),
        currency: Some("EUR".into()),
    }
}

fn reason(change: impl FnOnce(&mut EventDraft<'static>)) -> Option<Reason> {
    let mut draft = good();
    change(&mut draft);
    draft.admit(Scale::DEFAULT).err().map(|rejection| rejection.reason)
}

fn posting_reason(change: impl FnOnce(&mut PostingDraft<'static>)) -> Option<Reason> {
    let mut line = posting("1");
    change(&mut line);
    reason(|draft| draft.postings = Some(vec![posting("1"), line]))
}

// spec: "`leg` | string, default """
// spec: "`revision` | integer ≥ 1, default 1"
#[test]
fn a_good_draft_is_admitted() {
    assert_eq!(reason(|_| ()), None);
    assert_eq!(reason(|d| d.postings = Some(vec![])), None);
    assert_eq!(reason(|d| d.leg = Some("fees".into())), None);
    assert_eq!(reason(|d| d.reverses = Some("ignored".into())), None);
    let event = good().admit(Scale::DEFAULT).unwrap();
    assert_eq!((&*event.leg, event.revision), ("", 1));
}

// spec: "a missing or ill-typed required field quarantines"
// spec: "`v` | 1 | schema version"
// spec: "`event_id` | string ≤ 128"
// spec: "`tenant` | string ≤ 64"
// spec: "`kind` | see §3"
// spec: "`transaction_id` | string ≤ 128"
// spec: "`revision` | integer ≥ 1"
// spec: "`effective_at` | RFC 3339"
// spec: "`recorded_at` | RFC 3339"
// spec: "`source` | `{service, sequence?}`"
#[test]
fn fields_of_the_record() {
    use Reason::*;
    assert_eq!(reason(|d| d.v = None), Some(MissingField));
    assert_eq!(reason(|d| d.v = Some(2)), Some(UnsupportedVersion));
    assert_eq!(reason(|d| d.event_id = None), Some(MissingField));
    assert_eq!(reason(|d| d.event_id = Some("".into())), Some(BadIdentifier));
    assert_eq!(reason(|d| d.event_id = Some("é".repeat(128).into())), None);
    assert_eq!(reason(|d| d.event_id = Some("é".repeat(129).into())), Some(BadIdentifier));
    assert_eq!(reason(|d| d.tenant = Some("x".repeat(64).into())), None);
    assert_eq!(reason(|d| d.tenant = Some("x".repeat(65).into())), Some(BadIdentifier));
    assert_eq!(reason(|d| d.kind = Some("control_total".into())), Some(MissingField));
    assert_eq!(reason(|d| d.kind = Some("POST".into())), Some(UnknownKind));
    assert_eq!(reason(|d| d.transaction_id = None), Some(MissingField));
    assert_eq!(reason(|d| d.transaction_id = Some("é".repeat(128).into())), None);
    let too_long = reason(|d| d.transaction_id = Some("é".repeat(129).into()));
    assert_eq!(too_long, Some(BadIdentifier));
    assert_eq!(reason(|d| d.revision = Some(1)), None);
    assert_eq!(reason(|d| d.revision = Some(0)), Some(BadRevision));
    assert_eq!(reason(|d| d.revision = Some(2)), Some(BadRevision));
    assert_eq!(
        reason(|d| d.effective_at = Some("2026-02-30T00:00:00Z".into())),
        Some(BadTimestamp)
    );
    assert_eq!(reason(|d| d.recorded_at = None), Some(MissingField));
    assert_eq!(reason(|d| d.source = None), Some(MissingField));
    assert_eq!(reason(|d| d.source = Some(SourceDraft::default())), Some(MissingField));
    assert_eq!(reason(|d| d.postings = None), Some(MissingField));
    let sequence = |n| {
        reason(|d| d.source = Some(SourceDraft { service: Some("s".into()), sequence: Some(n) }))
    };
    assert_eq!(sequence(0), Some(BadSequence));
    assert_eq!(sequence(u64::MAX), Some(BadSequence));
}

// spec: "`account` with `account: {name, normal_side, overdraft: "allowed"|"forbidden"}`"
#[test]
fn declarations_of_accounts() {
    use Reason::*;
    let declared = |change: fn(&mut EventDraft<'static>, &mut AccountDraft<'static>)| {
        reason(|d| {
            d.kind = Some("account".into());
            let mut account = AccountDraft {
                name: Some("wallet".into()),
                normal_side: Some("credit".into()),
                overdraft: Some("forbidden".into()),
            };
            change(d, &mut account);
            d.account = Some(account);
        })
    };
    assert_eq!(declared(|_, _| ()), None);
    // What only transactions have is not judged.
    assert_eq!(declared(|d, _| d.transaction_id = None), None);
    assert_eq!(declared(|d, _| d.transaction_id = Some("".into())), None);
    assert_eq!(declared(|d, _| d.leg = Some("fees".into())), None);
    assert_eq!(declared(|d, _| d.revision = Some(7)), None);
    assert_eq!(declared(|d, _| d.postings = None), None);
    assert_eq!(declared(|d, _| d.postings = Some(vec![posting("NaN")])), None);
    assert_eq!(declared(|d, _| d.effective_at = None), Some(MissingField));
    assert_eq!(declared(|d, _| d.recorded_at = None), Some(MissingField));
    assert_eq!(declared(|d, _| d.source = None), Some(MissingField));
    assert_eq!(declared(|_, a| a.name = None), Some(MissingField));
    assert_eq!(declared(|_, a| a.name = Some("".into())), Some(BadAccount));
    assert_eq!(declared(|_, a| a.name = Some("a\nb".into())), Some(BadAccount));
    assert_eq!(declared(|_, a| a.name = Some("é".repeat(129).into())), Some(BadAccount));
    assert_eq!(declared(|_, a| a.normal_side = None), Some(MissingField));
    assert_eq!(declared(|_, a| a.normal_side = Some("Debit".into())), Some(BadSide));
    assert_eq!(declared(|_, a| a.overdraft = None), Some(MissingField));
    assert_eq!(declared(|_, a| a.overdraft = Some("never".into())), Some(BadOverdraft));
    assert_eq!(reason(|d| d.kind = Some("account".into())), Some(MissingField));
    // Nor is what only accounts have judged elsewhere.
    assert_eq!(reason(|d| d.account = Some(AccountDraft::default())), None);
}

// spec: "`correct` must have ≥ 2"
// spec: "(elsewhere a non-empty `leg` quarantines)"
// spec: "`refund` always carries postings."
// spec: "`reverses` / `refunds` / `captures` / `releases` | transaction_id | the target, for those
// kinds"
#[test]
fn fields_by_kind() {
    use Reason::*;
    let correct = |revision| {
        reason(|d| {
            d.kind = Some("correct".into());
            d.revision = revision;
        })
    };
    assert_eq!(correct(None), Some(BadRevision));
    assert_eq!(correct(Some(1)), Some(BadRevision));
    assert_eq!(correct(Some(2)), None);
    assert_eq!(correct(Some(u64::MAX)), Some(BadRevision));
    let reverse = |target: Option<&'static str>, leg: &'static str| {
        reason(|d| {
            d.kind = Some("reverse".into());
            d.reverses = target.map(Cow::Borrowed);
            d.leg = Some(leg.into());
            d.postings = None;
        })
    };
    assert_eq!(reverse(Some("t0"), ""), None);
    assert_eq!(reverse(Some("t0"), "a"), Some(LegNotAllowed));
    assert_eq!(reverse(None, ""), Some(MissingField));
    assert_eq!(reverse(Some(""), ""), Some(BadIdentifier));
    let refund = |postings| {
        reason(|d| {
            d.kind = Some("refund".into());
            d.refunds = Some("t0".into());
            d.postings = postings;
        })
    };
    assert_eq!(refund(Some(vec![posting("1")])), None);
    assert_eq!(refund(Some(vec![])), Some(MissingPostings));
    assert_eq!(refund(None), Some(MissingField));
}

// spec: "`expires_at` | RFC 3339 | for `hold`"
// spec: "`release`: no postings of its own."
// spec: "(elsewhere a non-empty `leg` quarantines)"
// spec: "`reverses` / `refunds` / `captures` / `releases` | transaction_id | the target, for those
// kinds"
#[test]
fn fields_of_holds() {
    use Reason::*;
    type Draft = EventDraft<'static>;
    let of_kind = |kind: &'static str, change: fn(&mut Draft)| {
        let mut draft = EventDraft {
            kind: Some(kind.into()),
            expires_at: Some("2026-01-09T00:00:00Z".into()),
            captures: Some("h1".into()),
            releases: Some("h1".into()),
            ..good()
        };
        if kind != "hold" {
            draft.postings = None;
        }
        change(&mut draft);
        draft.admit(Scale::DEFAULT).map_err(|rejection| rejection.reason)
    };
    let accepted = |kind, change: fn(&mut Draft)| of_kind(kind, change).unwrap();
    let rejected = |kind, change: fn(&mut Draft)| of_kind(kind, change).err();
    let hold = accepted("hold", |d| d.leg = Some("payer".into()));
    assert_eq!((hold.expires_at, hold.target), (Timestamp::parse("2026-01-09T00:00:00Z"), None));
    assert_eq!(rejected("hold", |d| d.expires_at = None), Some(MissingField));
    assert_eq!(rejected("hold", |d| d.expires_at = Some("soon".into())), Some(BadTimestamp));
    assert_eq!(rejected("hold", |d| d.postings = None), Some(MissingField));
    assert_eq!(rejected("hold", |d| d.postings = Some(vec![])), None);
    assert_eq!(rejected("hold", |d| d.revision = Some(2)), Some(BadRevision));
    let capture = accepted("capture", |d| d.releases = None);
    assert_eq!((capture.target.as_deref(), capture.expires_at), (Some("h1"), None));
    assert!(capture.derives() && accepted("capture", |d| d.postings = Some(vec![])).derives());
    assert!(!accepted("capture", |d| d.postings = Some(vec![posting("1")])).derives());
    assert_eq!(rejected("capture", |d| d.captures = None), Some(MissingField));
    assert_eq!(rejected("capture", |d| d.captures = Some("".into())), Some(BadIdentifier));
    assert_eq!(rejected("capture", |d| d.leg = Some("a".into())), Some(LegNotAllowed));
    let release = accepted("release", |d| d.captures = None);
    assert!(release.target.as_deref() == Some("h1") && !release.derives());
    assert_eq!(rejected("release", |d| d.postings = Some(vec![])), None);
    let carries = rejected("release", |d| d.postings = Some(vec![posting("1")]));
    assert_eq!(carries, Some(PostingsNotAllowed));
    assert_eq!(rejected("release", |d| d.releases = None), Some(MissingField));
    assert_eq!(rejected("release", |d| d.leg = Some("a".into())), Some(LegNotAllowed));
    // What a kind does not use is not judged.
    assert_eq!(rejected("capture", |d| d.expires_at = Some("soon".into())), None);
    assert_eq!(reason(|d| d.expires_at = Some("soon".into())), None);
}

// spec: "`postings` | list of `{account, side, amount, currency}` | side `debit`/`credit`; amount a
// non-negative decimal string; currency (or any unit of account) 1–24 of `A-Z 0-9 . _ - /`, a
// letter first"
// spec: "Account names are `:`-separated paths (`assets:cash:eur`), ≤ 256 bytes of UTF-8, no
// control characters."
#[test]
fn fields_of_a_posting() {
    use Reason::*;
    assert_eq!(posting_reason(|p| p.account = None), Some(MissingField));
    assert_eq!(posting_reason(|p| p.account = Some("".into())), Some(BadAccount));
    assert_eq!(posting_reason(|p| p.account = Some("a\tb".into())), Some(BadAccount));
    assert_eq!(posting_reason(|p| p.account = Some("a\u{85}b".into())), Some(BadAccount));
    assert_eq!(posting_reason(|p| p.account = Some("x".repeat(256).into())), None);
    assert_eq!(posting_reason(|p| p.account = Some("x".repeat(257).into())), Some(BadAccount));
    assert_eq!(posting_reason(|p| p.side = Some("Debit".into())), Some(BadSide));
    assert_eq!(posting_reason(|p| p.amount = Some("1e3".into())), Some(BadAmount));
    assert_eq!(posting_reason(|p| p.amount = Some("0.0000000001".into())), Some(AmountPrecision));
    assert_eq!(posting_reason(|p| p.amount = Some("9".repeat(40).into())), Some(AmountRange));
    for (code, expected) in [
        ("EUR", None),
        ("X-MILES.v", Some(BadCurrency)),
        ("X-MILES.V2/A_B", None),
        ("eur", Some(BadCurrency)),
        ("1INCH", Some(BadCurrency)),
        ("", Some(BadCurrency)),
        ("ABCDEFGHIJKLMNOPQRSTUVWX", None),
        ("ABCDEFGHIJKLMNOPQRSTUVWXY", Some(BadCurrency)),
    ] {
        assert_eq!(posting_reason(|p| p.currency = Some(code.into())), expected, "{code}");
    }
}

#[path = "draft/facts_tests.rs"]
mod facts_tests;
