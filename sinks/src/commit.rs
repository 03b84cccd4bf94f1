//! The commit log: the only truth about what was published.
//!
//! Commit N is the file `commits/<N>.json`, made by create-if-absent, and holds the hash of commit
//! N-1. So of two clusters at most one gets N, numbers have no gaps, and an edit of an old commit
//! shows in every later one. Appending the same record again is harmless: that is how a caller
//! resolves what it does not know.
//!
//! Left out: the files that commits name (see [`crate::reader`]), and any removal of commits.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use trueup_ledger::{Epoch, PartitionId, Position, Scale};

use crate::record::{
    COMMITS, CommitRecord, FORMAT_VERSION, GENESIS, commit_path, epoch_of_path, sha256_hex,
};
use crate::store::{Creation, Retry, Store, create_exact};

mod error;

pub use error::{ChainBreak, CommitError, Incompatible, LogError};

/// How an append ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The epoch committed.
    pub epoch: Epoch,
    /// The hash of its file: `previous` of the next record.
    pub hash: String,
}

/// The last commit and its hash.
type Head = (Epoch, String);

/// The commits of a store.
#[derive(Debug)]
pub struct CommitLog<S> {
    store: S,
    retry: Retry,
    /// The last commit this process has seen; the true head may be further.
    seen: Mutex<Option<Head>>,
}

impl<S: Store> CommitLog<S> {
    /// Opens the log of a store and looks for its head.
    ///
    /// # Errors
    /// As [`CommitLog::head`].
    pub fn open(store: S) -> Result<CommitLog<S>, LogError> {
        CommitLog::open_with(store, Retry::default())
    }

    /// Opens the log with another patience for unknown outcomes.
    ///
    /// # Errors
    /// As [`CommitLog::head`].
    pub fn open_with(store: S, retry: Retry) -> Result<CommitLog<S>, LogError> {
        let log = CommitLog { store, retry, seen: Mutex::new(None) };
        log.list_head()?;
        Ok(log)
    }

    /// Returns the store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Returns the last commit and its hash, `None` in an empty store. It is durable. Commits that
    /// others have appended since are found by looking for the next number, so a follower can poll.
    ///
    /// # Errors
    /// [`LogError::Broken`] where a number is missing, else [`LogError::Store`].
    pub fn head(&self) -> Result<Option<Head>, LogError> {
        let mut next = self.seen().map_or(1, |(epoch, _)| epoch.0 + 1);
        while self.retry.ask(|| self.store.exists(&commit_path(Epoch(next))))? {
            let bytes = self.confirm(Epoch(next))?;
            self.see(Epoch(next), sha256_hex(&bytes));
            next += 1;
        }
        Ok(self.seen())
    }

    fn list_head(&self) -> Result<(), LogError> {
        let mut head = Epoch(0);
        for path in self.retry.ask(|| self.store.list(COMMITS))? {
            let Some(epoch) = epoch_of_path(&path) else {
                tracing::warn!(path, "this is no commit; ignored");
                continue;
            };
            if epoch.0 != head.0 + 1 {
                return Err(broken(Epoch(head.0 + 1), "it is missing, and later ones are there"));
            }
            head = epoch;
        }
        if head.0 > 0 {
            let bytes = self.confirm(head)?;
            self.see(head, sha256_hex(&bytes));
        }
        Ok(())
    }

    fn seen(&self) -> Option<Head> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn see(&self, epoch: Epoch, hash: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref().is_none_or(|(last, _)| *last < epoch) {
            *seen = Some((epoch, hash));
        }
    }

    fn confirm(&self, epoch: Epoch) -> Result<Vec<u8>, LogError> {
        Ok(self.retry.ask(|| self.store.confirm(&commit_path(epoch)))?)
    }

    /// Appends a record: the commit of its epoch. Once it returns `Ok` the epoch is published, for
    /// good. A record that is in the log already is `Ok` too.
    ///
    /// # Errors
    /// See [`CommitError`]; after `Fenced` nothing else must be written.
    pub fn append(&self, record: &CommitRecord) -> Result<Appended, CommitError> {
        let epoch = record.epoch;
        let bytes = record.to_bytes().map_err(|source| CommitError::Encode { epoch, source })?;
        let hash = sha256_hex(&bytes);
        let fenced = |theirs: &[u8]| CommitError::Fenced {
            epoch,
            ours: hash.clone(),
            theirs: sha256_hex(theirs),
        };
        let (head, previous) = self.seen().unwrap_or((Epoch(0), GENESIS.to_owned()));
        if epoch.0 >= 1 && epoch <= head {
            let theirs = self.confirm(epoch)?;
            if theirs != bytes {
                return Err(fenced(&theirs));
            }
            return Ok(Appended { epoch, hash });
        }
        check_record(record, head, &previous)
            .map_err(|what| CommitError::OutOfOrder { epoch, what })?;
        match create_exact(&self.store, &commit_path(epoch), &bytes, self.retry) {
            Ok(Creation::Ours) => {
                self.see(epoch, hash.clone());
                Ok(Appended { epoch, hash })
            }
            Ok(Creation::Taken(theirs)) => Err(fenced(&theirs)),
            Err(source) if source.is_unknown() => Err(CommitError::Unknown { epoch, source }),
            Err(source) => Err(CommitError::Failed { epoch, source }),
        }
    }

    /// Reads the record of a commit.
    ///
    /// # Errors
    /// [`LogError::Broken`] where it is damaged or of a newer format; `Store` where it is not
    /// there.
    pub fn read(&self, epoch: Epoch) -> Result<CommitRecord, LogError> {
        self.read_with_hash(epoch).map(|(record, _)| record)
    }

    /// Reads a commit and returns its hash with it.
    ///
    /// # Errors
    /// As [`CommitLog::read`].
    pub fn read_with_hash(&self, epoch: Epoch) -> Result<(CommitRecord, String), LogError> {
        let bytes = self.retry.ask(|| self.store.get(&commit_path(epoch)))?;
        Ok((parse(epoch, &bytes)?, sha256_hex(&bytes)))
    }

    /// Reads the commits `from..=to` in order, and checks that each holds the hash of the one
    /// before it. The iteration ends after an error.
    pub fn iter(
        &self,
        from: Epoch,
        to: Epoch,
    ) -> impl Iterator<Item = Result<CommitRecord, LogError>> + '_ {
        let mut previous = (from.0 <= 1).then(|| GENESIS.to_owned());
        let mut next = Some(from.0.max(1));
        std::iter::from_fn(move || {
            let epoch = next.take().filter(|epoch| *epoch <= to.0).map(Epoch)?;
            let read = self.read_with_hash(epoch).and_then(|(record, hash)| {
                match previous.replace(hash) {
                    Some(expected) if record.previous != expected => {
                        Err(broken(epoch, PREVIOUS_MISMATCH))
                    }
                    _ => Ok(record),
                }
            });
            next = read.is_ok().then(|| epoch.0.saturating_add(1));
            Some(read)
        })
    }

    /// Reads the whole log and checks every commit: that it parses, has its number, follows the
    /// one before, accounts for every record, and reads no input twice.
    ///
    /// # Errors
    /// [`LogError::Broken`] names the first bad commit. An edit of a commit that still parses shows
    /// in the next one; of the last commit it does not show.
    pub fn verify_chain(&self) -> Result<(), LogError> {
        self.verify_chain_from(Epoch(1))
    }

    /// Does the same for the commits from `first` on, which is taken as it is.
    ///
    /// # Errors
    /// As [`CommitLog::verify_chain`].
    pub fn verify_chain_from(&self, first: Epoch) -> Result<(), LogError> {
        self.list_head()?;
        let Some((head, _)) = self.head()? else {
            return Ok(());
        };
        let mut read_to: HashMap<PartitionId, Position> = HashMap::new();
        for record in self.iter(first, head) {
            let record = record.map_err(|error| self.attribute(error))?;
            for input in &record.inputs {
                let partition = input.partition_id();
                let behind = read_to.get(&partition).is_some_and(|to| input.from < *to);
                if behind {
                    let what = format!("{partition}: it reads from {} again", input.from);
                    return Err(broken(record.epoch, what));
                }
                read_to.insert(partition, input.to.clone());
            }
        }
        Ok(())
    }

    /// Where commit N does not hold the hash of N-1, one of them was edited. It is N-1, unless N
    /// does not fit what N+1 says of it either.
    fn attribute(&self, error: LogError) -> LogError {
        let LogError::Broken(ChainBreak { epoch, what }) = error else {
            return error;
        };
        if what != PREVIOUS_MISMATCH || epoch.0 <= 1 {
            return broken(epoch, what);
        }
        let hash = self.read_with_hash(epoch).map(|(_, hash)| hash);
        let next = self.read(Epoch(epoch.0 + 1)).map(|record| record.previous);
        match (hash, next) {
            (Ok(hash), Ok(said)) if hash != said => broken(epoch, EDITED),
            _ => broken(Epoch(epoch.0 - 1), EDITED),
        }
    }

    /// Checks that a program of this configuration may go on with the log.
    ///
    /// # Errors
    /// See [`Incompatible`].
    pub fn check_compatible(&self, scale: Scale, config_hash: &str) -> Result<(), Incompatible> {
        let Some((epoch, _)) = self.head()? else {
            return Ok(());
        };
        let get = || self.store.get(&commit_path(epoch));
        let bytes = self.retry.ask(get).map_err(LogError::from)?;
        if let Some(found) = newer_format(&bytes) {
            return Err(Incompatible::FormatVersion { epoch, found, known: FORMAT_VERSION });
        }
        let record = parse(epoch, &bytes)?;
        if record.amount_scale != scale.digits() {
            let (found, wanted) = (record.amount_scale, scale.digits());
            return Err(Incompatible::AmountScale { found, wanted });
        }
        if record.configuration_hash != config_hash {
            let (found, wanted) = (record.configuration_hash, config_hash.to_owned());
            return Err(Incompatible::Configuration { found, wanted });
        }
        Ok(())
    }
}

const PREVIOUS_MISMATCH: &str = "it does not hold the hash of the commit before it";
const EDITED: &str = "it was edited: the next commit holds another hash of it";

fn broken(epoch: Epoch, what: impl Into<String>) -> LogError {
    LogError::Broken(ChainBreak { epoch, what: what.into() })
}

/// Returns the format version of a commit where it is newer than this program.
fn newer_format(bytes: &[u8]) -> Option<u32> {
    #[derive(serde::Deserialize)]
    struct Version {
        format_version: u32,
    }
    let version = serde_json::from_slice::<Version>(bytes).ok()?.format_version;
    (version > FORMAT_VERSION).then_some(version)
}

/// Reads a record and checks what can be checked of it alone.
fn parse(epoch: Epoch, bytes: &[u8]) -> Result<CommitRecord, LogError> {
    if let Some(found) = newer_format(bytes) {
        let what = format!("it has format {found}, this program knows up to {FORMAT_VERSION}");
        return Err(broken(epoch, what));
    }
    let record: CommitRecord = serde_json::from_slice(bytes)
        .map_err(|error| broken(epoch, format!("it is no commit record: {error}")))?;
    if record.epoch != epoch {
        return Err(broken(epoch, format!("it says it is commit {}", record.epoch)));
    }
    check_contents(&record).map_err(|what| broken(epoch, what))?;
    Ok(record)
}

/// Checks what must hold of a record when it is written and when it is read back.
fn check_contents(record: &CommitRecord) -> Result<(), String> {
    if Scale::new(record.amount_scale).is_none() {
        return Err(format!("amount_scale {} is not 0 to 18", record.amount_scale));
    }
    for input in &record.inputs {
        let name = input.partition_id();
        if !input.counts.balances() {
            return Err(format!("{name}: the counts do not account for every record read"));
        }
        if input.to < input.from {
            return Err(format!("{name}: the range {}..{} is reversed", input.from, input.to));
        }
    }
    Ok(())
}

fn check_record(record: &CommitRecord, head: Epoch, previous: &str) -> Result<(), String> {
    if record.epoch.0 != head.0.saturating_add(1) {
        return Err(format!("the last commit is {head}"));
    }
    if record.previous != previous {
        return Err(format!("the hash of the commit before is {previous}"));
    }
    if record.format_version != FORMAT_VERSION {
        return Err(format!("format_version is {}", record.format_version));
    }
    check_contents(record)
}
