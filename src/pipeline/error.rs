//! Why a run ended, by what the operator should do.

use thiserror::Error;
use trueup_dataflow::store::StateError;
use trueup_ledger::Rules;
use trueup_sinks::{CommitError, CommitLog, Incompatible, LogError, SinkError, Store};
use trueup_sources::SourceError;

use crate::rules;

/// Why a run ended early, by what the operator should do.
#[derive(Debug, Error)]
pub enum RunError {
    /// Another process has taken over the store. Exit code 3.
    #[error("{0}; another trueup writes to this store, so this one stops")]
    Fenced(String),
    /// What was derived is not what was published. Exit code 1.
    #[error("{0}")]
    Difference(String),
    /// The configuration does not fit the store or the sources. Exit code 2.
    #[error("{0}")]
    Configuration(String),
    /// A source or the store failed for good. Exit code 4.
    #[error("{0}")]
    Failed(String),
}

impl From<SourceError> for RunError {
    fn from(error: SourceError) -> RunError {
        let text = chain(&error);
        match error {
            SourceError::Configuration { .. } => RunError::Configuration(text),
            _ => RunError::Failed(text),
        }
    }
}

impl From<LogError> for RunError {
    fn from(error: LogError) -> RunError {
        let text = chain(&error);
        match error {
            LogError::Broken(_) => RunError::Difference(text),
            LogError::Store(_) => RunError::Failed(text),
        }
    }
}

impl From<StateError> for RunError {
    fn from(error: StateError) -> RunError {
        let text = chain(&error);
        match error {
            StateError::Busy { .. } => RunError::Fenced(text),
            _ => RunError::Failed(text),
        }
    }
}

impl From<SinkError> for RunError {
    fn from(error: SinkError) -> RunError {
        RunError::Failed(chain(&error))
    }
}

impl From<CommitError> for RunError {
    fn from(error: CommitError) -> RunError {
        match error {
            CommitError::Log(error) => error.into(),
            CommitError::Fenced { .. } => RunError::Fenced(chain(&error)),
            _ => RunError::Failed(chain(&error)),
        }
    }
}

/// Says why a log cannot be gone on with under `ours`, and which of the rules it has otherwise.
pub(super) fn incompatible<S: Store>(
    error: Incompatible,
    log: &CommitLog<S>,
    ours: &Rules,
) -> RunError {
    let text = chain(&error);
    match error {
        Incompatible::Log(error) => error.into(),
        Incompatible::Configuration { .. } => {
            let head =
                log.head().and_then(|head| head.map(|(epoch, _)| log.read(epoch)).transpose());
            let theirs = match head {
                Ok(head) => head.and_then(|head| head.rules),
                Err(error) => return error.into(),
            };
            let differences = match rules::read(theirs.as_deref()) {
                Ok(theirs) => rules::differences(&theirs, ours).join("; "),
                Err(error) => error.to_string(),
            };
            if differences.is_empty() {
                return RunError::Configuration(format!(
                    "{text}; no rule differs, so another version of trueup may have written the \
                     store: make another one from the log"
                ));
            }
            RunError::Configuration(format!(
                "{text}: {differences}; [[processor]] and [detectors] of a store with commits cannot \
                 be changed, since rows depend on them: put them back, or make another store from \
                 the log"
            ))
        }
        _ => RunError::Configuration(text),
    }
}

/// Returns an error with its causes, as one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
