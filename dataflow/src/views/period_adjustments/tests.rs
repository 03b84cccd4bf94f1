//! Closed months through the whole engine: hand-written epochs with the rows that hold after each,
//! on one worker and on several, and over restarts from disk.

mod runs;

use trueup_ledger::View;

use super::*;
use runs::{event, live, scenario};

#[test]
fn sums_are_read_as_they_were_written() {
    let net = |units, lines| Net { units, lines };
    for current in [net(-7, 1), net(0, 0), net(9, 2)] {
        let sums = ClosedSums { closed: net(-7, 1), current };
        let mut bytes = Vec::new();
        sums.encode(&mut bytes);
        assert_eq!(ClosedSums::decode(&mut Reader::new(&bytes)), Ok(sums));
        assert!(ClosedSums::decode(&mut Reader::new(&bytes[1..])).is_err());
        bytes.push(0);
        assert!(ClosedSums::decode(&mut Reader::new(&bytes)).is_err());
    }
}

#[test]
fn an_account_without_lines_on_either_side_has_no_row() {
    let name = AccountName::new("a", "x", "EUR");
    let key = DatedKey { key: name.key().0, at: 24_321, tenant: 0 };
    let mut table = Table::new(View::PeriodAdjustments);
    let (none, some) = (Net::default(), Net { units: 0, lines: 1 });
    push(&name, key, &ClosedSums { closed: none, current: none }, &mut table, 1);
    assert!(table.is_empty());
    push(&name, key, &ClosedSums { closed: some, current: none }, &mut table, 1);
    push(&name, key, &ClosedSums { closed: none, current: some }, &mut table, 1);
    assert_eq!(table.len(), 2);
}

#[test]
fn what_comes_late_is_an_adjustment_until_it_is_undone() {
    scenario(&[
        (
            &[
                "a post t1 2026-10-05 cash+5EUR sales-5EUR",
                "a post t2 2026-11-01 cash+9EUR sales-9EUR",
            ],
            &[],
        ),
        // The last day of the month before is not in it, nor the first of the next.
        (
            &["a post t3 2026-09-30 cash+2EUR sales-2EUR", "a close 2026-10 c1 @1"],
            &["a 2026-10 cash EUR 5 5 0", "a 2026-10 sales EUR -5 -5 0"],
        ),
        (
            &["a post t/4 2026-10-31 cash+3EUR fees-3EUR"],
            &[
                "a 2026-10 cash EUR 5 8 3",
                "a 2026-10 fees EUR 0 -3 -3",
                "a 2026-10 sales EUR -5 -5 0",
                "a late t%2F4/2026-10 EUR 3",
            ],
        ),
        // A correction of what was closed, within the month: nothing of the sales has changed.
        (
            &["a correct2 t1 2026-10-06 cash+4EUR bank+1EUR sales-5EUR"],
            &[
                "a 2026-10 bank EUR 0 1 1",
                "a 2026-10 cash EUR 5 7 2",
                "a 2026-10 fees EUR 0 -3 -3",
                "a 2026-10 sales EUR -5 -5 0",
                "a late t%2F4/2026-10 EUR 3",
                "a late t1/2026-10 EUR 1",
            ],
        ),
        (
            &["a correct2 t/4 2026-10-31", "a correct3 t1 2026-10-05 cash+5EUR sales-5EUR"],
            &["a 2026-10 cash EUR 5 5 0", "a 2026-10 sales EUR -5 -5 0"],
        ),
        // It moves out of the month into one that is open.
        (
            &["a correct4 t1 2026-11-05 cash+5EUR sales-5EUR"],
            &["a 2026-10 cash EUR 5 0 -5", "a 2026-10 sales EUR -5 0 5", "a late t1/2026-10 EUR 5"],
        ),
    ]);
}

#[test]
fn a_month_is_opened_and_closed_again() {
    scenario(&[
        (
            &["a post t1 2026-10-05 cash+5EUR sales-5EUR", "a close 2026-10 c1 @1"],
            &["a 2026-10 cash EUR 5 5 0", "a 2026-10 sales EUR -5 -5 0"],
        ),
        (
            &["a post t2 2026-10-06 cash+1EUR fees-1EUR"],
            &[
                "a 2026-10 cash EUR 5 6 1",
                "a 2026-10 fees EUR 0 -1 -1",
                "a 2026-10 sales EUR -5 -5 0",
                "a late t2/2026-10 EUR 1",
            ],
        ),
        // Closed once more without a reopening between: nothing new.
        (
            &["a close 2026-10 c2 @2"],
            &[
                "a 2026-10 cash EUR 5 6 1",
                "a 2026-10 fees EUR 0 -1 -1",
                "a 2026-10 sales EUR -5 -5 0",
                "a late t2/2026-10 EUR 1",
            ],
        ),
        (&["a reopen 2026-10 r1 @3", "a post t3 2026-10-07 cash+2EUR sales-2EUR"], &[]),
        (&["a post t4 2026-10-08 cash+1EUR sales-1EUR"], &[]),
        (
            &["a close 2026-10 c3 @4", "a post t5 2026-10-09 cash+1EUR sales-1EUR"],
            &[
                "a 2026-10 cash EUR 10 10 0",
                "a 2026-10 fees EUR -1 -1 0",
                "a 2026-10 sales EUR -9 -9 0",
            ],
        ),
        // Opened and closed again by one epoch, which also posts: the books at its end are frozen.
        (
            &["a post t6 2026-10-10 cash+1EUR sales-1EUR"],
            &[
                "a 2026-10 cash EUR 10 11 1",
                "a 2026-10 fees EUR -1 -1 0",
                "a 2026-10 sales EUR -9 -10 -1",
                "a late t6/2026-10 EUR 1",
            ],
        ),
        (
            &[
                "a close 2026-10 c4 @6",
                "a post t7 2026-10-11 bank+1EUR sales-1EUR",
                "a reopen 2026-10 r2 @5",
                "a correct2 t2 2026-10-06",
            ],
            &[
                "a 2026-10 bank EUR 1 1 0",
                "a 2026-10 cash EUR 10 10 0",
                "a 2026-10 sales EUR -11 -11 0",
            ],
        ),
        // A reopening that comes late and lies before the closing makes it another one.
        (
            &["a post t8 2026-10-12 cash+1EUR sales-1EUR"],
            &[
                "a 2026-10 bank EUR 1 1 0",
                "a 2026-10 cash EUR 10 11 1",
                "a 2026-10 sales EUR -11 -12 -1",
                "a late t8/2026-10 EUR 1",
            ],
        ),
        (
            &["a reopen 2026-10 r0 @2"],
            &[
                "a 2026-10 bank EUR 1 1 0",
                "a 2026-10 cash EUR 10 11 1",
                "a 2026-10 sales EUR -11 -12 -1",
                "a late t8/2026-10 EUR 1",
            ],
        ),
        (
            &["a reopen 2026-10 r3 @5"],
            &[
                "a 2026-10 bank EUR 1 1 0",
                "a 2026-10 cash EUR 10 11 1",
                "a 2026-10 sales EUR -11 -12 -1",
                "a late t8/2026-10 EUR 1",
            ],
        ),
        (
            &["a reopen 2026-10 r15 @5"],
            &[
                "a 2026-10 bank EUR 1 1 0",
                "a 2026-10 cash EUR 11 11 0",
                "a 2026-10 sales EUR -12 -12 0",
            ],
        ),
    ]);
}

#[test]
fn tenants_months_and_currencies_are_apart() {
    scenario(&[
        (
            &[
                "a post t1 2026-10-05 cash+5EUR sales-5EUR cash+7USD sales-7USD",
                "a post t2 2026-11-05 cash+1EUR sales-1EUR",
                "b post t1 2026-10-05 cash+6EUR sales-6EUR",
                // The first and the last moment that can be closed together with their neighbours.
                "a post t3 2026-12-31 cash+1USD sales-1USD",
            ],
            &[],
        ),
        (
            &["a close 2026-10 c1 @1", "a close 2026-11 c2 @1", "b close 2026-11 c1 @1"],
            &[
                "a 2026-10 cash EUR 5 5 0",
                "a 2026-10 cash USD 7 7 0",
                "a 2026-10 sales EUR -5 -5 0",
                "a 2026-10 sales USD -7 -7 0",
                "a 2026-11 cash EUR 1 1 0",
                "a 2026-11 sales EUR -1 -1 0",
            ],
        ),
        // From one closed month into another, and in one currency more; the other tenant's is open.
        (
            &[
                "a correct2 t2 2026-10-31 cash+1EUR sales-1EUR cash+2USD sales-2USD",
                "b correct2 t1 2026-10-06 cash+4EUR sales-4EUR",
            ],
            &[
                "a 2026-10 cash EUR 5 6 1",
                "a 2026-10 cash USD 7 9 2",
                "a 2026-10 sales EUR -5 -6 -1",
                "a 2026-10 sales USD -7 -9 -2",
                "a 2026-11 cash EUR 1 0 -1",
                "a 2026-11 sales EUR -1 0 1",
                "a late t2/2026-10 EUR 1",
                "a late t2/2026-10 USD 2",
                "a late t2/2026-11 EUR 1",
            ],
        ),
        // One epoch opens one month, closes others, and posts into all of them.
        (
            &[
                "a reopen 2026-10 r1 @2",
                "a close 2026-12 c3 @2",
                "b close 2026-10 c2 @2",
                "a post t4 2026-11-30 cash+3USD sales-3USD",
                "a post t5 2026-10-01 cash+3USD sales-3USD",
                "b post t6 2026-10-01 cash+1EUR sales-1EUR",
            ],
            &[
                "a 2026-11 cash EUR 1 0 -1",
                "a 2026-11 cash USD 0 3 3",
                "a 2026-11 sales EUR -1 0 1",
                "a 2026-11 sales USD 0 -3 -3",
                "a 2026-12 cash USD 1 1 0",
                "a 2026-12 sales USD -1 -1 0",
                "a late t2/2026-11 EUR 1",
                "a late t4/2026-11 USD 3",
                "b 2026-10 cash EUR 5 5 0",
                "b 2026-10 sales EUR -5 -5 0",
            ],
        ),
        // What had no lines and has none any more has no row; what had some has one.
        (
            &["a correct2 t4 2026-11-30", "b correct3 t1 2026-10-06", "b correct2 t6 2026-10-06"],
            &[
                "a 2026-11 cash EUR 1 0 -1",
                "a 2026-11 sales EUR -1 0 1",
                "a 2026-12 cash USD 1 1 0",
                "a 2026-12 sales USD -1 -1 0",
                "a late t2/2026-11 EUR 1",
                "b 2026-10 cash EUR 5 0 -5",
                "b 2026-10 sales EUR -5 0 5",
                "b late t1/2026-10 EUR 4",
                "b late t6/2026-10 EUR 1",
            ],
        ),
    ]);
}

#[test]
fn holds_come_into_a_closed_month_when_they_are_captured() {
    scenario(&[
        (&["a hold h1 2026-10-05 cash+5EUR sales-5EUR", "a close 2026-10 c1 @1"], &[]),
        (
            &["a capture p1=h1 2026-10-06"],
            &["a 2026-10 cash EUR 0 5 5", "a 2026-10 sales EUR 0 -5 -5", "a late p1/2026-10 EUR 5"],
        ),
        // Taken back by another transaction: the sums are cured, and who changed them still did.
        (
            &["a reverse r1=p1 2026-10-07"],
            &[
                "a 2026-10 cash EUR 0 0 0",
                "a 2026-10 sales EUR 0 0 0",
                "a late p1/2026-10 EUR 5",
                "a late r1/2026-10 EUR 5",
            ],
        ),
        (&["a reopen 2026-10 o1 @2"], &[]),
    ]);
}

/// Timely keeps back what an input sends before a step, if it fills its buffers exactly: were
/// closings sent as they come, an epoch of so many would never end. See `Engine`.
#[test]
fn any_number_of_closings_comes_in_one_epoch() {
    for count in [256, 512, 1024] {
        let closings = (0..count).map(|tenant| event(&format!("t{tenant} close 2026-10 c1 @1")));
        // One epoch only: the next one would push out what is kept back.
        let epochs = [closings.collect()];
        for workers in [1, 2] {
            live(&epochs, 0, workers, None, 0);
        }
    }
}
