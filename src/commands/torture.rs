//! `trueup torture`: kills and maims a run of this program again and again, then proves that the
//! books are those of the log.
//!
//! A log grows while runs over it are killed by -9 at moments left to chance, with other numbers of
//! workers, lengths of epochs and intervals of checkpoints each time. Between them the state on
//! disk is now and then removed or damaged. A run may have several processes, of which one is
//! killed; the others must then end by themselves, and all are started again. In the end a run
//! finishes the log, and three judges look at it: the ranges and counts of the commits against each
//! record of the log, `trueup verify`, and the digest of a run that nobody disturbed. A seed
//! repeats what was drawn, not the moments of the machine.

mod account;
mod manner;
mod victim;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::Context;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trueup_sources::local_log::append::{append, by_target_transaction};

use super::meter;
use super::output::{self, grouped};
use crate::cli::TortureArgs;
use crate::exit;
use crate::generate::{Workload, write_jsonl};
use account::{Account, account};
use manner::Manner;
use victim::{Death, Victim};

/// The partitions of the log.
const PARTITIONS: usize = 3;

/// Plays the torturer and prints a certificate.
///
/// # Errors
/// A difference, with the directory that shows it; a run that ended by itself; what the log says.
pub fn run(args: &TortureArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let folder = folder(args.dir.as_deref())?;
    let seed = args.seed.unwrap_or_else(seed_of_the_clock);
    output::note(&format!("torturing in {} with --seed {seed}", folder.display()));
    let mut torture = Torture::new(args, &folder, seed)?;
    let bar = meter::bar(args.kills, "killing");
    for _ in 0..args.kills {
        torture.round()?;
        bar.inc(1);
    }
    bar.set_message("proving");
    torture.finish()?;
    let proof = torture.proven()?;
    bar.finish_and_clear();
    let tally = torture.tally;
    output::line(&format!(
        "certificate of trueup {}, --seed {seed}\n  \
         kills     {} by -9{}: {} while it committed, {} before its first commit\n  \
         damages   {} of the state on disk, {} of them ended the next run, which told so\n  \
         epochs    {}\n  \
         records   {} read: {} applied, {} duplicate, {} quarantined\n  \
         lost      {}\n  \
         doubled   {}\n  \
         proven by verify, and by the digest of an undisturbed run, in {}",
        env!("CARGO_PKG_VERSION"),
        grouped(args.kills),
        of_a_cluster(args.processes),
        grouped(tally.while_committing),
        grouped(args.kills - tally.while_committing),
        grouped(tally.damages),
        grouped(tally.told),
        grouped(proof.epochs),
        grouped(proof.counts.read),
        grouped(proof.counts.applied),
        grouped(proof.counts.duplicate),
        grouped(proof.counts.quarantined),
        grouped(proof.lost),
        grouped(proof.doubled),
        meter::seconds(started.elapsed()),
    ))?;
    if args.dir.is_none() {
        std::fs::remove_dir_all(&folder).context("removing the temporary directory")?;
    }
    Ok(())
}

fn folder(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = wanted {
        std::fs::create_dir(folder)
            .with_context(|| format!("making {}, which must not exist yet", folder.display()))?;
        return Ok(folder.to_owned());
    }
    let temporary = tempfile::Builder::new().prefix("trueup-torture-").tempdir();
    Ok(temporary.context("making a temporary directory")?.keep())
}

fn of_a_cluster(processes: usize) -> String {
    if processes > 1 { format!(" of one of {processes} processes") } else { String::new() }
}

fn seed_of_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    while_committing: u64,
    damages: u64,
    /// Damages that ended a run with an error, as they should where they show only then.
    told: u64,
}

/// Where the events come from.
enum Events {
    /// Generated ones, of which each round appends some.
    Growing { rest: BufReader<File>, per_round: u64 },
    /// A log of the operator's own, which is only read.
    Given,
}

struct Torture {
    victim: Victim,
    folder: PathBuf,
    log: PathBuf,
    events: Events,
    draw: ChaCha8Rng,
    workers: Vec<usize>,
    tally: Tally,
    /// How many generated records the log has got.
    appended: u64,
}

impl Torture {
    fn new(args: &TortureArgs, folder: &Path, seed: u64) -> anyhow::Result<Torture> {
        let (log, events) = match &args.input {
            Some(log) => (log.clone(), Events::Given),
            None => {
                let path = folder.join("events.jsonl");
                let mut out = BufWriter::new(File::create(&path).context("making a file")?);
                let workload = Workload { events: args.events, seed, ..Workload::default() };
                write_jsonl(&workload, &mut out).context("generating events")?;
                out.flush().context("generating events")?;
                let rest = BufReader::new(File::open(&path).context("reading the events")?);
                let per_round = args.events.div_ceil(args.kills + 1);
                (folder.join("log"), Events::Growing { rest, per_round })
            }
        };
        Ok(Torture {
            victim: Victim::new(&folder.join("store"), &log, folder, args.processes)?,
            folder: folder.to_owned(),
            log,
            events,
            draw: ChaCha8Rng::seed_from_u64(seed),
            workers: args.workers.clone(),
            tally: Tally::default(),
            appended: 0,
        })
    }

    /// Appends some records, runs, kills, and perhaps damages what is left.
    fn round(&mut self) -> anyhow::Result<()> {
        self.grow(false)?;
        let manner = Manner::drawn(&self.workers, &mut self.draw);
        // A third dies at once, while it starts or reads again; the others after a commit.
        let commits = self.draw.random_range(0..3_u32) * self.draw.random_range(1..4_u32);
        match self.victim.killed(&manner, commits, &mut self.draw)? {
            Death::WhileCommitting => self.tally.while_committing += 1,
            Death::Before => {}
            Death::Told if self.tally.damages > self.tally.told => self.tally.told += 1,
            Death::Told => {
                return Err(exit::difference(format!(
                    "a run ended by itself, which nothing had damaged: {}",
                    self.victim.last_words()
                )));
            }
        }
        if self.draw.random_range(0..6_u32) == 0 && self.victim.damage_state(&mut self.draw)? {
            self.tally.damages += 1;
        }
        Ok(())
    }

    fn grow(&mut self, all: bool) -> anyhow::Result<()> {
        let Events::Growing { rest, per_round } = &mut self.events else { return Ok(()) };
        let wanted = if all { u64::MAX } else { *per_round };
        let mut lines = Vec::new();
        let mut count = 0;
        while count < wanted && rest.read_until(b'\n', &mut lines).context("reading events")? > 0 {
            count += 1;
        }
        self.appended += count;
        append(&self.log, PARTITIONS, lines.as_slice(), by_target_transaction)
            .context("filling the log")?;
        Ok(())
    }

    /// Lets a run finish the log. One that meets damage may end first, and say so, once.
    fn finish(&mut self) -> anyhow::Result<()> {
        self.grow(true)?;
        let finish = Manner::to_the_end();
        if self.victim.ended(&finish)? != 0 {
            self.tally.told += 1;
            if self.tally.told > self.tally.damages || self.victim.ended(&finish)? != 0 {
                let words = self.victim.last_words();
                return Err(exit::difference(format!("the last run did not end well: {words}")));
            }
        }
        Ok(())
    }

    /// Asks all judges; returns what became of the records.
    fn proven(&self) -> anyhow::Result<Account> {
        let kept = format!("; see {}", self.folder.display());
        let account = account(self.victim.store(), &self.log)?;
        if (account.lost, account.doubled) != (0, 0) {
            return Err(exit::difference(format!(
                "of {} records of the log the commits have lost {} and doubled {}{kept}",
                account.records, account.lost, account.doubled
            )));
        }
        if matches!(self.events, Events::Growing { .. }) && account.records != self.appended {
            return Err(exit::difference(format!(
                "{} records were appended to the log, which has {}{kept}",
                self.appended, account.records
            )));
        }
        let store = self.folder.join("undisturbed");
        let undisturbed = Victim::new(&store, &self.log, &self.folder, 1)?;
        if undisturbed.ended(&Manner::to_the_end())? != 0 {
            let words = undisturbed.last_words();
            return Err(exit::difference(format!("an undisturbed run did not end well: {words}")));
        }
        if self.victim.digest()? != undisturbed.digest()? {
            return Err(exit::difference(format!("an undisturbed run has other digests{kept}")));
        }
        self.victim.verify().map_err(|words| exit::difference(format!("{words}{kept}")))?;
        Ok(account)
    }
}
