//! `trueup check`: a configuration, and whether its paths can be used and its bucket be reached.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{output, store};
use crate::cli::CheckArgs;
use crate::cluster;
use crate::config::{
    Config, ConfigError, ConfigErrors, SourceConfig, StoreLocation, TransportConfig,
};
use crate::exit;

/// Checks everything, changes nothing, and prints a summary.
///
/// # Errors
/// [`ConfigErrors`] with everything that is wrong.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    let mut errors = Vec::new();
    let unusable = match &config.store {
        StoreLocation::Directory(path) => writable(path).err().map(|error| {
            let problem = format!("{} cannot be written: {error}", path.display());
            (problem, "name a directory that this user may write, or may make")
        }),
        // That it may be written to shows when a run opens it: here nothing is changed.
        bucket @ StoreLocation::Bucket(_) => store::reach(bucket).err().map(|error| {
            let remedy = "docs/operations.md says what a bucket needs, and where credentials are \
                          looked for";
            (exit::describe(&error), remedy)
        }),
    };
    if let Some((problem, remedy)) = unusable {
        let (key, remedy) = ("store".to_owned(), remedy.to_owned());
        errors.push(ConfigError { key, line: None, problem, remedy });
    }
    for (index, source) in config.sources.iter().enumerate() {
        if let TransportConfig::LocalLog { path } = &source.transport
            && let Err(error) = readable(path)
        {
            errors.push(ConfigError {
                key: format!("source[{index}].path"),
                line: None,
                problem: format!("{} cannot be read: {error}", path.display()),
                remedy: "name a local log or a .jsonl file that this user may read".to_owned(),
            });
        }
    }
    if let Some(tls) = config.cluster.as_ref().and_then(|cluster| cluster.tls.as_ref())
        && let Err(error) = cluster::check_certificates(tls)
    {
        errors.push(error);
    }
    if !errors.is_empty() {
        let origin = args.config.display().to_string();
        return Err(ConfigErrors { origin, errors }.into());
    }
    output::line(&summary(&config, &args.config))
}

/// Checks that files can be made in a directory, or the directory itself; leaves nothing behind.
fn writable(path: &Path) -> io::Result<()> {
    if path.exists() {
        if !path.is_dir() {
            return Err(io::Error::other("it is no directory"));
        }
        return tempfile::tempfile_in(path).map(|_| ());
    }
    let parent = path.parent().map(|parent| match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    });
    match parent {
        Some(parent) => writable(parent),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

fn readable(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return fs::read_dir(path).map(|_| ());
    }
    File::open(path).map(|_| ())
}

fn summary(config: &Config, path: &Path) -> String {
    let sources: Vec<String> = config.sources.iter().map(described).collect();
    let cluster = config.cluster.as_ref().map_or_else(String::new, |cluster| {
        let how = if cluster.tls.is_some() { "TLS" } else { "no TLS, on this machine alone" };
        format!("\n  cluster {}: {} processes, {how}", cluster.id, cluster.hosts.len())
    });
    format!(
        "{} is right\n  store: {}\n  amounts: {} fraction digits\n  workers: {}\n  commits: every \
         {} ms or {} records\n{}{cluster}",
        path.display(),
        config.store,
        config.amount_scale.digits(),
        config.workers,
        config.commit_interval.as_millis(),
        config.commit_max_records,
        sources.join("\n")
    )
}

fn described(source: &SourceConfig) -> String {
    let place = match &source.transport {
        TransportConfig::LocalLog { path } => path.display().to_string(),
        TransportConfig::Kafka { brokers, topic, .. } => format!("topic {topic} of {brokers}"),
    };
    let backfill = if source.backfill { ", a backfill" } else { "" };
    format!("  source {}: {place}{backfill}", source.name)
}
