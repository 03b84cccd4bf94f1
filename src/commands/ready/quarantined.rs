//! Records of a tenant that were not accepted, less those whose redrives were read. A record that
//! says nobody's name may be anybody's, so it counts for everybody.
//!
//! A redrive that no commit up to the epoch has read changes nothing yet. Of the last commit it is a
//! reason of its own, since another command cures it; of an earlier one nothing that came later is told.

use std::sync::Arc;

use anyhow::Context;
use trueup_ledger::Epoch;
use trueup_sinks::redrive::read_redrive;
use trueup_sinks::{REDRIVE, Redrives, Retry};

use super::Question;
use super::reasons::Reason;
use super::tenant::tenant;
use crate::commands::quarantine::scan;

/// How many records there are of the tenant, and of whom cannot be told.
#[derive(Default)]
struct Counted {
    own: u64,
    anybodys: u64,
}

impl Counted {
    fn add(&mut self, asked: &str, raw: &[u8]) {
        match tenant(raw) {
            Some(tenant) => self.own += u64::from(tenant == asked),
            None => self.anybodys += 1,
        }
    }
}

pub(super) fn reasons(asked: &Question<'_>) -> anyhow::Result<Vec<Reason>> {
    let read_below = read_below(asked)?;
    let store = asked.opened.log.store();
    let redriven = Redrives::open(Arc::clone(store)).context("reading what was re-driven")?;
    let is_last = asked.epoch == asked.opened.head;
    let (mut open, mut unread, mut later) = (Counted::default(), Counted::default(), false);
    scan(asked.opened, asked.epoch, |record| {
        let audit = redriven.of(record.source, record.partition, record.position);
        match audit {
            Some(audit) if audit.number < read_below => {}
            Some(audit) if is_last => {
                unread.add(asked.tenant, record.raw);
                // Who mended it may have found out whose it is.
                if audit.replaced && tenant(record.raw).as_deref() != Some(asked.tenant) {
                    let mended = read_redrive(&**store, audit.number, Retry::default())?;
                    let mended = mended.and_then(|redrive| tenant(&redrive.raw));
                    unread.own += u64::from(mended.as_deref() == Some(asked.tenant));
                }
            }
            _ => {
                later |= audit.is_some();
                open.add(asked.tenant, record.raw);
            }
        }
        anyhow::Ok(())
    })?;
    // The list leaves out as not open what was redriven since.
    let list: &[&str] = &["quarantine", "list", "--each", "--open"];
    let (show, all) = (if later { &list[..3] } else { list }, &list[..3]);
    let what = |what: &str| what.to_owned();
    let not_read = "redriven, and in no commit yet: run or restart `trueup run`";
    let found = [
        (
            ("quarantined", asked.tenant, open.own),
            what("records of the tenant were not accepted"),
            show,
        ),
        (
            ("quarantined_of_anybody", "", open.anybodys),
            what("records were not accepted that may be of any tenant"),
            show,
        ),
        (("redriven_not_read", asked.tenant, unread.own), what(not_read), all),
        (
            ("redriven_not_read", "", unread.anybodys),
            format!("of whom cannot be told; {not_read}"),
            all,
        ),
    ];
    let found = found.into_iter().filter(|((.., count), ..)| *count > 0);
    Ok(found.map(|(of, what, show)| asked.reason(of, what, show)).collect())
}

/// Returns the number before which all redrives were read by commits up to the epoch. The position of
/// the source is the number of the next one.
fn read_below(asked: &Question<'_>) -> anyhow::Result<u64> {
    let mut below = 0;
    for commit in asked.opened.log.iter(Epoch(1), asked.epoch) {
        let commit = commit.context("reading the commits")?;
        let read = commit.inputs.iter().filter(|input| input.source == REDRIVE);
        below = read.map(|input| input.to.offset).fold(below, u64::max);
    }
    Ok(below)
}
