//! `trueup plan`: the load that is asked about.

use std::path::PathBuf;

use clap::Args;

use super::WorkloadName;
use crate::config::ConfigErrors;
use crate::plan::inputs::{Inputs, Texts, Workload};

/// `trueup plan`
///
/// Values are taken as texts, so that all mistakes are told at once. K, M and B stand for thousands,
/// millions and billions.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The most events of a second
    #[arg(long, value_name = "N", default_value = "25000")]
    pub peak_events: String,
    /// All events of a day, as 1200000000, 1_200_000_000 or 1.2B
    #[arg(long, value_name = "N", default_value = "1.2B")]
    pub events_per_day: String,
    /// How many bytes a record has in the log
    #[arg(long, value_name = "N", default_value = "1200")]
    pub record_bytes: String,
    /// Days after which state, copies and deltas are looked at first
    #[arg(long, value_name = "N", default_value = "90")]
    pub hot_days: String,
    /// Days after which they are looked at again; deltas and commits are kept for good
    #[arg(long, value_name = "N", default_value = "2557")]
    pub history_days: String,
    /// How many accounts there are, each counted in each of its currencies
    #[arg(long, value_name = "N", default_value = "10M")]
    pub accounts: String,
    /// Percent of the events that correct an earlier transaction
    #[arg(long, value_name = "N", default_value = "3")]
    pub corrections_percent: String,
    /// How many processes [default: as many as --cores-per-process asks for]
    #[arg(long, value_name = "N")]
    pub processes: Option<String>,
    /// How many workers, and cores, a process has at most where --processes does not say
    #[arg(long, value_name = "N", default_value = "16")]
    pub cores_per_process: String,
    /// How long an epoch lasts, 10ms to 1h
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub commit_interval: String,
    /// How long after one checkpoint the next is taken, 10ms to 1h
    #[arg(long, value_name = "TIME", default_value = "15s")]
    pub checkpoint_interval: String,
    /// state.memory_limit of each process
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    pub memory_limit: String,
    /// Percent of the cores that the peak may use
    #[arg(long, value_name = "N", default_value = "60")]
    pub target_utilisation: String,
    /// How long the outage was that is caught up with
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub outage: String,
    /// How often a month all processes start
    #[arg(long, value_name = "N", default_value = "4")]
    pub restarts_per_month: String,
    /// Percent of what comes from the log and goes between processes that crosses zones
    #[arg(long, value_name = "N", default_value = "67")]
    pub cross_zone_percent: String,
    /// Milliseconds that the object store takes for one request
    #[arg(long, value_name = "N", default_value = "50")]
    pub request_ms: String,
    /// Which records were measured that these are like
    #[arg(long, value_enum, default_value_t = WorkloadName::Ledger)]
    pub workload: WorkloadName,
    /// A file with a section `[prices]` [default: list prices, see docs/capacity.md]
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Print JSON: every number exact, with its unit and where it comes from
    #[arg(long)]
    pub json: bool,
}

impl PlanArgs {
    /// Reads what is asked.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn inputs(&self) -> Result<Inputs, ConfigErrors> {
        let workload = match self.workload {
            WorkloadName::Ledger => Workload::Ledger,
            WorkloadName::Hostile => Workload::Hostile,
        };
        let texts = Texts {
            peak_events: &self.peak_events,
            events_per_day: &self.events_per_day,
            record_bytes: &self.record_bytes,
            hot_days: &self.hot_days,
            history_days: &self.history_days,
            accounts: &self.accounts,
            corrections_percent: &self.corrections_percent,
            processes: self.processes.as_deref(),
            cores_per_process: &self.cores_per_process,
            commit_interval: &self.commit_interval,
            checkpoint_interval: &self.checkpoint_interval,
            memory_limit: &self.memory_limit,
            target_utilisation: &self.target_utilisation,
            outage: &self.outage,
            restarts_per_month: &self.restarts_per_month,
            cross_zone_percent: &self.cross_zone_percent,
            request_ms: &self.request_ms,
        };
        Inputs::read(workload, &texts)
    }
}
