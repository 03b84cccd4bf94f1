//! A store that fails on purpose, for tests of whatever writes to one.
//!
//! Faults come by script (one entry a call) or by chance from a seed, and are the same for the
//! same sequence of calls. A fault never breaks the contract of [`Store`]: it is what a network,
//! a disk or a kill may do to a correct one.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};

use crate::store::{Store, StoreError};

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request gets lost: not done, the outcome is unknown.
    LostRequest,
    /// The reply gets lost: done, the outcome is unknown.
    LostReply,
    /// The outcome is unknown, and the request is carried out after the next call.
    Delayed,
    /// It definitely fails.
    Failure,
    /// It definitely fails, since the disk is full. Reads are not touched by this one.
    DiskFull,
}

/// Which calls fail, and how. By default none.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    script: VecDeque<Option<Fault>>,
    random: Option<Random>,
    crash_after: Option<u64>,
}

#[derive(Clone, Debug)]
struct Random {
    state: u64,
    chances: [(u64, Fault); 3],
}

impl Random {
    /// `SplitMix64` (Steele, Lea, Flood 2014): enough chance for faults, without a dependency.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn fault(&mut self) -> Option<Fault> {
        let mut roll = self.next() % 100;
        for (percent, fault) in self.chances {
            if roll < percent {
                return Some(fault);
            }
            roll -= percent;
        }
        None
    }
}

impl FaultPlan {
    /// Returns the plan without faults.
    #[must_use]
    pub fn none() -> FaultPlan {
        FaultPlan::default()
    }

    /// Returns a plan by chance: of all calls, reads too, so many in a hundred lose the request
    /// and so many the reply.
    #[must_use]
    pub fn seeded(seed: u64, lost_request_percent: u8, lost_reply_percent: u8) -> FaultPlan {
        let chances = [
            (u64::from(lost_request_percent), Fault::LostRequest),
            (u64::from(lost_reply_percent), Fault::LostReply),
            (0, Fault::Delayed),
        ];
        FaultPlan { random: Some(Random { state: seed, chances }), ..FaultPlan::default() }
    }

    /// Adds requests that are carried out late to a seeded plan.
    #[must_use]
    pub fn with_delays(mut self, percent: u8) -> FaultPlan {
        if let Some(random) = &mut self.random {
            random.chances[2].0 = u64::from(percent);
        }
        self
    }

    /// Returns a plan by script: the first entry is for the first change (`create`, `put` or
    /// `delete`), and so on; behind the last entry nothing fails. Reads are not counted.
    #[must_use]
    pub fn scripted(script: impl IntoIterator<Item = Option<Fault>>) -> FaultPlan {
        FaultPlan { script: script.into_iter().collect(), ..FaultPlan::default() }
    }

    /// Lets every call fail definitely once `calls` calls, reads too, have been made: to this
    /// store the process is dead. Read what it left through [`FaultyStore::inner`].
    #[must_use]
    pub fn crash_after(mut self, calls: u64) -> FaultPlan {
        self.crash_after = Some(calls);
        self
    }
}

#[derive(Debug)]
struct State {
    plan: FaultPlan,
    calls: u64,
    late: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Create(String, Vec<u8>),
    Put(String, Vec<u8>),
    Delete(String),
}

/// A store that does what [`FaultPlan`] says and otherwise passes calls on.
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    state: Mutex<State>,
}

impl<S: Store> FaultyStore<S> {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: S, plan: FaultPlan) -> FaultyStore<S> {
        let state = Mutex::new(State { plan, calls: 0, late: Vec::new() });
        FaultyStore { inner, state }
    }

    /// Returns the store without faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Returns how many calls have been made.
    pub fn calls(&self) -> u64 {
        self.with_state(|state| state.calls)
    }

    /// Replaces the plan; crashes count from here on.
    pub fn set_plan(&self, plan: FaultPlan) {
        self.with_state(|state| {
            state.plan = plan;
            state.calls = 0;
        });
    }

    fn with_state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes one call: picks its fault, and carries out what earlier calls left behind after it.
    fn call<T>(
        &self,
        action: &'static str,
        path: &str,
        change: Option<Change>,
        run: impl FnOnce(&S) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (fault, late) = self.with_state(|state| state.begin(change.is_some()));
        let lost = || StoreError::unknown(action, path, io::Error::other("injected: lost"));
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let outcome = match fault {
            None => run(&self.inner),
            Some(Fault::DiskFull) if change.is_none() => run(&self.inner),
            Some(Fault::LostRequest) => Err(lost()),
            Some(Fault::LostReply) => {
                let _ = run(&self.inner);
                Err(lost())
            }
            Some(Fault::Delayed) => {
                self.with_state(|state| state.late.extend(change));
                Err(lost())
            }
            Some(Fault::Failure) => {
                Err(StoreError::failed(action, path, io::Error::other("injected: failure")))
            }
            Some(Fault::DiskFull) => Err(StoreError::failed(action, path, full())),
        };
        for change in late {
            // Nobody waits for the outcome of a late request any more.
            let _ = match change {
                Change::Create(path, bytes) => self.inner.create(&path, &bytes),
                Change::Put(path, bytes) => self.inner.put(&path, &bytes),
                Change::Delete(path) => self.inner.delete(&path),
            };
        }
        outcome
    }
}

impl State {
    fn begin(&mut self, is_change: bool) -> (Option<Fault>, Vec<Change>) {
        self.calls += 1;
        if self.plan.crash_after.is_some_and(|calls| self.calls > calls) {
            return (Some(Fault::Failure), std::mem::take(&mut self.late));
        }
        let scripted = if is_change { self.plan.script.pop_front().flatten() } else { None };
        let fault = scripted.or_else(|| self.plan.random.as_mut().and_then(Random::fault));
        (fault, std::mem::take(&mut self.late))
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let change = Change::Create(path.to_owned(), bytes.to_vec());
        self.call("creating", path, Some(change), |inner| inner.create(path, bytes))
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let change = Change::Put(path.to_owned(), bytes.to_vec());
        self.call("writing", path, Some(change), |inner| inner.put(path, bytes))
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.call("reading", path, None, |inner| inner.get(path))
    }

    fn confirm(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.call("reading", path, None, |inner| inner.confirm(path))
    }

    fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.call("looking for", path, None, |inner| inner.exists(path))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.call("listing", prefix, None, |inner| inner.list(prefix))
    }

    fn delete(&self, path: &str) -> Result<(), StoreError> {
        let change = Change::Delete(path.to_owned());
        self.call("deleting", path, Some(change), |inner| inner.delete(path))
    }
}
