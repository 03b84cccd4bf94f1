//! Books: what one tenant holds in one currency, and their sums in the store.
//!
//! In: changes of sums by book, or by book and hash range. Out: the same changes, or the rows of
//! totals. State: one sum a key, in the store; what is handed on is small enough for arrangements.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::difference::{IsZero, Semigroup};
use serde::{Deserialize, Serialize};
use timely::ExchangeData;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use trueup_ledger::codec::{CodecError, Reader};

use crate::names::{AccountKey, AccountName};
use crate::store::{Encode, Kept, Space, StateKey, StateValue, WorkerState};
use crate::sums::Sides;
use crate::totals::{consolidate, route};

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

impl Book {
    /// Returns the book of a tenant in a currency.
    #[must_use]
    pub fn new(tenant: &str, currency: &str) -> Book {
        Book::of(&AccountName::new(tenant, "", currency))
    }

    /// Returns the book that an account without a name stands for.
    fn of(name: &AccountName) -> Book {
        let (tenant, currency) = (Arc::from(name.tenant()), Arc::from(name.currency()));
        Book { key: name.key(), tenant, currency }
    }
}

/// What changes in hash ranges of transactions, in no order; a range may come more than once.
pub type OfRanges = Vec<(u8, Sides)>;

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
        let book = Book::of(&AccountName::decode(reader)?);
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

/// Keeps the sum of every key and calls `each` for those that an epoch changes. `keyed` tells apart what
/// changes in a book. Before the first epoch, `restored` is called for every sum that is kept, with the
/// epoch that it is of.
pub(crate) fn summed<'s, P, K, D, C>(
    name: &str,
    changes: Stream<'s, u64, Vec<(Book, P)>>,
    state: &WorkerState,
    (space, since): (Space, u64),
    keyed: impl Fn(AccountKey, P) -> C + 'static,
    each: impl Fn(u64, &Change<'_, K>, &mut Vec<D>) + 'static,
    restored: impl Fn(u64, &BookSums, &mut Vec<D>) + 'static,
) -> Stream<'s, u64, Vec<D>>
where
    P: ExchangeData,
    K: StateKey + Ord,
    D: Clone + 'static,
    C: IntoIterator<Item = (K, Sides)>,
{
    let kept: Rc<RefCell<Kept<K, BookSums>>> = state.kept(space);
    let state = state.clone();
    let by_book = Exchange::new(|(book, _): &(Book, P)| route(book.key));
    changes.unary_frontier(by_book, name, move |capability, _| {
        let mut waiting: BTreeMap<u64, (Capability<u64>, BTreeMap<Book, Vec<(K, Sides)>>)> =
            BTreeMap::new();
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
                let (_, books) = entry.or_insert_with(|| (capability.retain(0), BTreeMap::new()));
                for (book, changes) in changes.drain(..) {
                    let changes = keyed(book.key, changes);
                    books.entry(book).or_default().extend(changes);
                }
            });
            while let Some(first) = waiting.first_entry() {
                if frontier.less_equal(first.key()) {
                    break;
                }
                let (epoch, (capability, books)) = first.remove_entry();
                let mut kept = kept.borrow_mut();
                kept.begin(epoch);
                for (book, mut changes) in books {
                    consolidate(&mut changes);
                    for (key, change) in changes {
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
                            kept.put(key, BookSums { book: book.clone(), sides: after });
                        }
                    }
                }
                output.session(&capability).give_container(&mut out);
            }
        }
    })
}
