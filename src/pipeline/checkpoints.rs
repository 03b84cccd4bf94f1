//! Checkpoints: when one is due.
//!
//! The leader asks for one as it ends an epoch; every worker of every process seals its state at
//! that epoch and sends its part to the process' `Checkpointer`. One checkpoint is under way at a
//! time, and the intake waits for it where as much has come since as the next may have.
//!
//! A checkpoint beside what is derived again would make a restart longer. So while nothing has been written
//! since the start, what is derived again may have the memory of both, and the first new epoch gets the
//! checkpoint. The intake waits for that one, lest a run that is killed once more has more to derive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use trueup_ledger::Epoch;

use super::StateOptions;

/// How much of the memory limit a record may use, so that the epochs on their way take about as much
/// again. A record of two postings to accounts of their own takes 3.6 KB in all three epochs on their way.
pub(crate) const LIMIT_BYTES_A_RECORD: u64 = 4 << 10;

/// How many records, and bytes of what they change, call for a checkpoint for each worker, however large the
/// memory is. A restart derives again what came since the last one, up to twice as much where it was killed as
/// the next was about to be on disk, about as fast as a load reads it.
pub(crate) const RECORDS_A_WORKER: u64 = 450_000;
/// See [`RECORDS_A_WORKER`].
pub(crate) const GATHERED_BYTES_A_WORKER: u64 = 256 << 20;

/// How the threads of a run agree on checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// What all workers together may gather for the next checkpoint, in bytes; 0 without a disk.
    gather_bytes: usize,
    /// How many records of this process may come between two checkpoints, but for an epoch.
    gather_records: u64,
    /// The most records of an epoch.
    records_max: u64,
    interval: Duration,
    requested: AtomicU64,
    done: AtomicU64,
    /// What each worker has gathered for the next checkpoint, in bytes.
    active: Vec<AtomicUsize>,
    /// How many records this process has read since the epoch of the last checkpoint that was requested.
    records: AtomicU64,
    /// Whether committed ranges are being read again, without a checkpoint since the start.
    replaying: AtomicBool,
    /// Whether the intake waits for the next checkpoint: it has what was read again, as much as calls for one.
    owed: AtomicBool,
}

impl Checkpoints {
    pub(crate) fn new(state: Option<&StateOptions>, workers: usize, since: Epoch) -> Checkpoints {
        // A quarter is being gathered, a quarter being written; a quarter is the disk's cache,
        // and the rest is what tables need to grow, and the buffers of a checkpoint.
        let bytes_of = |limit: u64| (limit / 4).min(GATHERED_BYTES_A_WORKER * workers as u64);
        let gather_bytes = state.map_or(0, |state| bytes_of(state.memory_limit));
        Checkpoints {
            gather_bytes: usize::try_from(gather_bytes).unwrap_or(usize::MAX),
            gather_records: RECORDS_A_WORKER * workers as u64,
            records_max: state
                .map_or(u64::MAX, |state| (state.memory_limit / LIMIT_BYTES_A_RECORD).max(1)),
            interval: state.map_or(Duration::MAX, |state| state.checkpoint_interval),
            requested: AtomicU64::new(since.0),
            done: AtomicU64::new(since.0),
            active: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            records: AtomicU64::new(0),
            replaying: AtomicBool::new(true),
            owed: AtomicBool::new(false),
        }
    }

    /// Says how much a worker has gathered. Workers are numbered across processes.
    pub(crate) fn gathered(&self, worker: usize, bytes: usize) {
        self.active[worker % self.active.len()].store(bytes, Ordering::Relaxed);
    }

    /// Says that this process has read so many records.
    pub(crate) fn read(&self, records: usize) {
        self.records.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Says that this process reads what is new from now on: what it has read again counts like that.
    pub(crate) fn go_live(&self) {
        if self.replaying.swap(false, Ordering::Relaxed) {
            self.owed.store(self.is_full(), Ordering::Relaxed);
        }
    }

    /// Returns how many records an epoch may have at most, where memory is limited.
    pub(crate) fn records_max(&self) -> u64 {
        self.records_max
    }

    /// Returns the last checkpoint on disk.
    pub(crate) fn done(&self) -> Epoch {
        Epoch(self.done.load(Ordering::Acquire))
    }

    /// Says that a checkpoint is on disk.
    pub(crate) fn finish(&self, epoch: Epoch) {
        self.owed.store(false, Ordering::Relaxed);
        self.done.store(epoch.0, Ordering::Release);
    }

    /// Says that this process has closed an epoch that gets a checkpoint: what it reads now is of the next.
    pub(crate) fn close(&self, epoch: Epoch) {
        self.request(epoch);
        self.records.store(0, Ordering::Relaxed);
        if self.replaying.swap(false, Ordering::Relaxed) {
            self.owed.store(true, Ordering::Relaxed);
        }
    }

    /// Says that this process is about to close an epoch that gets a checkpoint.
    fn request(&self, epoch: Epoch) {
        self.requested.fetch_max(epoch.0, Ordering::AcqRel);
    }

    /// Says whether this process has gathered so much that a checkpoint is wanted.
    pub(crate) fn wants_one(&self) -> bool {
        self.gather_bytes > 0 && self.is_full() && !self.under_way()
    }

    fn under_way(&self) -> bool {
        self.requested.load(Ordering::Acquire) > self.done.load(Ordering::Acquire)
    }

    fn is_full(&self) -> bool {
        let bytes = self.active.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum::<usize>();
        if self.replaying.load(Ordering::Relaxed) {
            // Nothing is being written, so the memory of what would be is free.
            return bytes / 2 >= self.gather_bytes;
        }
        bytes >= self.gather_bytes || self.records.load(Ordering::Relaxed) >= self.gather_records
    }

    /// Says whether `elapsed` since the last checkpoint calls for one.
    fn is_due(&self, elapsed: Duration) -> bool {
        elapsed >= self.interval && !self.replaying.load(Ordering::Relaxed)
    }

    /// Says whether the intake must wait before it reads more: as much has come as the next checkpoint
    /// may have, and the one before is still being written, or that one has what was read again.
    pub(crate) fn must_wait(&self) -> bool {
        self.gather_bytes > 0
            && self.under_way()
            && (self.owed.load(Ordering::Relaxed) || self.is_full())
    }
}

/// Decides when checkpoints are taken, for all processes.
#[derive(Debug)]
pub(crate) struct Cadence {
    checkpoints: Arc<Checkpoints>,
    last: Instant,
}

impl Cadence {
    pub(crate) fn new(checkpoints: Arc<Checkpoints>) -> Cadence {
        Cadence { checkpoints, last: Instant::now() }
    }

    /// Says whether `epoch`, which is about to be closed, gets a checkpoint. `full` says that a
    /// process has gathered as much as one may have. The `last` epoch of a run gets one whatever is under
    /// way, so that the next run begins where this one ended.
    pub(crate) fn take(&mut self, epoch: Epoch, full: bool, last: bool) -> bool {
        let checkpoints = &self.checkpoints;
        let due = full || checkpoints.is_full() || checkpoints.is_due(self.last.elapsed());
        let wanted = last || (due && !checkpoints.under_way());
        if checkpoints.gather_bytes == 0 || !wanted {
            return false;
        }
        self.last = Instant::now();
        checkpoints.request(epoch);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoints(workers: usize, memory_limit: u64) -> Checkpoints {
        let state = StateOptions {
            directory: "nowhere".into(),
            memory_limit,
            checkpoint_interval: Duration::MAX,
        };
        Checkpoints::new(Some(&state), workers, Epoch(0))
    }

    fn live(workers: usize, memory_limit: u64) -> Checkpoints {
        let checkpoints = checkpoints(workers, memory_limit);
        checkpoints.go_live();
        checkpoints
    }

    #[test]
    fn what_a_restart_would_derive_again_calls_for_a_checkpoint() {
        const MIB: u64 = 1 << 20;
        // Workers, memory limit, records read, bytes gathered by one worker.
        let rows = [
            (2, 2048 * MIB, 899_999, 512 * MIB - 1, false),
            (2, 2048 * MIB, 900_000, 0, true),
            (2, 2048 * MIB, 0, 512 * MIB, true),
            // Of less memory a quarter, of more no more.
            (2, 1024 * MIB, 0, 256 * MIB, true),
            (2, 1 << 40, 899_999, 512 * MIB - 1, false),
            (2, 1 << 40, 0, 512 * MIB, true),
            // Another worker derives as much more.
            (3, 1 << 40, 1_349_999, 768 * MIB - 1, false),
            (3, 1 << 40, 1_350_000, 0, true),
        ];
        for (workers, memory_limit, records, bytes, expected) in rows {
            let checkpoints = live(workers, memory_limit);
            checkpoints.read(records);
            checkpoints.gathered(0, usize::try_from(bytes).unwrap());
            let case = (workers, memory_limit, records, bytes);
            assert_eq!(checkpoints.wants_one(), expected, "{case:?}");
            assert!(!checkpoints.must_wait(), "{case:?}");
        }
    }

    #[test]
    fn as_much_again_waits_for_the_checkpoint_before() {
        let checkpoints = Arc::new(live(1, 2 << 30));
        let mut cadence = Cadence::new(Arc::clone(&checkpoints));
        checkpoints.read(450_000);
        assert!(cadence.take(Epoch(7), false, false));
        checkpoints.close(Epoch(7));
        checkpoints.read(449_999);
        assert!(!checkpoints.must_wait());
        checkpoints.read(1);
        assert!(checkpoints.must_wait() && !checkpoints.wants_one());
        assert!(!cadence.take(Epoch(8), true, false));
        checkpoints.finish(Epoch(7));
        assert!(checkpoints.wants_one() && !checkpoints.must_wait());
        assert!(cadence.take(Epoch(9), false, false));
    }

    #[test]
    fn what_is_read_again_gets_its_checkpoint_with_the_first_new_epoch() {
        // Records read again and in the first new epoch; whether the latter gets a checkpoint, and whether more
        // waits for it.
        let rows = [
            (450_000, 1, true, true),
            (900_000, 100_000, true, true),
            (449_999, 1, true, false),
            (449_998, 1, false, false),
            (0, 450_000, true, false),
        ];
        for (again, new, taken, waits) in rows {
            let checkpoints = Arc::new(checkpoints(1, 2 << 30));
            let mut cadence = Cadence::new(Arc::clone(&checkpoints));
            let case = (again, new);
            checkpoints.read(again);
            assert!(!checkpoints.wants_one() && !cadence.take(Epoch(1), false, false), "{case:?}");
            checkpoints.go_live();
            checkpoints.read(new);
            assert!(!checkpoints.must_wait(), "{case:?}");
            assert_eq!(cadence.take(Epoch(2), false, false), taken, "{case:?}");
            if taken {
                checkpoints.close(Epoch(2));
            }
            assert_eq!(checkpoints.must_wait(), waits, "{case:?}");
            checkpoints.finish(Epoch(2));
            assert!(!checkpoints.must_wait() && !checkpoints.wants_one(), "{case:?}");
        }
    }

    #[test]
    fn what_is_read_again_may_have_the_memory_of_two_checkpoints() {
        let checkpoints = Arc::new(checkpoints(1, 1 << 30));
        let mut cadence = Cadence::new(Arc::clone(&checkpoints));
        checkpoints.read(1_000_000);
        checkpoints.gathered(0, (512 << 20) - 1);
        assert!(!checkpoints.wants_one() && !cadence.take(Epoch(1), false, false));
        checkpoints.gathered(0, 512 << 20);
        assert!(checkpoints.wants_one() && cadence.take(Epoch(2), false, false));
        checkpoints.close(Epoch(2));
        checkpoints.gathered(0, 0);
        assert!(checkpoints.must_wait());
        checkpoints.finish(Epoch(2));
        assert!(!checkpoints.must_wait());
        // With one on disk it goes on as ever.
        checkpoints.gathered(0, 256 << 20);
        assert!(checkpoints.wants_one() && cadence.take(Epoch(3), false, false));
        checkpoints.close(Epoch(3));
        checkpoints.gathered(0, (256 << 20) - 1);
        checkpoints.read(449_999);
        assert!(!checkpoints.must_wait());
    }

    #[test]
    fn the_interval_waits_for_what_is_read_again() {
        let checkpoints = Arc::new(Checkpoints {
            interval: Duration::ZERO,
            ..Checkpoints::new(None, 1, Epoch(0))
        });
        assert!(!checkpoints.is_due(Duration::ZERO));
        checkpoints.go_live();
        assert!(checkpoints.is_due(Duration::ZERO));
    }

    #[test]
    fn without_a_disk_there_is_none() {
        let checkpoints = Arc::new(Checkpoints::new(None, 1, Epoch(0)));
        checkpoints.go_live();
        checkpoints.read(10_000_000);
        assert!(!checkpoints.wants_one() && !checkpoints.must_wait());
        assert!(!Cadence::new(checkpoints).take(Epoch(1), true, true));
    }
}
