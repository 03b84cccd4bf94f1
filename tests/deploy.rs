//! The examples in `deploy` say what the program understands, and their parts fit each other.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Parser;
use trueup::cli::{Cli, Command, RunArgs};
use trueup::config::{Config, StoreLocation};
use trueup::exit::Exit;
use yaml_rust2::{Yaml, YamlLoader};

fn example(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name))
        .unwrap()
}

fn run_args<'a>(args: impl IntoIterator<Item = &'a str>) -> RunArgs {
    match Cli::try_parse_from(args).unwrap().command {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_systemd_unit_starts_a_run_and_knows_the_exit_codes() {
    let text = example("trueup.service");
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.strip_suffix(']').unwrap().to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').unwrap();
        keys.entry(format!("{section}.{key}")).or_default().push(value.to_owned());
    }
    let one = |key: &str| match keys[key].as_slice() {
        [value] => value.as_str(),
        several => panic!("{key}: {several:?}"),
    };
    let args = run_args(one("Service.ExecStart").split(' '));
    assert_eq!(args.config, Some(PathBuf::from("/etc/trueup/trueup.toml")));
    assert!(!args.supervise, "systemd supervises already");
    assert_eq!(one("Service.Restart"), "on-failure");
    let not_again: Vec<u8> = one("Service.RestartPreventExitStatus")
        .split(' ')
        .map(|code| code.parse().unwrap())
        .collect();
    assert_eq!(not_again, [Exit::Difference, Exit::Usage, Exit::Fenced].map(Exit::code));
    assert!(one("Service.EnvironmentFile").starts_with('-'), "a process alone has none");
    assert_eq!(one("Install.WantedBy"), "multi-user.target");
}

/// The documents of a YAML file by kind.
fn documents(text: &str) -> BTreeMap<String, Yaml> {
    let documents = YamlLoader::load_from_str(text).unwrap();
    documents.into_iter().map(|one| (one["kind"].as_str().unwrap().to_owned(), one)).collect()
}

fn find<'a>(list: &'a Yaml, name: &str) -> &'a Yaml {
    let named = |one: &&Yaml| one["name"].as_str() == Some(name);
    list.as_vec().unwrap().iter().find(named).unwrap()
}

#[test]
fn the_pods_of_the_stateful_set_are_the_hosts_of_the_configuration() {
    let all = documents(&example("kubernetes.yaml"));
    let set = &all["StatefulSet"]["spec"];
    let config = all["ConfigMap"]["data"]["trueup.toml"].as_str().unwrap();
    let config = Config::parse(config, Path::new("/etc/trueup")).unwrap();
    let cluster = config.cluster.unwrap();

    let (name, service) = (&all["StatefulSet"]["metadata"]["name"], &all["Service"]);
    assert_eq!(set["serviceName"], service["metadata"]["name"]);
    assert_eq!(service["spec"]["clusterIP"].as_str(), Some("None"));
    assert_eq!(service["spec"]["publishNotReadyAddresses"].as_bool(), Some(true));
    assert_eq!(set["podManagementPolicy"].as_str(), Some("Parallel"));
    let labels = &set["template"]["metadata"]["labels"];
    assert_eq!(&set["selector"]["matchLabels"], labels);
    assert_eq!(&service["spec"]["selector"], labels);

    let pod = &set["template"]["spec"];
    let container = &pod["containers"][0];
    let port = container["ports"][0]["containerPort"].as_i64().unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"].as_i64(), Some(port));
    let (name, service) = (name.as_str().unwrap(), set["serviceName"].as_str().unwrap());
    let pods: Vec<String> =
        (0..set["replicas"].as_i64().unwrap()).map(|number| format!("{name}-{number}")).collect();
    let hosts: Vec<String> = pods.iter().map(|pod| format!("{pod}.{service}:{port}")).collect();
    assert_eq!(cluster.hosts, hosts);

    let process = &find(&container["env"], "TRUEUP_PROCESS")["valueFrom"]["fieldRef"]["fieldPath"];
    assert_eq!(process.as_str(), Some("metadata.name"));
    for (number, pod) in pods.iter().enumerate() {
        let given = container["args"].as_vec().unwrap().iter().map(|arg| arg.as_str().unwrap());
        let args = run_args(["trueup"].into_iter().chain(given).chain(["--process", pod]));
        assert_eq!(args.process, Some(number));
        assert_eq!(args.config, Some(PathBuf::from("/etc/trueup/trueup.toml")));
    }

    let mounts = &container["volumeMounts"];
    let below = |path: &Path, mount: &str| {
        let mount = find(mounts, mount)["mountPath"].as_str().unwrap();
        assert!(path.starts_with(mount), "{} is not below {mount}", path.display());
    };
    let tls = cluster.tls.unwrap();
    [&tls.ca, &tls.certificate, &tls.key].into_iter().for_each(|path| below(path, "tls"));
    match &config.store {
        StoreLocation::Directory(path) => below(path, "store"),
        other => panic!("{other} needs no volume"),
    }
    below(Path::new("/etc/trueup/trueup.toml"), "configuration");
    let claim = &find(&pod["volumes"], "store")["persistentVolumeClaim"]["claimName"];
    assert_eq!(claim, &all["PersistentVolumeClaim"]["metadata"]["name"]);
    let modes = &all["PersistentVolumeClaim"]["spec"]["accessModes"];
    assert_eq!(modes[0].as_str(), Some("ReadWriteMany"));
    let configured = &find(&pod["volumes"], "configuration")["configMap"]["name"];
    assert_eq!(configured, &all["ConfigMap"]["metadata"]["name"]);
}
