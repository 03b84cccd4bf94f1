//! One row, one bad configuration, with exactly the errors it must give.

use super::*;
use trueup_ledger::Timestamp;
use trueup_sinks::BucketConfig;

/// Returns `line key: problem` of every error; the remedies are for people.
fn errors(text: &str) -> Vec<String> {
    let Err(errors) = Config::parse(text, Path::new("/base")) else {
        return Vec::new();
    };
    let line = |error: &ConfigError| error.line.map_or("-".to_owned(), |line| line.to_string());
    errors
        .iter()
        .inspect(|error| assert!(!error.remedy.is_empty()))
        .map(|error| format!("{} {}: {}", line(error), error.key, error.problem))
        .collect()
}

const GOOD_SOURCE: &str = "[[source]]\nname = \"a\"\ntype = \"local_log\"\npath = \"log\"\n";

// spec: "S = `amount_scale`, default 9"
#[test]
fn the_smallest_configuration_has_the_defaults() {
    let text = format!("store = \"books\"\n{GOOD_SOURCE}");
    let config = Config::parse(&text, Path::new("/base")).unwrap();
    assert_eq!(config.store, StoreLocation::Directory(PathBuf::from("/base/books")));
    assert_eq!(config.amount_scale, Scale::DEFAULT);
    assert_eq!(config.commit_interval, COMMIT_INTERVAL_DEFAULT);
    assert_eq!(config.commit_max_records, COMMIT_MAX_RECORDS_DEFAULT);
    assert_eq!(config.workers, workers_default());
    let path = PathBuf::from("/base/log");
    assert_eq!(config.sources[0].transport, TransportConfig::LocalLog { path });
    assert!(!config.sources[0].backfill);
}

#[test]
fn flags_build_the_same() {
    let text =
        "store = \"books\"\n[[source]]\nname = \"input\"\ntype = \"local_log\"\npath = \"l\"";
    let flags = Flags {
        store: "books".to_owned(),
        input: PathBuf::from("l"),
        workers: None,
        amount_scale: None,
        commit_interval: None,
        commit_max_records: None,
        state: None,
        memory_limit: None,
        checkpoint_interval: None,
        rules: RuleFlags::default(),
    };
    let from_flags = Config::from_flags(flags).unwrap();
    assert_eq!(Config::parse(text, Path::new("")).unwrap(), from_flags);
}

#[test]
fn the_hash_is_of_the_meaning_only() {
    let parse =
        |text: &str| Config::parse(&format!("{text}\n{GOOD_SOURCE}"), Path::new("")).unwrap();
    let plain = parse("store = \"a\"");
    let moved =
        parse("store = \"b\"\nworkers = 7\ncommit_interval = \"5s\"\ncommit_max_records = 9");
    let finer = parse("store = \"a\"\namount_scale = 12");
    assert_eq!(plain.hash(), moved.hash());
    assert_ne!(plain.hash(), finer.hash());
    // Stores of earlier runs hold this hash.
    assert_eq!(plain.hash(), "d8350ae683df3e07996a0d4d737de9b708c8435ad16cb255127a4ee1fbed58a2");
}

#[test]
fn the_example_is_valid_and_names_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("trueup.example.toml");
    let text = fs::read_to_string(&path).unwrap();
    let config = Config::parse(&text, Path::new("")).unwrap();
    assert!(config.sources.len() >= 3);
    for key in [
        "store",
        "amount_scale",
        "workers",
        "commit_interval",
        "commit_max_records",
        "endpoint",
        "region",
        "allow_http",
        "name",
        "type",
        "path",
        "format",
        "backfill",
        "brokers",
        "topic",
        "properties",
        "id",
        "hosts",
        "tls",
        "peer_timeout",
        "connect_timeout",
        "clearing_account",
        "delayed_event_after",
        "delayed_event_since",
        "statement_mismatch_after",
        "alert_grace",
    ] {
        assert!(text.contains(&format!("{key} = ")), "{key}");
    }
}

#[test]
fn a_cluster_has_an_id_hosts_and_tls_beyond_this_machine() {
    let cluster = |text: &str| with(&format!("store = \"s\"\n{text}"));
    let parsed = |text: &str| Config::parse(&cluster(text), Path::new("/base")).unwrap().cluster;
    assert_eq!(parsed(""), None);
    let local = "[cluster]\nid = \"eu\"\nhosts = [\"127.0.0.1:1\", \"[::1]:2\", \"localhost:3\"]";
    let found = parsed(local).unwrap();
    assert_eq!((found.id.as_str(), found.hosts.len(), found.tls), ("eu", 3, None));
    assert_eq!(found.peer_timeout, Duration::from_secs(30));
    let far = "[cluster]\nid = \"eu\"\nhosts = [\"10.0.0.1:1\", \"b:2\"]\npeer_timeout = \"5s\"\n\
               connect_timeout = \"2m\"\ntls = { ca = \"ca\", certificate = \"c\", key = \"/k\" }";
    let found = parsed(far).unwrap();
    let tls = found.tls.unwrap();
    assert_eq!((tls.ca.as_path(), tls.key.as_path()), (Path::new("/base/ca"), Path::new("/k")));
    let times = (found.peer_timeout, found.connect_timeout);
    assert_eq!(times, (Duration::from_secs(5), Duration::from_secs(120)));

    let rows: &[(&str, &[&str])] = &[
        ("cluster = 1", &["2 cluster: it is a whole number, no section"]),
        ("[cluster]", &["2 cluster.id: it is missing", "2 cluster.hosts: it is missing"]),
        (
            "[cluster]\nid = \"E U\"\nhosts = []\nhost = 1\npeer_timeout = \"2s\"\n\
             connect_timeout = \"2h\"\n[cluster.tls]\nca = \"\"\ncert = \"c\"",
            &[
                "3 cluster.id: \"E U\" is no name of a cluster",
                "4 cluster.hosts: it has 0 hosts, not 1 to 256",
                "5 cluster.host: this key is not known",
                "6 cluster.peer_timeout: \"2s\" is out of range",
                "7 cluster.connect_timeout: \"2h\" is out of range",
                "8 cluster.tls.certificate: it is missing",
                "8 cluster.tls.key: it is missing",
                "9 cluster.tls.ca: it is empty",
                "10 cluster.tls.cert: this key is not known",
            ],
        ),
        (
            "[cluster]\nid = \"e\"\nhosts = [\n\"a\",\n\"b:0\",\n3,\n\"::1:7\",\n\"b:1\",\n\"b:1\"]",
            &[
                "5 cluster.hosts: \"a\" is no host:port",
                "6 cluster.hosts: \"b:0\" is no host:port",
                "7 cluster.hosts: a host is a whole number",
                "8 cluster.hosts: \"::1:7\" is no host:port",
                "10 cluster.hosts: \"b:1\" is there twice",
            ],
        ),
        (
            "[cluster]\nid = \"e\"\nhosts = [\"127.0.0.1:1\", \"10.0.0.2:1\"]",
            &["2 cluster.tls: it is missing, and \"10.0.0.2:1\" is not an address of this \
                 machine"],
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(errors(&cluster(text)), *expected, "{text}");
    }
}

#[test]
fn what_processes_must_agree_on_is_hashed() {
    let parse = |text: &str| Config::parse(&with(text), Path::new("")).unwrap().agreement();
    let plain = parse("store = \"a\"");
    assert_eq!(plain, parse("store = \"b\"\nworkers = 7"));
    for other in [
        "amount_scale = 2",
        "commit_interval = \"2s\"",
        "commit_max_records = 5",
        "detectors = { alert_grace = \"0s\" }",
    ] {
        assert_ne!(plain, parse(&format!("store = \"a\"\n{other}")), "{other}");
    }
}

#[test]
fn rules_are_what_rows_depend_on() {
    let config = |text: &str| {
        let text = with(&format!("store = \"s\"\n{text}"));
        Config::parse(&text, Path::new("")).unwrap()
    };
    assert_eq!(config("").rules, Rules::default());
    let text = "[[processor]]\nname = \"acmepay\"\nclearing_account = \"clearing:acme\"\n\
                [[processor]]\nname = \"b\"\nclearing_account = \"clearing:acme\"\n\
                [detectors]\ndelayed_event_after = \"90m\"\n\
                delayed_event_since = \"2026-01-01T00:00:00Z\"\n\
                statement_mismatch_after = \"0s\"\nalert_grace = \"30d\"";
    let found = config(text);
    let delayed = found.rules.delayed.unwrap();
    assert_eq!(delayed.after, 90 * 60_000_000);
    assert_eq!(delayed.since.unwrap().to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(found.rules.statement_mismatch_after, 0);
    assert_eq!(found.rules.alert_grace, 30 * 86_400_000_000);
    assert_eq!(&*found.rules.clearing["b"], "clearing:acme");
    let flags = RuleFlags {
        clearing: ["acmepay", "b"].map(|name| (name.to_owned(), "clearing:acme".to_owned())).into(),
        delayed_event_after: Some(Duration::from_secs(5400)),
        delayed_event_since: delayed.since,
        statement_mismatch_after: Some(Duration::ZERO),
        alert_grace: Some(Duration::from_secs(30 * 86_400)),
    };
    assert_eq!(flags.rules().unwrap(), found.rules);
    // Each of them is in the hash, and what is the default is not.
    let plain = config("").hash();
    assert_eq!(plain, config("[detectors]\nalert_grace = \"300s\"").hash());
    let hashes = [
        plain,
        found.hash(),
        config("detectors = { alert_grace = \"1m\" }").hash(),
        config("detectors = { statement_mismatch_after = \"1m\" }").hash(),
        config("detectors = { delayed_event_after = \"1m\" }").hash(),
        config("processor = [{ name = \"a\", clearing_account = \"c\" }]").hash(),
    ];
    assert_eq!(hashes.iter().collect::<std::collections::BTreeSet<_>>().len(), hashes.len());
}

#[test]
fn wrong_rules_are_reported_at_once() {
    let rows: &[(&str, &[&str])] = &[
        ("processor = 1", &["2 processor: it is a whole number, no list of sections"]),
        ("detectors = \"x\"", &["2 detectors: it is a text, no section"]),
        (
            "[[processor]]\nname = \"\"\nclearing_account = \"a\\tb\"\n\
             [[processor]]\nname = \"p\"\naccount = \"c\"\n\
             [[processor]]\nname = \"p\"\nclearing_account = \"c\"",
            &[
                "3 processor[0].name: \"\" is no name of a processor",
                "4 processor[0].clearing_account: \"a\\tb\" is no name of an account",
                "5 processor[1].clearing_account: it is missing",
                "7 processor[1].account: this key is not known",
                "9 processor[2].name: \"p\" is the name of another processor too",
            ],
        ),
        (
            "[detectors]\nalert_grace = \"31d\"\nstatement_mismatch_after = \"3 days\"\n\
             delayed_event_since = \"2026-01-01\"\ngrace = 1",
            &[
                "3 detectors.alert_grace: \"31d\" is out of range",
                "4 detectors.statement_mismatch_after: \"3 days\" is no duration",
                "5 detectors.delayed_event_since: \"2026-01-01\" is no instant",
                "5 detectors.delayed_event_since: it limits nothing: no event is too late",
                "6 detectors.grace: this key is not known",
            ],
        ),
        (
            "detectors = { delayed_event_after = 3600 }",
            &["2 detectors.delayed_event_after: 3600 is a whole number"],
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(errors(&with(&format!("store = \"s\"\n{text}"))), *expected, "{text}");
    }
    let twice = ["a", "a"].map(|name| (name.to_owned(), "c".to_owned())).into();
    let since = Timestamp::parse("2026-01-01T00:00:00Z");
    let flags = RuleFlags { clearing: twice, delayed_event_since: since, ..RuleFlags::default() };
    assert_eq!(flags.rules().unwrap_err().len(), 2);
}

#[test]
fn passwords_are_not_printed() {
    let properties = Properties(vec![("sasl.password".to_owned(), "hunter2".to_owned())]);
    assert_eq!(format!("{properties:?}"), "[\"sasl.password\"]");
    let text = "store = \"s\"\n[[source]]\nname = \"k\"\ntype = \"kafka\"\nbrokers = \"b:1\"\n\
                topic = \"t\"\nproperties = { \"group.id\" = \"hunter2\", \"x\" = [\"hunter2\"] }";
    let found = Config::parse(text, Path::new("")).unwrap_err();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|error| !error.to_string().contains("hunter2")));
}

// spec: "S = `amount_scale`, default 9, 0..=18"
#[test]
fn every_mistake_is_reported_at_once() {
    let text = "\
stor = \"books\"
amount_scale = 19
workers = 0
commit_interval = \"1 second\"
commit_max_records = -5
colour = 1
[[source]]
name = \"Bad Name\"
type = \"local_log\"
pth = \"log\"
backfill = \"yes\"
[[source]]
name = \"k\"
type = \"kafka\"
brokers = \"kafka\"
topic = \"a b\"
format = \"xml\"
properties = { \"auto.offset.reset\" = \"earliest\", \"client.id\" = \"me\", fetch.wait = 1 }
[[source]]
name = \"k\"
type = \"local-log\"
[[source]]
name = \"redrive\"
type = \"kafka\"
brokers = \"b:1\"
topic = \"t\"
";
    assert_eq!(
        errors(text),
        [
            "1 stor: this key is not known",
            "2 amount_scale: 19 is out of range",
            "3 workers: 0 is out of range",
            "4 commit_interval: \"1 second\" is no duration",
            "5 commit_max_records: -5 is out of range",
            "6 colour: this key is not known",
            "7 source[0].path: it is missing",
            "8 source[0].name: \"Bad Name\" is no name of a source",
            "10 source[0].pth: this key is not known",
            "11 source[0].backfill: \"yes\" is a text",
            "15 source[1].brokers: \"kafka\" is no broker",
            "16 source[1].topic: \"a b\" is no name of a Kafka topic",
            "17 source[1].format: \"xml\" is not known",
            "18 source[1].properties.auto.offset.reset: it is not yours to set",
            "18 source[1].properties.fetch: it is a section: dots in a bare key divide it",
            "20 source[2].name: \"k\" is the name of another source too",
            "21 source[2].type: \"local-log\" is not known",
            "23 source[3].name: \"redrive\" is the name of the source that reads re-driven records",
            "- store: it is missing",
        ]
    );
}

#[test]
fn bad_files() {
    let with_source = |text: &str| format!("{text}\n{GOOD_SOURCE}");
    let rows: &[(String, &[&str])] = &[
        (String::new(), &["- store: it is missing", "- source: there is no source"]),
        ("store = \"s\"".to_owned(), &["- source: there is no source"]),
        (
            "store = \"s\"\nsource = \"x\"".to_owned(),
            &["2 source: it is a text, no list of sections"],
        ),
        (
            "store = \"s\"\n[source]\nname = \"a\"".to_owned(),
            &["2 source: it is a section, no list of sections"],
        ),
        (
            with_source("store = \"gs://b\""),
            &["1 store: \"gs://b\": object storage other than S3 comes later"],
        ),
        (with_source("store = \"s3://b\""), &["1 store: \"b\" is no name of a bucket"]),
        (
            with_source("store = \"s3://books//a\""),
            &["1 store: \"/a\" is no prefix within a bucket"],
        ),
        (
            with_source("store = \"books\"\n[store_options]\nregion = \"eu-west-1\""),
            &["2 store_options: they are for a store in object storage"],
        ),
        (
            with_source(
                "store = \"s3://books\"\n[store_options]\nendpoint = \"10.0.0.1:9000\"\n\
                 region = \"eu west\"\nallow_http = 1\nsecret = \"x\"",
            ),
            &[
                "3 store_options.endpoint: \"10.0.0.1:9000\" is no endpoint",
                "4 store_options.region: \"eu west\" is no region",
                "5 store_options.allow_http: 1 is a whole number",
                "6 store_options.secret: this key is not known",
            ],
        ),
        (
            with_source("store = \"s3://books\"\n[store_options]\nendpoint = \"http://10.0.0.1\""),
            &["3 store_options.endpoint: \"http://10.0.0.1\" is not encrypted"],
        ),
        (
            with_source("store = \"s3://books\"\nstore_options = \"eu\""),
            &["2 store_options: it is a text, no section"],
        ),
        (with_source("store = 5"), &["1 store: 5 is a whole number"]),
        (
            with_source("store = \"s\"\namount_scale = 2.0"),
            &["2 amount_scale: 2.0 is a number with a fraction"],
        ),
        (
            with_source("store = \"s\"\ncommit_interval = 1"),
            &["2 commit_interval: 1 is a whole number"],
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(errors(text), *expected, "{text}");
    }
}

#[test]
fn a_store_in_object_storage_has_options() {
    let rows = [
        ("", BucketConfig::new("books", "acme/2026")),
        (
            "[store_options]\nregion = \"eu-west-1\"",
            BucketConfig {
                region: Some("eu-west-1".to_owned()),
                ..BucketConfig::new("books", "acme/2026")
            },
        ),
        (
            "[store_options]\nendpoint = \"http://127.0.0.1:7070/\"",
            BucketConfig {
                endpoint: Some("http://127.0.0.1:7070".to_owned()),
                ..BucketConfig::new("books", "acme/2026")
            },
        ),
        (
            "[store_options]\nendpoint = \"http://minio:9000\"\nallow_http = true",
            BucketConfig {
                endpoint: Some("http://minio:9000".to_owned()),
                allow_http: true,
                ..BucketConfig::new("books", "acme/2026")
            },
        ),
    ];
    for (options, expected) in rows {
        let text = with(&format!("store = \"s3://books/acme/2026/\"\n{options}"));
        let config = Config::parse(&text, Path::new("/base")).unwrap();
        assert_eq!(config.store, StoreLocation::Bucket(expected), "{options}");
    }
}

#[test]
fn what_is_no_toml_hides_no_other_mistake() {
    let found = errors(&format!("store = books\nworkers = 0\n{GOOD_SOURCE}"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("1 : this is no TOML"), "{found:?}");
    assert_eq!(found[1], "2 workers: 0 is out of range");
    let twice = errors(&with("store = \"a\"\nstore = \"b\""));
    assert_eq!(twice.len(), 1, "{twice:?}");
    assert!(twice[0].starts_with("2 : this is no TOML"), "{twice:?}");
}

fn with(text: &str) -> String {
    format!("{text}\n{GOOD_SOURCE}")
}

#[test]
fn remedies_suggest_what_was_meant() {
    let text = with("stroe = \"a\"");
    let errors = Config::parse(&text, Path::new("")).unwrap_err();
    assert_eq!(errors[0].remedy, "did you mean `store`?");
    let shown = ConfigErrors { origin: "trueup.toml".to_owned(), errors };
    assert!(shown.to_string().starts_with("trueup.toml: 2 errors\n  line 1: stroe: "));
}
