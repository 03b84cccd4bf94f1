//! `trueup digest`: one digest a view, the same for equal books however they came about.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Serialize;
use trueup_ledger::{Digest, Epoch, View};
use trueup_sinks::digest_at;

use super::output;
use super::store::{self, Opened};
use crate::cli::DigestArgs;
use crate::exit;

/// Prints the digests, computed from the files and compared with those in the commits.
///
/// # Errors
/// A damaged file or commit, and digests that differ from those in the commits.
pub fn run(args: &DigestArgs) -> anyhow::Result<()> {
    let opened = store::open(&store::location(&args.store)?)?;
    let epoch = opened.epoch(args.epoch)?;
    let committed = committed(&opened, epoch)?;
    for (view, said) in &committed {
        let found = digest_at(&opened.log, *view, Some(epoch))
            .with_context(|| format!("reading {} up to epoch {epoch}", view.name()))?;
        if found != said.digest {
            return Err(exit::difference(format!(
                "{}: the files have digest {found}, the commits say {}; run `trueup verify`",
                view.name(),
                said.digest
            )));
        }
    }
    if args.json {
        return output::line(&json(epoch, &committed)?);
    }
    let lines: Vec<String> = committed
        .iter()
        .map(|(view, said)| format!("{:<20} {} {}", view.name(), said.digest, said.rows))
        .collect();
    output::line(&lines.join("\n"))
}

/// What the commits say of a view.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Said {
    digest: Digest,
    rows: i64,
}

/// Sums up what the commits say.
fn committed(opened: &Opened, epoch: Epoch) -> anyhow::Result<BTreeMap<View, Said>> {
    let mut sums: BTreeMap<View, Said> =
        View::ALL.into_iter().map(|view| (view, Said::default())).collect();
    for record in opened.log.iter(Epoch(1), epoch) {
        let record = record.context("reading the commits")?;
        for (name, totals) in &record.views {
            let Some(said) = View::by_name(name).and_then(|view| sums.get_mut(&view)) else {
                let what = format!("commit {} has a view {name}", record.epoch);
                return Err(exit::usage(format!("{what}; use the trueup that wrote it")));
            };
            said.digest.add(totals.digest);
            let grown = totals.inserted.cast_signed().wrapping_sub(totals.retracted.cast_signed());
            said.rows = said.rows.wrapping_add(grown);
        }
    }
    Ok(sums)
}

fn json(epoch: Epoch, committed: &BTreeMap<View, Said>) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Digests<'a> {
        epoch: Epoch,
        views: BTreeMap<&'static str, &'a Said>,
    }
    let views = committed.iter().map(|(view, said)| (view.name(), said)).collect();
    Ok(serde_json::to_string(&Digests { epoch, views })?)
}
