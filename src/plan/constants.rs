//! The measured constants: what a record of a workload costs, by `benches/capacity/measure.py`.
//!
//! Their one place is `constants.toml`, which that script writes as a whole; here is what each means.

use serde::{Deserialize, Serialize};

/// The constants as they are built into the program.
const BUILT_IN: &str = include_str!("constants.toml");

/// All that was measured, and where.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constants {
    /// The day, as 2026-11-26.
    pub measured: String,
    /// The machine, and what else it did.
    pub machine: String,
    /// The two numbers of records between which slopes were taken.
    pub sizes: [u64; 2],
    /// Of `trueup generate --workload ledger`.
    pub ledger: Mix,
    /// Of `trueup generate`, with everything that a log can do to its readers.
    pub hostile: Mix,
}

macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident: $unit:literal, $how:literal;)*) => {
        /// What one mix of records costs.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        pub struct Mix {
            $(#[doc = concat!($unit, "; ", $how, ".")] pub $name: u64,)*
        }

        impl Mix {
            /// Returns the constants with name, value, unit and how each was measured.
            #[must_use]
            pub fn listed(&self) -> Vec<Listed> {
                vec![$(Listed {
                    name: stringify!($name),
                    value: self.$name,
                    unit: $unit,
                    how: $how,
                },)*]
            }
        }
    };
}

/// A constant, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name in `constants.toml`.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// Its unit.
    pub unit: &'static str,
    /// How it was measured.
    pub how: &'static str,
}

constants! {
    cpu_ms_per_million_records: "ms", "user and system time of a run as it is by default with 2 \
        workers, slope";
    cpu_ms_per_million_records_from_disk: "ms", "the same at a limit of 256 MiB, with most of the state \
        on disk only, slope";
    cpu_ms_per_million_corrections: "ms", "the same, all in memory, of corrections of any earlier transaction, 100 % \
        of the records, slope";
    transactions_per_million_records: "transactions", "keys of the state, slope";
    posting_rows_per_million_records: "rows", "of the view `postings`, retractions too, slope";
    delta_bytes_per_million_records: "bytes", "delta and quarantine files in epochs of 25,000, less \
        what files cost without rows, slope";
    delta_bytes_per_million_corrections: "bytes", "the same of corrections alone, slope";
    delta_bytes_per_file: "bytes", "what epochs of 2,500 in place of 25,000 add, by file";
    files_per_worker_and_commit: "files", "views with changes, and quarantine, in epochs of 25,000, \
        rounded up";
    commit_bytes_per_file: "bytes", "commit records, by the files that they name, rounded up";
    state_bytes_per_transaction: "bytes", "keys and values of a copy of all that grow with \
        transactions, not compressed";
    state_bytes_per_account: "bytes", "the same of an account in one of its currencies: sums, names, \
        terms";
    state_bytes_per_account_and_day: "bytes", "the same of an account's day";
    disk_percent_of_state: "%", "blocks of the state directory to keys and values";
    copy_percent_of_state: "%", "Parquet of a copy of all to its keys and values";
    gathered_percent_of_changes: "%", "memory that calls for a checkpoint to the keys and values \
        that it writes, at a limit of 256 MiB";
    checkpoint_bytes_per_second: "bytes/s", "keys and values of the largest checkpoint by the time \
        that its copy and ingestion took, one process, beside the work";
    peak_memory_mib_beside_limit: "MiB", "most resident memory less the limit, at 256 MiB";
    wire_bytes_per_record: "bytes", "what two processes send each other without TLS, twice, slope";
}

impl Constants {
    /// Reads constants.
    ///
    /// # Errors
    /// What is missing, not known or no whole number.
    pub fn parse(text: &str) -> Result<Constants, toml::de::Error> {
        toml::from_str(text)
    }

    /// Returns the constants of this program.
    ///
    /// # Errors
    /// None in a program that was tested: what is built in is read by its tests.
    pub fn built_in() -> Result<Constants, toml::de::Error> {
        Constants::parse(BUILT_IN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_complete() {
        let constants = Constants::built_in().unwrap();
        for mix in [&constants.ledger, &constants.hostile] {
            for constant in mix.listed() {
                assert!(constant.value > 0, "{}", constant.name);
            }
            assert!(mix.transactions_per_million_records <= 1_000_000);
        }
        assert!(constants.sizes[0] < constants.sizes[1]);
    }

    #[test]
    fn what_is_missing_or_unknown_is_said() {
        let error = Constants::parse("measured = \"now\"").unwrap_err();
        assert!(error.message().contains("missing field"), "{error}");
        let unknown = format!("{BUILT_IN}\nspeed = 1\n");
        assert!(Constants::parse(&unknown).unwrap_err().message().contains("unknown field"));
    }
}
