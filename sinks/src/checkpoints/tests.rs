//! Copies of state: written, read back, chained, damaged and tidied away.

use super::*;
use crate::memory::MemoryStore;

type Owned = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The keys are all of shard 0, and the group says that it has all shards.
fn group(store: &MemoryStore, epoch: u64, pairs: &[(u8, Option<&str>)]) -> Group {
    let mut writer = CopyWriter::new(store, Epoch(epoch));
    for (key, value) in pairs {
        writer.push(&[*key], value.map(str::as_bytes)).unwrap();
    }
    let parts = writer.finish().unwrap();
    Group { shards: (0..=u8::MAX).collect(), parts, ..Group::default() }
}

fn written(store: &MemoryStore, epoch: u64, base: Option<u64>, groups: Vec<Group>) -> Manifest {
    let commit = (Epoch(epoch), format!("hash {epoch}"));
    let base = (base.map(Epoch), true);
    let manifest = Manifest::new(commit, "meaning".to_owned(), base, groups);
    manifest.write(store).unwrap();
    manifest
}

fn copy(
    store: &MemoryStore,
    epoch: u64,
    base: Option<u64>,
    pairs: &[(u8, Option<&str>)],
) -> Manifest {
    let mut group = group(store, epoch, pairs);
    group.whole = base.is_none().then_some(KeyRange::ALL);
    written(store, epoch, base, vec![group])
}

fn read(store: &MemoryStore, manifest: &Manifest) -> Result<Owned, SinkError> {
    let mut pairs = Owned::new();
    read_copy(store, manifest, |key, value| {
        pairs.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        Ok::<_, SinkError>(())
    })?;
    Ok(pairs)
}

fn chains(store: &MemoryStore) -> Vec<Vec<u64>> {
    let copies = Copies::list(store).unwrap();
    let chain = |epoch| copies.chain(store, epoch, None, |_| true).unwrap();
    let chains = copies.epochs().rev().map(chain);
    let epochs = |chain: Chain| chain.manifests().iter().map(|copy| copy.epoch.0).collect();
    chains.filter(Chain::is_whole).map(epochs).collect()
}

#[test]
fn what_is_copied_is_read_back() {
    let store = MemoryStore::new();
    let manifest = copy(&store, 3, None, &[(1, Some("a")), (2, None), (3, Some(""))]);
    let expected: Owned =
        vec![(vec![1], Some(b"a".to_vec())), (vec![2], None), (vec![3], Some(Vec::new()))];
    assert_eq!(read(&store, &manifest).unwrap(), expected);
    let none = copy(&store, 4, Some(3), &[]);
    assert_eq!(read(&store, &none).unwrap(), Owned::new());
}

#[test]
fn many_parts_keep_the_order() {
    let store = MemoryStore::new();
    let mut writer = CopyWriter::new(&store, Epoch(1));
    let value = vec![7; 1 << 20];
    for key in 0..80_u8 {
        writer.push(&[key], Some(&value)).unwrap();
    }
    let parts = writer.finish().unwrap();
    assert_eq!(parts.len(), 3);
    let group = Group { parts, ..Group::default() };
    let manifest = written(&store, 1, None, vec![group]);
    let keys: Vec<_> =
        read(&store, &manifest).unwrap().into_iter().map(|(key, _)| key[0]).collect();
    assert_eq!(keys, (0..80).collect::<Vec<u8>>());
}

#[test]
fn what_several_processes_wrote_is_read_in_one_order() {
    let store = MemoryStore::new();
    let groups = vec![
        group(&store, 1, &[(2, Some("two")), (3, None), (9, Some("nine"))]),
        group(&store, 1, &[]),
        group(&store, 1, &[(1, Some("one")), (4, Some("four"))]),
    ];
    let manifest = written(&store, 1, None, groups);
    let pairs = read(&store, &manifest).unwrap();
    let keys: Vec<_> = pairs.iter().map(|(key, _)| key[0]).collect();
    assert_eq!(keys, [1, 2, 3, 4, 9]);
    assert_eq!(pairs[2].1, None);
    assert_eq!(pairs[4].1.as_deref(), Some(&b"nine"[..]));
}

#[test]
fn a_chain_leads_back_to_where_all_is_there() {
    let store = MemoryStore::new();
    copy(&store, 2, None, &[(1, Some("a"))]);
    copy(&store, 5, Some(2), &[(2, Some("b"))]);
    copy(&store, 9, Some(5), &[(3, Some("c"))]);
    // What it builds on is not there.
    copy(&store, 10, Some(7), &[(4, Some("d"))]);
    assert_eq!(chains(&store), [vec![2, 5, 9], vec![2, 5], vec![2]]);
    let copies = Copies::list(&store).unwrap();
    let not_two = |copy: &Manifest| copy.epoch != Epoch(2);
    let chain = |epoch, known| copies.chain(&store, Epoch(epoch), known, not_two).unwrap();
    for (epoch, known, length) in [
        (10, None, 1),
        (9, None, 2),
        (9, Some(Epoch(5)), 1),
        (9, Some(Epoch(2)), 2),
        (2, None, 0),
        (11, None, 0),
    ] {
        let chain = chain(epoch, known);
        assert_eq!(chain.manifests().len(), length, "{epoch}");
        assert!(!chain.is_whole(), "{epoch}");
    }
}

#[test]
fn damage_is_told_and_never_read() {
    let store = MemoryStore::new();
    let first = copy(&store, 2, None, &[(1, Some("a"))]);
    let second = copy(&store, 5, Some(2), &[(2, Some("b"))]);
    let mut bytes = store.get(&second.groups[0].parts[0].path).unwrap();
    bytes[9] ^= 1;
    store.put(&second.groups[0].parts[0].path, &bytes).unwrap();
    assert!(matches!(read(&store, &second), Err(SinkError::Damaged { .. })));
    store.delete(&first.groups[0].parts[0].path).unwrap();
    assert!(matches!(read(&store, &first), Err(SinkError::Damaged { .. })));
    for path in store.list("checkpoints/0").unwrap() {
        let mut bytes = store.get(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] = b' ';
        store.put(&path, &bytes).unwrap();
    }
    assert_eq!(chains(&store), [[0_u64; 0]; 0]);
}

#[test]
fn old_copies_go_and_nothing_that_is_needed() {
    let store = MemoryStore::new();
    let bound = |key: u8| Some(Bound(vec![key]));
    let half = |key| Some(KeyRange { from: Bound(Vec::new()), to: bound(key) });
    let rest = |key| Some(KeyRange { from: Bound(vec![key]), to: None });
    // Each round takes two copies, but for the first.
    let ranges = [Some(KeyRange::ALL), None, half(9), rest(9), half(7), None, rest(7), half(5)];
    for (whole, epoch) in ranges.into_iter().zip(1_u8..) {
        let pairs = [(1, Some("a")), (epoch, Some("b"))];
        let mut group = group(&store, epoch.into(), &pairs[usize::from(epoch == 1)..]);
        group.whole = whole;
        let base = Some(u64::from(epoch) - 1).filter(|base| *base > 0);
        written(&store, epoch.into(), base, vec![group]);
        Copies::tidy(&store, "another", Epoch(epoch.into())).unwrap();
        let before = chains(&store);
        Copies::tidy(&store, "meaning", Epoch(1)).unwrap();
        let is_whole = Copies::tidy(&store, "meaning", Epoch(epoch.into())).unwrap();
        assert!(is_whole, "{epoch}");
        let after = chains(&store);
        assert_eq!(before[..after.len()], after, "what is left is as it was");
    }
    // The newest whole chain begins with 5, that of the copy before with 3.
    let expected = [&[5, 6, 7, 8][..], &[5, 6, 7], &[3, 4, 5, 6], &[3, 4, 5], &[3, 4]];
    assert_eq!(chains(&store), expected);
    assert_eq!(store.list("checkpoints/parts/").unwrap().len(), 6);
}
