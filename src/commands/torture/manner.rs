//! How a run is to work: drawn for runs that are disturbed, left as it is for those that prove.

use std::net::TcpListener;
use std::path::Path;

use anyhow::Context;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use toml::{Table, Value};

/// What a run is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Manner {
    /// Keys of the configuration; what is not here is as by default.
    settings: Vec<(&'static str, Value)>,
    /// Whether the run ends once everything is committed.
    until_caught_up: bool,
}

impl Manner {
    /// Draws how a run is to work that will be killed.
    pub(super) fn drawn(workers: &[usize], draw: &mut ChaCha8Rng) -> Manner {
        let workers = workers[draw.random_range(0..workers.len())];
        let records = draw.random_range(10..300_i64);
        let checkpoints = ["10ms", "50ms", "1s"][draw.random_range(0..3_usize)];
        Manner {
            settings: vec![
                ("workers", Value::Integer(i64::try_from(workers).unwrap_or(1))),
                ("commit_max_records", Value::Integer(records)),
                ("commit_interval", Value::String("50ms".to_owned())),
                ("checkpoint_interval", Value::String(checkpoints.to_owned())),
                ("memory_limit", Value::String("64MiB".to_owned())),
            ],
            until_caught_up: false,
        }
    }

    /// By default, until everything is committed.
    pub(super) fn to_the_end() -> Manner {
        Manner { until_caught_up: true, ..Manner::default() }
    }

    /// Returns what the command line ends with, whatever says the rest.
    pub(super) fn ending(&self) -> &'static [&'static str] {
        if self.until_caught_up { &["--until-caught-up"] } else { &[] }
    }

    /// Returns the settings as flags.
    pub(super) fn flags(&self) -> Vec<String> {
        let flag = |(key, value): &(&str, Value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            [format!("--{}", key.replace('_', "-")), text]
        };
        self.settings.iter().flat_map(flag).collect()
    }

    /// Returns a configuration file for a cluster of so many processes on this machine.
    ///
    /// # Errors
    /// Where there are no free ports, or a path is no text.
    pub(super) fn file(
        &self,
        store: &Path,
        log: &Path,
        processes: usize,
    ) -> anyhow::Result<String> {
        let text = |text: &str| Value::String(text.to_owned());
        let path = |path: &Path| {
            let path = std::path::absolute(path).context("finding a path")?;
            Ok::<_, anyhow::Error>(text(path.to_str().context("a path is no text")?))
        };
        let (mut root, mut state) = (Table::new(), Table::new());
        root.insert("store".to_owned(), path(store)?);
        for (key, value) in &self.settings {
            let of_state = matches!(*key, "checkpoint_interval" | "memory_limit");
            let table = if of_state { &mut state } else { &mut root };
            table.insert((*key).to_owned(), value.clone());
        }
        if !state.is_empty() {
            root.insert("state".to_owned(), Value::Table(state));
        }
        // All at once, so that each is another one.
        let ports = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0"));
        let ports = ports.collect::<Result<Vec<_>, _>>().context("looking for free ports")?;
        let mut hosts = Vec::new();
        for port in &ports {
            hosts.push(text(&port.local_addr().context("looking for free ports")?.to_string()));
        }
        let cluster = [("id", text("torture")), ("hosts", Value::Array(hosts))];
        let source = [("name", text("input")), ("type", text("local_log")), ("path", path(log)?)];
        let table = |pairs: Vec<(&str, Value)>| {
            Value::Table(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        root.insert("cluster".to_owned(), table(cluster.into()));
        root.insert("source".to_owned(), Value::Array(vec![table(source.into())]));
        toml::to_string(&root).context("writing a configuration")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::config::Config;

    #[test]
    fn the_file_of_a_cluster_is_a_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let mut draw = ChaCha8Rng::seed_from_u64(1);
        for manner in [Manner::drawn(&[3], &mut draw), Manner::to_the_end()] {
            let text = manner.file(&dir.path().join("st ore"), dir.path(), 2).unwrap();
            let path = dir.path().join("trueup.toml");
            std::fs::write(&path, &text).unwrap();
            let config = Config::load(&path).unwrap();
            assert_eq!(config.cluster.map(|cluster| cluster.hosts.len()), Some(2), "{text}");
            assert!(manner.until_caught_up || config.workers == 3, "{text}");
        }
    }
}
