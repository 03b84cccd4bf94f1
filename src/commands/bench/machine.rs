//! Where it was measured, as far as Linux says.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;

/// The machine, the program and the day.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    cpu: String,
    cores: usize,
    memory_bytes: u64,
    kernel: String,
    /// The type of the file system that was worked on.
    file_system: String,
    program: String,
    /// Whether the program was built with optimisations.
    optimised: bool,
    at: String,
}

impl Machine {
    /// Describes this machine, with the file system of a folder.
    pub(super) fn describe(folder: &Path) -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
        Machine {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kib * 1024,
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            file_system: file_system(&read("/proc/self/mounts"), folder),
            program: format!("trueup {}", env!("CARGO_PKG_VERSION")),
            optimised: !cfg!(debug_assertions),
            at: now.strftime("%Y-%m-%dT%H:%MZ").to_string(),
        }
    }

    /// Says why the figures may mean little.
    pub(super) fn doubt(&self) -> Option<String> {
        if !self.optimised {
            return Some(
                "this program was built without optimisations: its times mean nothing".into(),
            );
        }
        let memory = ["tmpfs", "ramfs"].contains(&self.file_system.as_str());
        memory.then(|| {
            format!(
                "the directory lies on {}, where nothing is written to a disk; --dir names another",
                self.file_system
            )
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} cores, {} GiB, {}, {}; {}{}, {}",
            self.cpu,
            self.cores,
            self.memory_bytes >> 30,
            self.kernel,
            self.file_system,
            self.program,
            if self.optimised { "" } else { " without optimisations" },
            self.at
        )
    }
}

/// Finds the type of the file system that a folder lies on: that of its longest mount point.
fn file_system(mounts: &str, folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let below = mounts.filter(|(point, _)| folder.starts_with(point));
    let longest = below.max_by_key(|(point, _)| point.len());
    longest.map_or("unknown", |(_, kind)| kind).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_longest_mount_point() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/nowhere/bench")), "ext4");
        assert_eq!(file_system(mounts, Path::new("/dev/shm/bench")), "tmpfs");
        assert_eq!(file_system("", Path::new("/")), "unknown");
    }
}
