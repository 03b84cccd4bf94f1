//! A log, the store that a run is to make of it, and the judge of what disturbed runs leave.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use trueup_ledger::View;
use trueup_testing::copy_tree;
use trueup_testing::process::Running;
use trueup_testing::steps::{Outcome, Plan, Shim, Step, Trial};

use crate::program::{TRUEUP, ended, text, trueup};
use crate::records::{Records, write_lines};

/// How long a run may take, which is alone a fifth of a second.
const PATIENCE: Duration = Duration::from_secs(120);

const EVENTS: u64 = 1_200;

/// What the run finds that is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: it makes the store.
    Nothing,
    /// A store with half of the log in it, whose state is lost: it restores a copy and goes on.
    CopiesAlone,
    /// A store with its state, of which the newest copy is lost: it copies all of it anew, once it
    /// has taken a checkpoint that is not its last.
    NoNewestCopy,
    /// A store of whose state only the transactions are of the last checkpoint: it takes in the rest
    /// from the copy and goes on.
    TransactionsAhead,
}

/// Where runs are disturbed.
pub struct Scene {
    dir: TempDir,
    log: PathBuf,
    template: Option<PathBuf>,
    workers: &'static str,
    epoch_records: &'static str,
    shim: Shim,
    /// What `trueup digest` says of an undisturbed run.
    pub expected: String,
}

/// A kind of step: the call, and a pattern for the kind of file.
pub type Kind = (String, String);

/// Returns the kind of a step. The files of all views are of one kind.
pub fn kind(step: &Step) -> Kind {
    let kind = step.kind();
    let of_a_view = View::ALL.into_iter().find_map(|view| {
        let rest = kind.strip_prefix("deltas/")?.strip_prefix(view.name())?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("deltas/*{rest}"))
    });
    (step.call.clone(), of_a_view.unwrap_or(kind))
}

/// What a disturbed run left, before anybody looks after it.
pub struct Wreck {
    trial: Trial,
    pub store: PathBuf,
    /// `None` where it was killed.
    pub code: Option<i32>,
    pub said: String,
    pub steps: Vec<Step>,
    // Deleted last.
    dir: TempDir,
}

impl Scene {
    pub fn new(found: Found, workers: &'static str, seed: u64) -> Scene {
        let dir = trueup_testing::temp_dir("sweep-").unwrap();
        let log = dir.path().join("log.jsonl");
        let records = Records::generate(EVENTS, seed);
        let (before, epoch_records) = match found {
            Found::Nothing | Found::CopiesAlone | Found::TransactionsAhead => {
                (records.lines.len() / 2, "200")
            }
            Found::NoNewestCopy => (records.lines.len() / 4, "100"),
        };
        let mut scene = Scene {
            log,
            template: None,
            workers,
            epoch_records,
            shim: Shim::build().unwrap(),
            expected: String::new(),
            dir,
        };
        if found != Found::Nothing {
            write_lines(&scene.log, &records.lines[..before]);
            let template = scene.dir.path().join("template");
            trueup(0, &scene.args(&template));
            match found {
                Found::Nothing => {}
                Found::CopiesAlone => fs::remove_dir_all(template.join("state")).unwrap(),
                Found::NoNewestCopy => fs::remove_file(newest_copy(&template)).unwrap(),
                Found::TransactionsAhead => {
                    let rest = template.join("state/tree/keyspaces/2");
                    let kept = scene.dir.path().join("kept");
                    copy_tree(&rest, &kept).unwrap();
                    // One epoch, and one checkpoint.
                    write_lines(&scene.log, &records.lines[..before + 100]);
                    trueup(0, &scene.args(&template));
                    fs::remove_dir_all(&rest).unwrap();
                    fs::rename(&kept, &rest).unwrap();
                }
            }
            scene.template = Some(template);
        }
        write_lines(&scene.log, &records.lines);
        let undisturbed = scene.dir.path().join("undisturbed");
        trueup(0, &scene.args(&undisturbed));
        scene.expected = trueup(0, &["digest", "--store", text(&undisturbed)]).out;
        scene
    }

    /// Epochs end by their number of records alone, and nearly each gets a checkpoint.
    fn args<'a>(&'a self, store: &'a Path) -> Vec<&'a str> {
        let place = ["run", "--store", text(store), "--input", text(&self.log)];
        let cut = ["--commit-max-records", self.epoch_records, "--commit-interval", "1h"];
        let state = ["--checkpoint-interval", "10ms", "--memory-limit", "64MiB"];
        let more = ["--workers", self.workers, "--until-caught-up"];
        [place.as_slice(), &cut, &state, &more].concat()
    }

    /// Runs over a fresh store, and disturbs the run.
    pub fn disturb(&self, plan: &Plan) -> Wreck {
        let dir = tempfile::Builder::new().prefix("store-").tempdir_in(self.dir.path()).unwrap();
        let store = dir.path().join("store");
        if let Some(template) = &self.template {
            copy_tree(template, &store).unwrap();
        }
        let trial = Trial::new(&self.shim, &store).unwrap();
        let mut wreck =
            Wreck { trial, store, code: None, said: String::new(), steps: Vec::new(), dir };
        self.run(&mut wreck, plan, "first");
        wreck
    }

    /// Starts again, and disturbs that run as well.
    pub fn disturb_again(&self, wreck: &mut Wreck, plan: &Plan) {
        wreck.trial = Trial::new(&self.shim, &wreck.store).unwrap();
        self.run(wreck, plan, "again");
    }

    fn run(&self, wreck: &mut Wreck, plan: &Plan, name: &str) {
        let args = self.args(&wreck.store);
        let mut command = wreck.trial.command(Path::new(TRUEUP), &args, plan);
        command.env_remove("RUST_LOG");
        let mut running = Running::start_command(&command, wreck.dir.path(), name).unwrap();
        wreck.code = running.wait(PATIENCE).unwrap().code();
        wreck.said = running.stderr().unwrap();
        wreck.steps = wreck.trial.steps().unwrap();
    }

    /// Starts plainly, and says what is wrong with the books then. After `pardons` runs that end
    /// with 4 since the state cannot be read, as documented, the next has to be well.
    pub fn judge(&self, wreck: &Wreck, pardons: usize) -> Result<(), String> {
        let args = self.args(&wreck.store);
        let mut run = ended(TRUEUP, &args);
        for _ in 0..pardons {
            if run.code == Some(4) && run.err.contains("the next start derives it anew") {
                run = ended(TRUEUP, &args);
            }
        }
        if run.code != Some(0) {
            return Err(format!("a plain start ends with {:?}: {}", run.code, run.err));
        }
        self.judge_books(&wreck.store)?;
        let names = fs::read_dir(&wreck.store).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> =
            names.filter(|name| name.to_string_lossy().starts_with(".tmp-")).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("left unfinished: {left:?}")) }
    }

    /// Says what is wrong with the books as they are.
    pub fn judge_books(&self, store: &Path) -> Result<(), String> {
        let verify = ["verify", "--store", text(store), "--input", text(&self.log)];
        let verified = ended(TRUEUP, &verify);
        if verified.code != Some(0) {
            return Err(format!("verify ends with {:?}: {}", verified.code, verified.err));
        }
        let digest = ended(TRUEUP, &["digest", "--store", text(store)]);
        if digest.out != self.expected {
            return Err(format!("other digests: {}{}", digest.out, digest.err));
        }
        Ok(())
    }

    /// Counts the steps of an undisturbed run by kind. Kinds that only one of two runs has depend
    /// on how its threads took turns, and are left out.
    pub fn kinds(&self) -> BTreeMap<Kind, usize> {
        let count = || {
            let wreck = self.disturb(&Plan::watch());
            assert_eq!(wreck.code, Some(0), "{}", wreck.said);
            assert_eq!(self.judge(&wreck, 0), Ok(()));
            let mut kinds = BTreeMap::new();
            for step in wreck.steps.iter().filter(|step| step.outcome == Outcome::Done) {
                *kinds.entry(kind(step)).or_insert(0) += 1;
            }
            kinds
        };
        let (first, second): (BTreeMap<Kind, usize>, BTreeMap<Kind, usize>) = (count(), count());
        let both = |(kind, count): (Kind, usize)| {
            let other = second.get(&kind)?;
            Some((kind, count.min(*other)))
        };
        first.into_iter().filter_map(both).collect()
    }
}

impl Wreck {
    /// Returns the step at which the run was killed.
    pub fn killed_at(&self) -> Option<&Step> {
        let dead = |step: &&Step| matches!(step.outcome, Outcome::Killed | Outcome::KilledBefore);
        self.steps.last().filter(dead)
    }

    /// Loses of what was not synced as much as `keep` says, see [`Trial::power_cut`].
    pub fn power_cut(&self, keep: impl FnMut(usize) -> usize) -> Result<(), String> {
        self.trial.power_cut(keep).map(drop).map_err(|error| format!("{error:#}"))
    }
}

/// Prints and returns what a test draws from.
pub fn seed() -> u64 {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("TRUEUP_SEED").map_or(clock, |seed| seed.parse().unwrap());
    println!("TRUEUP_SEED={seed}");
    seed
}

/// Calls `work` with each item, and chance of its own, on all cores; fails where one of them did.
pub fn each<T: Sync + std::fmt::Debug>(
    items: &[T],
    seed: u64,
    work: impl Fn(&T, &mut ChaCha8Rng) -> Result<(), String> + Sync,
) {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let labour = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return };
            if number > 0 && number.is_multiple_of(500) {
                println!("{number} of {}", items.len());
            }
            let mut draw = ChaCha8Rng::seed_from_u64(seed ^ number as u64);
            if let Err(what) = work(item, &mut draw) {
                println!("{item:?}: {what}");
                wrong.lock().unwrap().push(format!("{item:?}: {what}"));
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(labour);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), items.len(), wrong.join("\n"));
}

fn newest_copy(store: &Path) -> PathBuf {
    let entries = fs::read_dir(store.join("checkpoints")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).max().unwrap()
}
