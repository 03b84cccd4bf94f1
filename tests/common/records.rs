//! Generated records as tests need them: line by line, with what was planted, put into logs.

use std::fs;
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use trueup::generate::{Generator, RecordKind, Summary, Workload};

/// Records in the order they were generated in.
pub struct Records {
    pub lines: Vec<Vec<u8>>,
    pub kinds: Vec<RecordKind>,
    pub summary: Summary,
}

impl Records {
    /// Generates a hostile workload of a few tenants, poison included.
    pub fn generate(events: u64, seed: u64) -> Records {
        let workload = Workload { events, seed, tenants: 5, ..Workload::default() };
        let mut generator = Generator::new(&workload);
        let (mut lines, mut kinds) = (Vec::new(), Vec::new());
        let mut line = Vec::new();
        while let Some(kind) = generator.next_record(&mut line) {
            lines.push(std::mem::take(&mut line));
            kinds.push(kind);
        }
        Records { lines, kinds, summary: generator.summary().clone() }
    }

    /// Returns the lines in another order, which the seed decides.
    pub fn shuffled(&self, seed: u64) -> Vec<Vec<u8>> {
        let mut lines = self.lines.clone();
        lines.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        lines
    }

    /// Returns every line twice, the second time somewhere behind the first.
    pub fn doubled(&self, seed: u64) -> Vec<Vec<u8>> {
        let mut lines = self.lines.clone();
        lines.extend(self.shuffled(seed));
        lines
    }
}

/// Writes a file of lines.
pub fn write_lines<'a>(path: &Path, lines: impl IntoIterator<Item = &'a Vec<u8>>) {
    fs::write(path, joined(lines)).unwrap();
}

/// Appends lines to a file, in one write.
pub fn append_lines<'a>(path: &Path, lines: impl IntoIterator<Item = &'a Vec<u8>>) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(&joined(lines)).unwrap();
}

fn joined<'a>(lines: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    bytes
}

/// Writes a log of `partitions` folders with two files each; line n goes to folder n modulo.
pub fn write_log(path: &Path, lines: &[Vec<u8>], partitions: usize) {
    for partition in 0..partitions {
        let folder = path.join(format!("{partition:04}"));
        fs::create_dir_all(&folder).unwrap();
        let own: Vec<_> = lines.iter().skip(partition).step_by(partitions).collect();
        let (first, second) = own.split_at(own.len() / 3);
        write_lines(&folder.join("2026-01.jsonl"), first.iter().copied());
        write_lines(&folder.join("2026-02.jsonl"), second.iter().copied());
    }
}
