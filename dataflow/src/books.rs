//! Books: what one tenant holds in one currency, and their sums in the store.
//!
//! In: changes of sums by book and hash range. Out: the same changes, or the rows of totals. State:
//! one sum a key, in the store; what is handed on is small enough for arrangements.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::difference::{IsZero, Semigroup};
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use trueup_ledger::codec::{CodecError, Reader};

use crate::names::{AccountKey, AccountName};
use crate::store::{Encode, Kept, Space, StateKey, StateValue, WorkerState};
use crate::sums::Sides;
use crate::totals::route;

/// A tenant's currency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Book {
    /// The key of the account without a name.
    pub key: AccountKey,
    /// The tenant.
    pub tenant: Arc<str>,
    /// The currency.
    pub currency: Arc<str>,
}

/// The sums of a book, or of a part of it, as the store keeps them.
#[derive(Clone)]
pub(crate) struct BookSums {
    pub(crate) book: Book,
    pub(crate) sides: Sides,
}

impl Encode for BookSums {
    fn encode(&self, out: &mut Vec<u8>) {
        AccountName::new(&self.book.tenant, "", &self.book.currency).encode(out);
        self.sides.encode(out);
    }
}

impl StateValue for BookSums {
    fn decode(reader: &mut Reader<'_>) -> Result<BookSums, CodecError> {
        let name = AccountName::decode(reader)?;
        let book = Book {
            key: name.key(),
            tenant: Arc::from(name.tenant()),
            currency: Arc::from(name.currency()),
        };
        Ok(BookSums { book, sides: Sides::decode(reader)? })
    }

    fn heap_bytes(&self) -> usize {
        // The names are shared with all sums of the book.
        0
    }
}

/// What is known of a key when an epoch has changed it.
pub(crate) struct Change<'a, K> {
    pub(crate) key: &'a K,
    pub(crate) book: &'a Book,
    pub(crate) change: Sides,
    pub(crate) before: Sides,
    pub(crate) after: Sides,
}

/// Keeps the sum of every key and calls `each` for those that an epoch changes. `part` is what of a
/// hash range the key has. Before the first epoch, `restored` is called for every sum that is kept,
/// with the epoch that it is of.
pub(crate) fn summed<'s, K, D>(
    name: &str,
    changes: Stream<'s, u64, Vec<((Book, u8), Sides)>>,
    state: &WorkerState,
    (space, since): (Space, u64),
    part: impl Fn(AccountKey, u8) -> K + 'static,
    each: impl Fn(u64, &Change<'_, K>, &mut Vec<D>) + 'static,
    restored: impl Fn(u64, &BookSums, &mut Vec<D>) + 'static,
) -> Stream<'s, u64, Vec<D>>
where
    K: StateKey + Ord,
    D: Clone + 'static,
{
    let kept: Rc<RefCell<Kept<K, BookSums>>> = state.kept(space);
    let state = state.clone();
    let by_book = Exchange::new(|change: &((Book, u8), Sides)| route(change.0.0.key));
    changes.unary_frontier(by_book, name, move |capability, _| {
        let mut waiting: BTreeMap<u64, (Capability<u64>, BTreeMap<K, BookSums>)> = BTreeMap::new();
        let mut begin = Some(capability);
        move |(input, frontier), output| {
            let mut out = Vec::new();
            if let Some(capability) = begin.take().filter(|_| since > 0) {
                let kept = kept.borrow();
                kept.scan(|shard| state.owns(shard), |_, sums| restored(since, &sums, &mut out));
                output.session(&capability.delayed(&since)).give_container(&mut out);
            }
            input.for_each(|capability, changes| {
                let entry = waiting.entry(*capability.time());
                let (_, sums) = entry.or_insert_with(|| (capability.retain(0), BTreeMap::new()));
                for ((book, shard), change) in changes.drain(..) {
                    let entry = sums.entry(part(book.key, shard));
                    let sum = entry.or_insert_with(|| BookSums { book, sides: Sides::default() });
                    sum.sides.plus_equals(&change);
                }
            });
            while let Some(first) = waiting.first_entry() {
                if frontier.less_equal(first.key()) {
                    break;
                }
                let (epoch, (capability, sums)) = first.remove_entry();
                let mut kept = kept.borrow_mut();
                kept.begin(epoch);
                for (key, BookSums { book, sides: change }) in sums {
                    let before = kept.get(&key).map(|sums| sums.sides).unwrap_or_default();
                    let mut after = before;
                    after.plus_equals(&change);
                    each(
                        epoch,
                        &Change { key: &key, book: &book, change, before, after },
                        &mut out,
                    );
                    if after.is_zero() {
                        kept.remove(key);
                    } else {
                        kept.put(key, BookSums { book, sides: after });
                    }
                }
                output.session(&capability).give_container(&mut out);
            }
        }
    })
}
