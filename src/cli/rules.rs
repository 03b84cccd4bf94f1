//! The flags that stand in for the sections `[[processor]]` and `[detectors]`.

use std::time::Duration;

use clap::Args;
use trueup_ledger::Timestamp;

use crate::config::RuleFlags;
use crate::config::rules;

/// The rules of a run without a file.
#[derive(Debug, Args)]
pub struct RuleArgs {
    /// The account that a processor's statement lines are compared with; may be given several times
    #[arg(long, value_name = "PROCESSOR=ACCOUNT", conflicts_with = "config",
          value_parser = rules::clearing)]
    pub clearing: Vec<(String, String)>,
    /// Show events that arrive later than this behind their recorded_at, as 1h or 2d [default: none]
    #[arg(long, value_name = "TIME", conflicts_with = "config", value_parser = rules::delay)]
    pub delayed_event_after: Option<Duration>,
    /// Judge only events that were recorded at or after this instant [default: all]
    #[arg(long, value_name = "RFC3339", conflicts_with = "config", value_parser = rules::instant)]
    pub delayed_event_since: Option<Timestamp>,
    /// How long a statement and the ledger may differ before it is shown [default: 3d]
    #[arg(long, value_name = "TIME", conflicts_with = "config", value_parser = rules::delay)]
    pub statement_mismatch_after: Option<Duration>,
    /// How long an imbalance lasts before an alert is raised, 0s to 30d [default: 5m]
    #[arg(long, value_name = "TIME", conflicts_with = "config", value_parser = rules::grace)]
    pub alert_grace: Option<Duration>,
}

impl RuleArgs {
    /// Returns the same as the configuration takes it.
    #[must_use]
    pub fn flags(&self) -> RuleFlags {
        RuleFlags {
            clearing: self.clearing.clone(),
            delayed_event_after: self.delayed_event_after,
            delayed_event_since: self.delayed_event_since,
            statement_mismatch_after: self.statement_mismatch_after,
            alert_grace: self.alert_grace,
        }
    }
}
