//! `trueup append`: JSONL into a local log.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use trueup_sources::local_log::append::{append, by_target_transaction};

use super::output::{grouped, note};
use crate::cli::AppendArgs;
use crate::exit;

/// Appends each file in turn. What has been appended stays when a later file fails; appending it
/// again is harmless, since an event that is there twice is counted once.
///
/// # Errors
/// A file that cannot be opened, before anything is appended; what the log says.
pub fn run(args: &AppendArgs) -> anyhow::Result<()> {
    let files = args.files.iter().filter(|file| file.as_path() != Path::new("-"));
    for file in files {
        if let Err(error) = File::open(file) {
            return Err(exit::usage(format!("{} cannot be read: {error}", file.display())));
        }
    }
    let (mut records, mut bytes, mut partitions) = (0, 0, 0);
    for file in &args.files {
        let name = file.display();
        let input: Box<dyn BufRead> = if file == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(file).with_context(|| format!("opening {name}"))?;
            Box::new(BufReader::with_capacity(1 << 20, file))
        };
        let summary = append(&args.log, args.partitions, input, by_target_transaction)
            .with_context(|| format!("appending {name}; append it again once this is cured"))?;
        records += summary.records;
        bytes += summary.bytes;
        partitions = summary.partitions;
        if summary.healed > 0 {
            note(&format!(
                "{}: {} torn last lines of a crashed writer were ended; they will be quarantined",
                args.log.display(),
                summary.healed
            ));
        }
    }
    note(&format!(
        "{} records ({} bytes) appended to {}, {partitions} partitions, durable",
        grouped(records),
        grouped(bytes),
        args.log.display()
    ));
    Ok(())
}
