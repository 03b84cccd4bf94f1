//! Java and Kafka's jars: found on the machine, or downloaded once with Maven.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::prepared::prepare;
use crate::target_dir;

/// The version that `testing/kafka/pom.xml` names.
const KAFKA_VERSION: &str = "4.3.1";

/// The jars to download, which is also the recipe that the download is remembered by.
const POM: &str = include_str!("../../kafka/pom.xml");

/// Kafka 4's brokers need this Java (KIP-1013).
const JAVA_VERSION_MIN: u32 = 17;

const JAVA_HELP: &str = "Kafka needs Java 17 or later: install it \
    (Debian, Ubuntu: `apt-get install openjdk-17-jre-headless`) or point JAVA_HOME at one";

const MAVEN_HELP: &str = "Kafka's jars are downloaded with Maven: install it \
    (Debian, Ubuntu: `apt-get install maven`) and allow it to reach Maven Central";

/// A Java and the jars to run with it.
#[derive(Debug)]
pub(super) struct Install {
    java: PathBuf,
    class_path: PathBuf,
}

impl Install {
    /// Finds Java, and downloads the jars if no test on this machine did before.
    pub(super) fn find() -> anyhow::Result<Install> {
        let java = find_java().context(JAVA_HELP)?;
        let dir = target_dir().join(format!("trueup-kafka-{KAFKA_VERSION}"));
        prepare(&dir, POM, download)?;
        // Java itself expands the star to all jars of the directory.
        Ok(Install { java, class_path: jars(&dir).join("*") })
    }

    /// The command that runs `class`, small and quick to start rather than quick at length.
    pub(super) fn run(&self, class: &str, java_options: &[&str]) -> Command {
        let mut command = Command::new(&self.java);
        command
            .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .args(java_options)
            .arg("-cp")
            .arg(&self.class_path)
            .arg(class);
        command
    }
}

fn jars(dir: &Path) -> PathBuf {
    dir.join("jars")
}

fn download(dir: &Path) -> anyhow::Result<()> {
    let pom = dir.join("pom.xml");
    fs::write(&pom, POM).with_context(|| format!("cannot write {}", pom.display()))?;
    let output = Command::new("mvn")
        .args(["-q", "-B", "dependency:copy-dependencies", "-f"])
        .arg(&pom)
        .arg(format!("-DoutputDirectory={}", jars(dir).display()))
        .output()
        .context("cannot run `mvn`")
        .context(MAVEN_HELP)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        return Err(anyhow::anyhow!("`mvn` ended with {}\n{said}", output.status))
            .context(MAVEN_HELP);
    }
    Ok(())
}

fn find_java() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    let java = home.filter(|java| java.exists()).unwrap_or_else(|| PathBuf::from("java"));
    let output = Command::new(&java)
        .arg("-version")
        .output()
        .with_context(|| format!("cannot run `{} -version`", java.display()))?;
    // Java writes its version to standard error.
    let said = String::from_utf8_lossy(&output.stderr);
    match major_version(&said) {
        Some(version) if version >= JAVA_VERSION_MIN => Ok(java),
        Some(version) => bail!("`{}` is Java {version}", java.display()),
        None => bail!("`{} -version` said {said:?}", java.display()),
    }
}

/// Reads 17 from `openjdk version "17.0.15" 2025-04-15`. Java 8 calls itself "1.8", which reads as
/// 1 and is just as much too old.
fn major_version(said: &str) -> Option<u32> {
    let quoted = said.split('"').nth(1)?;
    quoted.split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_java_versions() {
        for (said, version) in [
            ("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime", Some(17)),
            ("Picked up _JAVA_OPTIONS: -Xmx1g\nopenjdk version \"21\" 2023-09-19", Some(21)),
            ("openjdk version \"25-ea\" 2025-09-16", Some(25)),
            ("java version \"1.8.0_402\"", Some(1)),
            ("", None),
        ] {
            assert_eq!(major_version(said), version, "{said}");
        }
    }

    #[test]
    fn pom_names_the_version() {
        assert_eq!(POM.matches(&format!("<version>{KAFKA_VERSION}</version>")).count(), 2);
    }
}
