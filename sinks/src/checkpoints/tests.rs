//! Copies of state: written, read back, chained, damaged and tidied away.

use super::*;
use crate::memory::MemoryStore;

type Owned = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn group(store: &MemoryStore, epoch: u64, pairs: &[(u8, Option<&str>)]) -> Vec<Part> {
    let mut writer = CopyWriter::new(store, Epoch(epoch));
    for (key, value) in pairs {
        writer.push(&[*key], value.map(str::as_bytes)).unwrap();
    }
    writer.finish().unwrap()
}

fn written(store: &MemoryStore, epoch: u64, base: Option<u64>, groups: Vec<Vec<Part>>) -> Manifest {
    let commit = (Epoch(epoch), format!("hash {epoch}"));
    let manifest = Manifest::new(commit, "meaning".to_owned(), base.map(Epoch), groups);
    manifest.write(store).unwrap();
    manifest
}

fn copy(
    store: &MemoryStore,
    epoch: u64,
    base: Option<u64>,
    pairs: &[(u8, Option<&str>)],
) -> Manifest {
    written(store, epoch, base, vec![group(store, epoch, pairs)])
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
    let copies = Copies::read(store).unwrap();
    let chains = copies.chains(|manifest| manifest.commit_hash.starts_with("hash"));
    chains.map(|chain| chain.iter().map(|manifest| manifest.epoch.0).collect()).collect()
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
    let manifest = written(&store, 1, None, vec![parts]);
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
fn a_chain_leads_to_a_whole_copy() {
    let store = MemoryStore::new();
    copy(&store, 2, None, &[(1, Some("a"))]);
    copy(&store, 5, Some(2), &[(2, Some("b"))]);
    copy(&store, 9, Some(5), &[(3, Some("c"))]);
    // What it builds on is not there.
    copy(&store, 10, Some(7), &[(4, Some("d"))]);
    assert_eq!(chains(&store), [vec![2, 5, 9], vec![2, 5], vec![2]]);
    // A whole copy of the same epoch is shorter to read.
    copy(&store, 5, None, &[(1, Some("a")), (2, Some("b"))]);
    assert_eq!(chains(&store), [vec![5, 9], vec![5], vec![2]]);
}

#[test]
fn damage_is_told_and_never_read() {
    let store = MemoryStore::new();
    let first = copy(&store, 2, None, &[(1, Some("a"))]);
    let second = copy(&store, 5, Some(2), &[(2, Some("b"))]);
    let mut bytes = store.get(&second.groups[0][0].path).unwrap();
    bytes[9] ^= 1;
    store.put(&second.groups[0][0].path, &bytes).unwrap();
    assert!(matches!(read(&store, &second), Err(SinkError::Damaged { .. })));
    store.delete(&first.groups[0][0].path).unwrap();
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
    for (epoch, base) in [(1, None), (2, Some(1)), (4, None), (5, Some(4)), (8, None)] {
        copy(&store, epoch, base, &[(1, Some("a")), (u8::try_from(epoch).unwrap(), Some("b"))]);
        Copies::tidy(&store).unwrap();
        for chain in chains(&store) {
            assert!(!chain.is_empty());
        }
    }
    assert_eq!(chains(&store), [vec![8], vec![4, 5], vec![4]]);
    assert_eq!(store.list("checkpoints/parts/").unwrap().len(), 3);
}
