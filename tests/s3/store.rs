//! The contract of a store, on the server itself.

use std::sync::Arc;
use std::thread;

use trueup_sinks::{
    BucketConfig, BucketStore, Credentials, FaultPlan, FaultyStore, Store, StoreError, conformance,
};

use crate::{BUCKET, config, open, server};

#[test]
fn it_passes_the_suite() {
    let server = server();
    for prefix in ["", "deep/er"] {
        let store: Arc<dyn Store> = Arc::new(open(&server, prefix));
        conformance::store(&store);
        conformance::commit_log(&store);
    }
}

#[test]
fn it_passes_the_suite_with_faults() {
    let server = server();
    for seed in 0..6 {
        let faulty = |part: &str| -> Arc<dyn Store> {
            let plan = FaultPlan::seeded(seed, 20, 20);
            Arc::new(FaultyStore::new(open(&server, &format!("{part}/{seed}")), plan))
        };
        conformance::store(&faulty("store"));
        conformance::commit_log(&faulty("log"));
    }
}

#[test]
fn of_many_creators_one_wins() {
    let server = server();
    let stores: Vec<_> = (0..8).map(|_| open(&server, "race")).collect();
    for round in 0..40 {
        let path = format!("commits/{round:020}.json");
        let create = |writer: usize| {
            let bytes = vec![u8::try_from(writer).unwrap(); 5000];
            match stores[writer].create(&path, &bytes) {
                Ok(()) => true,
                // Two that overlap may be told that neither is decided yet.
                Err(StoreError::AlreadyExists { .. } | StoreError::Unknown { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        };
        let won: Vec<usize> = thread::scope(|scope| {
            let writers: Vec<_> =
                (0..stores.len()).map(|writer| scope.spawn(move || create(writer))).collect();
            let won = writers.into_iter().map(|writer| writer.join().unwrap());
            won.enumerate().filter(|(_, won)| *won).map(|(writer, _)| writer).collect()
        });
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        let found = stores[0].get(&path).unwrap();
        assert!(found.len() == 5000 && found.iter().all(|byte| usize::from(*byte) == won[0]));
    }
}

#[test]
fn a_long_listing_is_whole_and_hides_what_is_no_file_of_the_store() {
    let server = server();
    let store = open(&server, "long");
    // More than a page, which is 1000.
    let mut wanted: Vec<String> = (0..1_005).map(|number| format!("a/{number}")).collect();
    for path in &wanted {
        store.create(path, b"").unwrap();
    }
    open(&server, "longer").create("a/other", b"").unwrap();
    wanted.sort();
    assert_eq!(store.list("").unwrap(), wanted);
    assert_eq!(
        store.list("a/100").unwrap(),
        ["a/100", "a/1000", "a/1001", "a/1002", "a/1003", "a/1004"]
    );
    let hidden = server.bucket(BUCKET).join("long/.tmp-fence");
    assert!(hidden.exists(), "the fence was proved at {}", hidden.display());
}

/// Returns the advice of an opening that fails.
fn advice(config: BucketConfig) -> &'static str {
    match BucketStore::open(config) {
        Err(StoreError::Failed { advice, .. }) => advice,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let server = server();
    let good = config(&server.endpoint(), "x");
    let key = |key_id: &str, secret: &str| {
        let (key_id, secret) = (key_id.to_owned(), secret.to_owned());
        BucketConfig { credentials: Some(Credentials { key_id, secret }), ..good.clone() }
    };
    let rows = [
        (key("trueup-test", "wrong"), "does not accept the credentials"),
        (key("nobody", "wrong"), "does not accept the credentials"),
        (BucketConfig { bucket: "absent".to_owned(), ..good.clone() }, "there is no such bucket"),
        (
            BucketConfig { endpoint: Some("http://192.0.2.1".to_owned()), ..good.clone() },
            "use https://, or set allow_http",
        ),
        (
            BucketConfig { endpoint: Some("http://127.0.0.1:1".to_owned()), ..good.clone() },
            "the storage does not answer; check the endpoint",
        ),
    ];
    for (config, expected) in rows {
        let shown = format!("{config:?}");
        let advice = advice(config);
        assert!(advice.contains(expected), "{shown}: {advice}");
    }
}

#[test]
fn a_server_that_is_down_leaves_it_open_and_comes_back() {
    let mut server = server();
    let store = open(&server, "down");
    store.create("a", b"1").unwrap();
    server.kill().unwrap();
    assert!(store.create("b", b"2").unwrap_err().is_unknown());
    assert!(store.get("a").unwrap_err().is_unknown());
    assert!(store.exists("a").unwrap_err().is_unknown());
    assert!(store.list("").unwrap_err().is_unknown());
    assert!(store.delete("a").unwrap_err().is_unknown());
    server.restart().unwrap();
    assert_eq!(store.get("a").unwrap(), b"1");
    assert_eq!(store.list("").unwrap(), ["a"]);
    store.create("b", b"2").unwrap();
}
