//! The state of all workers of a process on disk, as of one commit: two LSM trees of `fjall`.
//!
//! Everything enters by sorted bulk ingestion, one a checkpoint and tree, which becomes visible as a
//! whole and carries its [`Mark`]. There is no journal to replay: what came after the checkpoint is
//! derived again from the log.
//!
//! ```text
//!            ┌─▶ transactions: written once, under random keys; merged seldom
//!  ingest ─▶─┤      a kill here leaves these ahead: Standing::ahead
//!            └─▶ the rest: sums and names, written again and again; merged often
//! ```
//!
//! What is written again and again is read all the time, so there should be little to look through; what
//! is written once is only moved by merging. In one tree each is merged as often as the other needs.
//! The two take a checkpoint in one after the other; whoever finds the first ahead brings the other to the
//! same commit, from the copy that there is of it by then, before anything is read, or begins anew.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use fjall::compaction::Leveled;
use fjall::config::{BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy};
use fjall::config::{FilterPolicy, FilterPolicyEntry, PinningPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};
use fjall::{LsmError, Readable};
use thiserror::Error;
use trueup_ledger::Epoch;
use trueup_ledger::codec::{CodecError, Reader, put_text, put_varint};

use super::clean::Budget;
use super::filter::{Filter, Spot};
use super::{KeyBytes, Shards, Space};
use crate::cache::TOGETHER;
use noting::{Filling, Notes};

mod noting;

/// The key of the mark: before those of every space.
const MARK: [u8; 1] = [0];

/// What is in the directory: the lock of the process that uses it, the trees, the sign that both were
/// made, and the sign that a part of them could not be read.
const LOCK: &str = "lock";
const TREE: &str = "tree";
const READY: &str = "ready";
const DAMAGED: &str = "damaged";

/// The version of keys and values. Another one is not read, but derived anew.
const FORMAT: u64 = 6;

/// Transactions of at least this many bytes are kept out of their tree, so that merging it moves only
/// keys.
const SEPARATE_BYTES: u32 = 128;

/// How many levels a tree has, the last of which holds nearly all.
const LEVELS: usize = 7;

/// How many tables of transactions gather before they are merged, and how many of 64 MiB the level below
/// may have. Each transaction that was written before is looked for in half of them, but nearly none was:
/// our own filter denies it.
const TRANSACTION_TABLES: u8 = 32;

/// The commit that a state belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The epoch up to which everything is in it.
    pub epoch: Epoch,
    /// The hash of that epoch's commit: a state of another history has another.
    pub commit_hash: String,
    /// What the meaning of events depends on, as the host writes it.
    pub configuration: String,
    /// Whose state it is. What there may be of other shards is older, and counts for nothing.
    pub shards: Shards,
}

/// Which commits a state on disk belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// That of the state, but for its transactions where these are ahead; `None` where there is nothing.
    pub mark: Option<Mark>,
    /// That of its transactions, where they were taken in and nothing else was: the state cannot be used
    /// before it has taken in the whole checkpoint that leads from its mark to this commit.
    pub ahead: Option<Mark>,
}

/// What one checkpoint wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Changed keys.
    pub changes: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// Why state on disk cannot be used, by what to do.
#[derive(Debug, Error)]
pub enum StateError {
    /// Another process uses it: of two on one state, one has to stop.
    #[error("{}: another trueup runs on this state", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// It is damaged, or of another version: remove it, it is derived again from the log.
    #[error("{}: the state cannot be read: {detail}", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The disk does not do what it is asked: tell the operator.
    #[error("{}: the state cannot be written: {}", path.display(), advice(source.kind()))]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Returns what an operator can do about a kind of error.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull => "the volume is full; free space on it and start again",
        ErrorKind::QuotaExceeded => "the disk quota is used up; raise it or free space",
        ErrorKind::PermissionDenied => "permission denied; give the user that runs trueup access",
        ErrorKind::ReadOnlyFilesystem => "the volume is mounted read-only; mount it writable",
        _ => "see the cause; start again once it is gone",
    }
}

/// The state on disk. Clones are handles to the same.
#[derive(Clone)]
pub struct Disk {
    path: PathBuf,
    database: Database,
    trees: Trees,
    filter: Arc<Filter>,
    budget: Budget,
    /// Dropped before the lock: it uses the trees.
    filling: Arc<Mutex<Filling>>,
    _lock: Arc<File>,
}

/// Where keys are, by the space they belong to.
#[derive(Clone)]
struct Trees {
    transactions: Keyspace,
    rest: Keyspace,
}

impl Trees {
    fn of(&self, key: &[u8]) -> &Keyspace {
        if is_transaction(key) { &self.transactions } else { &self.rest }
    }

    /// Returns both, in the order of their keys.
    fn both(&self) -> [&Keyspace; 2] {
        [&self.transactions, &self.rest]
    }
}

fn is_transaction(key: &[u8]) -> bool {
    key.first() == Some(&(Space::Transactions as u8))
}

/// Returns which levels have filters of their own: all but the last. Whatever is asked for is there as a
/// rule, since our own filter denies most of what is not; so what has not been found in any other level
/// need not be told that it is in the last. With seven bits a key one of thirty is looked for in vain;
/// twice as many bits spare nothing more, and take a sixth of the time in which a checkpoint is taken in.
fn filters() -> FilterPolicy {
    let bits = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(7.0));
    let mut levels = [bits; LEVELS];
    levels[LEVELS - 1] = FilterPolicyEntry::None;
    FilterPolicy::new(levels)
}

/// Takes the directory for this process, for as long as the file is open.
fn lock(path: &Path) -> Result<File, StateError> {
    let failed = |source| StateError::Failed { path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(failed)?;
    let file = File::create(path.join(LOCK)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// What is not there is removed already.
fn removed(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

impl Disk {
    /// Opens or creates the state in a directory of its own, with about `read_bytes` of memory for
    /// what is read: a quarter of it tells what is not there, a quarter has blocks of the trees, and half
    /// is for workers to keep values.
    ///
    /// # Errors
    /// As each variant of [`StateError`] says.
    pub fn open(path: &Path, read_bytes: u64) -> Result<Disk, StateError> {
        let lock = lock(path)?;
        if let Ok(detail) = fs::read_to_string(path.join(DAMAGED)) {
            return Err(StateError::Damaged { path: path.to_owned(), detail });
        }
        let (tree, ready) = (path.join(TREE), path.join(READY));
        let failed = |source| StateError::Failed { path: path.to_owned(), source };
        let is_ready = ready.try_exists().map_err(failed)?;
        if !is_ready {
            // Its making was cut short: it holds nothing yet, and could not be opened.
            removed(fs::remove_dir_all(&tree)).map_err(failed)?;
        }
        let options = || {
            KeyspaceCreateOptions::default()
                .data_block_size_policy(BlockSizePolicy::all(4096))
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
                .filter_policy(filters())
        };
        // Their keys are hashes, and their values lie apart: there is nothing to compress.
        let of_transactions = || {
            let strategy = Leveled::default().with_l0_threshold(TRANSACTION_TABLES);
            // One transaction alone has little that repeats.
            let separation = KvSeparationOptions::default()
                .separation_threshold(SEPARATE_BYTES)
                .compression(CompressionType::None);
            options()
                .data_block_compression_policy(CompressionPolicy::disabled())
                .filter_block_pinning_policy(PinningPolicy::new([true, true, false]))
                .compaction_strategy(Arc::new(strategy))
                .with_kv_separation(Some(separation))
        };
        // All of it is looked through all the time.
        let of_the_rest = || {
            options()
                .filter_block_pinning_policy(PinningPolicy::all(true))
                .index_block_pinning_policy(PinningPolicy::all(true))
        };
        let filter = Filter::new(read_bytes / 4);
        let open = || {
            let database =
                Database::builder(&tree).cache_size(read_bytes / 4).worker_threads(1).open()?;
            let transactions = database.keyspace("transactions", of_transactions)?;
            let rest = database.keyspace("rest", of_the_rest)?;
            if transactions.is_empty()? && rest.is_empty()? {
                filter.complete();
            }
            Ok((database, Trees { transactions, rest }))
        };
        let (database, trees) = open().map_err(|error| error_of(path, error))?;
        if database.keyspace_count() != trees.both().len() {
            // There are trees of other names, which would only take room.
            let detail = "another version of trueup wrote it".to_owned();
            return Err(StateError::Damaged { path: path.to_owned(), detail });
        }
        if !is_ready {
            File::create(&ready).and_then(|file| file.sync_all()).map_err(failed)?;
            File::open(path).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok(Disk {
            path: path.to_owned(),
            database,
            trees,
            filter: Arc::new(filter),
            budget: Budget::new(read_bytes / 2),
            filling: Arc::default(),
            _lock: Arc::new(lock),
        })
    }

    /// Removes the state in a directory, and nothing else there.
    ///
    /// # Errors
    /// [`StateError::Busy`] or [`StateError::Failed`].
    pub fn remove(path: &Path) -> Result<(), StateError> {
        let _lock = lock(path)?;
        let failed = |source| StateError::Failed { path: path.to_owned(), source };
        // In this order: whatever is left of a tree that is not ready is removed when it is opened.
        removed(fs::remove_file(path.join(READY))).map_err(failed)?;
        removed(fs::remove_dir_all(path.join(TREE))).map_err(failed)?;
        removed(fs::remove_file(path.join(DAMAGED))).map_err(failed)
    }

    /// Returns which commits the state belongs to.
    ///
    /// # Errors
    /// [`StateError::Damaged`], also where another version wrote it.
    pub fn standing(&self) -> Result<Standing, StateError> {
        let [transactions, mark] = self.trees.both().map(|tree| self.mark(tree));
        let (transactions, mark) = (transactions?, mark?);
        if transactions == mark {
            return Ok(Standing { mark, ahead: None });
        }
        let ahead = transactions.ok_or_else(|| self.damaged("its transactions are gone"))?;
        if mark.as_ref().is_some_and(|mark| mark.epoch >= ahead.epoch) {
            return Err(
                self.damaged("its transactions are not of a later commit than the rest of it")
            );
        }
        Ok(Standing { mark, ahead: Some(ahead) })
    }

    fn mark(&self, tree: &Keyspace) -> Result<Option<Mark>, StateError> {
        let found = tree.get(MARK).map_err(|error| error_of(&self.path, error))?;
        match found {
            Some(bytes) => {
                let mark =
                    decode_mark(&bytes).map_err(|_| self.damaged("its mark is unreadable"))?;
                mark.ok_or_else(|| self.damaged("another version of trueup wrote it")).map(Some)
            }
            None if tree.is_empty().map_err(|error| error_of(&self.path, error))? => Ok(None),
            None => Err(self.damaged("it has no mark")),
        }
    }

    fn damaged(&self, detail: &str) -> StateError {
        StateError::Damaged { path: self.path.clone(), detail: detail.to_owned() }
    }

    /// Takes in a checkpoint, which becomes visible and durable, its transactions first. `fill` calls what
    /// it is given with every key in order, each once, and its value, or without one to remove it. `then`
    /// is called once all are written and before any is visible, with what `fill` returned and how many
    /// bytes of keys and values replace something that was there before, or remove it. A new key may be
    /// taken for one that was there: about one of a hundred, more where there are more keys than the filter
    /// is made for, and all until what was on disk is known.
    ///
    /// # Errors
    /// What `fill` or `then` returns; the state is then as it was. [`StateError::Failed`]; the state is then
    /// as it was, or its transactions are ahead and nothing may be asked of it, see [`Standing`].
    pub fn ingest<T, E: From<StateError>>(
        &self,
        mark: &Mark,
        fill: impl FnOnce(Write<'_, E>) -> Result<T, E>,
        then: impl FnOnce(T, u64) -> Result<(), E>,
    ) -> Result<Ingested, E> {
        let failed = |error| E::from(error_of(&self.path, error));
        // Not before: a start has more urgent things to do than to go through all that is there.
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        filling.begin(self.trees.both(), &self.filter);
        drop(filling);
        let mut transactions = self.trees.transactions.start_ingestion().map_err(failed)?;
        let mut rest = self.trees.rest.start_ingestion().map_err(failed)?;
        let mut value = Vec::new();
        encode_mark(mark, &mut value);
        for ingestion in [&mut transactions, &mut rest] {
            ingestion.write(&MARK[..], &value[..]).map_err(failed)?;
        }
        let mut ingested = Ingested::default();
        let (filled, replaced) = thread::scope(|scope| {
            let mut notes = Notes::begin(scope, &self.filter);
            let mut removed = 0;
            let filled = fill(&mut |key, value| {
                let bytes = (key.len() + value.map_or(0, <[u8]>::len)) as u64;
                ingested.changes += 1;
                ingested.bytes += bytes;
                let ingestion = if is_transaction(key) { &mut transactions } else { &mut rest };
                match value {
                    Some(value) => {
                        notes.add(self.filter.spot(key), bytes);
                        ingestion.write(key, value).map_err(failed)
                    }
                    None => {
                        removed += bytes;
                        ingestion.write_tombstone(key).map_err(failed)
                    }
                }
            });
            // Before they can be read: what has not been noted is denied.
            let replaced = notes.end();
            filled.map(|filled| (filled, replaced + removed))
        })?;
        then(filled, replaced)?;
        transactions.finish().map_err(failed)?;
        rest.finish().map_err(failed)?;
        Ok(ingested)
    }

    /// Returns the memory in which workers may keep values as they are on disk.
    pub(super) fn budget(&self) -> Budget {
        self.budget.clone()
    }

    /// Returns the state as it is now, whatever is ingested meanwhile.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { disk: self.clone(), inner: self.database.snapshot() }
    }

    /// Reads a value.
    ///
    /// # Panics
    /// Where the disk cannot be read: to answer "nothing" would falsify the books.
    pub(super) fn get(&self, key: &KeyBytes) -> Option<fjall::UserValue> {
        let spot = self.filter.spot(key.as_bytes());
        if self.filter.may_hold(spot) { self.read(key) } else { None }
    }

    /// Makes ready to be asked whether there are some keys.
    pub(super) fn bring(&self, keys: impl Iterator<Item = KeyBytes>) {
        self.filter.bring(keys.map(|key| self.filter.spot(key.as_bytes())));
    }

    /// Takes out the keys that have no value, without reading the disk; some of these may stay.
    pub(super) fn retain_held<T>(&self, keys: &mut Vec<(KeyBytes, T)>) {
        let mut spots: Vec<Spot> = Vec::with_capacity(TOGETHER);
        let mut held = Vec::with_capacity(keys.len());
        for keys in keys.chunks(TOGETHER) {
            spots.clear();
            spots.extend(keys.iter().map(|(key, _)| self.filter.spot(key.as_bytes())));
            self.filter.bring(spots.iter().copied());
            held.extend(spots.iter().map(|spot| self.filter.may_hold(*spot)));
        }
        let mut held = held.into_iter();
        keys.retain(|_| held.next().unwrap_or(true));
    }

    /// Reads the value of a key that there may be.
    ///
    /// # Panics
    /// As [`Disk::get`].
    pub(super) fn read(&self, key: &KeyBytes) -> Option<fjall::UserValue> {
        match self.trees.of(key.as_bytes()).get(key.as_bytes()) {
            Ok(found) => found,
            Err(error) => self.unreadable(error),
        }
    }

    /// Calls `each` with the key, without its space, and the value of everything in a space whose
    /// shard is wanted.
    ///
    /// # Panics
    /// As [`Disk::get`].
    pub(super) fn scan(
        &self,
        space: Space,
        wanted: impl Fn(u8) -> bool,
        mut each: impl FnMut(&[u8], &[u8]),
    ) {
        for shard in (0..=u8::MAX).filter(|shard| wanted(*shard)) {
            let prefix = [space as u8, shard];
            for pair in self.trees.of(&prefix).prefix(prefix) {
                match pair.into_inner() {
                    Ok((key, value)) => each(&key[1..], &value),
                    Err(error) => self.unreadable(error),
                }
            }
        }
    }

    /// Calls `each` with the key, without its space, and the value of everything between two keys of a
    /// space, the second excluded, in order.
    ///
    /// # Panics
    /// As [`Disk::get`].
    pub(super) fn scan_range(
        &self,
        from: &KeyBytes,
        to: &KeyBytes,
        mut each: impl FnMut(&[u8], &[u8]),
    ) {
        let tree = self.trees.of(from.as_bytes());
        for pair in tree.range(from.as_bytes()..to.as_bytes()) {
            match pair.into_inner() {
                Ok((key, value)) => each(&key[1..], &value),
                Err(error) => self.unreadable(error),
            }
        }
    }

    #[expect(clippy::panic, reason = "operators return no errors; the host catches it and ends")]
    fn unreadable(&self, error: fjall::Error) -> ! {
        let error = error_of(&self.path, error);
        if self.note_damage(&error) {
            panic!("{error}; the next start derives it anew");
        }
        panic!("{error}; remove that directory and start again");
    }

    /// Notes that the state cannot be read, so that the next start does not try again.
    fn note_damage(&self, error: &StateError) -> bool {
        fs::write(self.path.join(DAMAGED), error.to_string()).is_ok()
    }
}

/// Adds a key with its value, or removes it.
pub type Write<'w, E> = &'w mut dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), E>;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The whole state at one moment.
pub struct Snapshot {
    disk: Disk,
    inner: fjall::Snapshot,
}

impl Snapshot {
    /// Returns every key from one on that belongs to some shards, with its value, in order, without the
    /// mark. [`StateError`] comes where the disk cannot be read.
    pub fn since(
        &self,
        key: &[u8],
        shards: Shards,
    ) -> impl Iterator<Item = Result<Pair, StateError>> + use<> {
        let disk = self.disk.clone();
        let ranges = disk.trees.both().map(|tree| self.inner.range(tree, key.to_vec()..));
        let pairs = ranges.into_iter().flatten().map(move |pair| {
            pair.into_inner().map_err(|error| {
                let error = error_of(&disk.path, error);
                disk.note_damage(&error);
                error
            })
        });
        let owned =
            |(key, value): (fjall::UserKey, fjall::UserValue)| (key.to_vec(), value.to_vec());
        pairs
            .filter(move |pair| pair.as_ref().map_or(true, |(key, _)| shards.hold(key)))
            .map(move |pair| pair.map(owned))
    }
}

fn error_of(path: &Path, error: fjall::Error) -> StateError {
    let path = path.to_owned();
    match error {
        fjall::Error::Locked => StateError::Busy { path },
        fjall::Error::Io(source) | fjall::Error::Storage(LsmError::Io(source)) => {
            match source.kind() {
                // A file that is gone, too short, or there though nothing names it: a new attempt
                // cures none of these.
                ErrorKind::NotFound
                | ErrorKind::UnexpectedEof
                | ErrorKind::InvalidData
                | ErrorKind::AlreadyExists => {
                    StateError::Damaged { path, detail: source.to_string() }
                }
                _ => StateError::Failed { path, source },
            }
        }
        fjall::Error::Poisoned => {
            let source = io::Error::other("a write before this one failed");
            StateError::Failed { path, source }
        }
        other => StateError::Damaged { path, detail: other.to_string() },
    }
}

fn encode_mark(mark: &Mark, out: &mut Vec<u8>) {
    put_varint(out, u128::from(FORMAT));
    put_varint(out, u128::from(mark.epoch.0));
    put_text(out, &mark.commit_hash);
    put_text(out, &mark.configuration);
    mark.shards.0.iter().for_each(|word| put_varint(out, u128::from(*word)));
}

fn decode_mark(bytes: &[u8]) -> Result<Option<Mark>, CodecError> {
    let mut reader = Reader::new(bytes);
    if reader.varint_u64()? != FORMAT {
        return Ok(None);
    }
    let epoch = Epoch(reader.varint_u64()?);
    let commit_hash = reader.text()?.to_owned();
    let configuration = reader.text()?.to_owned();
    let mut shards = Shards([0; 4]);
    for word in &mut shards.0 {
        *word = reader.varint_u64()?;
    }
    Ok(Some(Mark { epoch, commit_hash, configuration, shards }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::ops::Range;

    use super::*;

    /// What was there before is noted by a thread; until then everything is asked of the trees.
    #[test]
    fn what_is_on_disk_is_found_whether_the_filter_knows_it_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let keys = |from: u64, to: u64| {
            let key = |number: u64| KeyBytes::new(Space::Balances, &[&number.to_be_bytes()]);
            (from..to).map(key).collect::<Vec<_>>()
        };
        for life in 0..3 {
            let disk = Disk::open(directory.path(), 1 << 20).unwrap();
            let (known, new) = (keys(0, life * 500), keys(life * 500, life * 500 + 500));
            assert!(known.iter().all(|key| disk.get(key).is_some()), "before anything is taken in");
            assert!(new.iter().all(|key| disk.get(key).is_none()));
            let fill = |write: Write<'_, StateError>| {
                new.iter().try_for_each(|key| write(key.as_bytes(), Some(b"value")))
            };
            disk.ingest(&mark(life), fill, |(), _| Ok(())).unwrap();
            if let Some(thread) = disk.filling.lock().unwrap().thread.take() {
                thread.join().unwrap();
            }
            assert!(disk.filter.is_complete());
            assert!(known.iter().chain(&new).all(|key| disk.get(key).is_some()));
            assert!(keys(5_000, 6_000).iter().all(|key| disk.get(key).is_none()));
        }
    }

    #[test]
    fn it_tells_how_many_bytes_replace_others() {
        let directory = tempfile::tempdir().unwrap();
        // So much memory that no new key is taken for one that was there.
        let disk = Disk::open(directory.path(), 64 << 20).unwrap();
        let key = |number: u64| {
            let even = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            KeyBytes::new(Space::Balances, &[&even.to_be_bytes()])
        };
        let each = (key(0).as_bytes().len() + 5) as u64;
        let rows: [(Range<u64>, Option<&[u8]>, u64); 5] = [
            (0..5_000, Some(b"value"), 0),
            (4_000..9_000, Some(b"other"), 1_000 * each),
            (4_000..4_010, None, 10 * (each - 5)),
            (0..0, None, 0),
            (0..9_000, Some(b"again"), 9_000 * each),
        ];
        for ((keys, value, expected), epoch) in rows.into_iter().zip(1..) {
            let fill = |write: Write<'_, StateError>| {
                let mut keys: Vec<_> = keys.clone().map(key).collect();
                keys.sort_unstable();
                keys.iter().try_for_each(|key| write(key.as_bytes(), value))?;
                Ok(epoch)
            };
            let then = |filled, replaced| {
                assert_eq!((filled, replaced), (epoch, expected), "{keys:?}");
                Ok(())
            };
            let ingested = disk.ingest(&mark(epoch), fill, then).unwrap();
            assert_eq!(ingested.changes, keys.end - keys.start);
        }
        // What `then` refuses is not there.
        let fill = |write: Write<'_, StateError>| write(key(9_000).as_bytes(), Some(b"value"));
        let refuse = |(), _| Err(StateError::Busy { path: PathBuf::new() });
        disk.ingest(&mark(9), fill, refuse).unwrap_err();
        assert_eq!(disk.standing().unwrap().mark, Some(mark(5)));
        assert!(disk.get(&key(9_000)).is_none());
    }

    fn mark(epoch: u64) -> Mark {
        Mark {
            epoch: Epoch(epoch),
            commit_hash: format!("hash {epoch}"),
            configuration: String::new(),
            shards: Shards::ALL,
        }
    }

    /// The tree of the rest is put back to what it was, as if a kill had come before it took in the last.
    #[test]
    fn it_says_where_only_transactions_are_of_the_last_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Disk::open(directory.path(), 1 << 20).unwrap();
        let key = |space| KeyBytes::new(space, &[&[0]]);
        let ingest = |disk: &Disk, epoch: u64| {
            let value = epoch.to_be_bytes();
            let fill = |write: Write<'_, StateError>| {
                write(key(Space::Transactions).as_bytes(), Some(&value))?;
                write(key(Space::Names).as_bytes(), Some(&value))
            };
            disk.ingest(&mark(epoch), fill, |(), _| Ok(())).unwrap();
        };
        let folder = directory.path().join(TREE).join("keyspaces");
        let (rest, kept) = (folder.join("2"), directory.path().join("kept"));
        ingest(&open(), 1);
        trueup_testing::copy_tree(&rest, &kept).unwrap();
        ingest(&open(), 2);
        fs::remove_dir_all(&rest).unwrap();
        trueup_testing::copy_tree(&kept, &rest).unwrap();
        let disk = open();
        let torn = Standing { mark: Some(mark(1)), ahead: Some(mark(2)) };
        assert_eq!(disk.standing().unwrap(), torn);
        ingest(&disk, 2);
        let whole = Standing { mark: Some(mark(2)), ahead: None };
        assert_eq!(disk.standing().unwrap(), whole);
        for space in [Space::Transactions, Space::Names] {
            assert_eq!(disk.get(&key(space)).unwrap(), 2_u64.to_be_bytes());
        }
    }

    #[test]
    fn state_of_another_version_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path(), 1 << 20).unwrap();
        let mark = mark(7);
        let nothing = |_: Write<'_, StateError>| Ok(());
        disk.ingest(&mark, nothing, |(), _| Ok(())).unwrap();
        let whole = Standing { mark: Some(mark.clone()), ahead: None };
        assert_eq!(disk.standing().unwrap(), whole);
        let mut bytes = Vec::new();
        encode_mark(&mark, &mut bytes);
        bytes[0] = u8::try_from(FORMAT).unwrap() - 1;
        disk.trees.rest.insert(MARK, &bytes).unwrap();
        let error = disk.standing().unwrap_err().to_string();
        assert!(error.contains("another version of trueup wrote it"), "{error}");
        // Up to format 5 there was one tree, of another name.
        disk.database.keyspace("state", KeyspaceCreateOptions::default).unwrap();
        drop(disk);
        let error = Disk::open(directory.path(), 1 << 20).map(drop).unwrap_err().to_string();
        assert!(error.contains("another version of trueup wrote it"), "{error}");
    }
}
