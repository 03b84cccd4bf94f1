//! How the program ends: the exit codes of SPEC §8, and which error means which.
//!
//! Guarantee: every error that reaches `main` has exactly one code, found by looking through its
//! chain for the first error whose meaning is known; what is unknown counts as "failed for good".

use std::fmt;
use std::process::ExitCode;

use trueup_sinks::{LogError, SinkError, StoreError};
use trueup_sources::SourceError;
use trueup_sources::local_log::append::AppendError;

use crate::cluster::ClusterError;
use crate::config::ConfigErrors;
use crate::pipeline::RunError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: something is not what it should be.
    Difference,
    /// 2: bad usage or configuration.
    Usage,
    /// 3: another process has taken over the store.
    Fenced,
    /// 4: a source or a sink failed for good.
    Failed,
}

impl Exit {
    /// Returns the code for the operating system.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Difference => 1,
            Exit::Usage => 2,
            Exit::Fenced => 3,
            Exit::Failed => 4,
        }
    }

    /// Finds out what an error means.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Exit {
        error.chain().find_map(known).unwrap_or(Exit::Failed)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

fn known(error: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(stated) = error.downcast_ref::<Stated>() {
        return Some(stated.exit);
    }
    if is_output_closed(error) {
        return Some(Exit::Done);
    }
    if error.is::<ConfigErrors>() {
        return Some(Exit::Usage);
    }
    if let Some(error) = error.downcast_ref::<RunError>() {
        return Some(match error {
            RunError::Fenced(_) => Exit::Fenced,
            RunError::Difference(_) => Exit::Difference,
            RunError::Configuration(_) => Exit::Usage,
            RunError::Failed(_) => Exit::Failed,
        });
    }
    if let Some(error) = error.downcast_ref::<ClusterError>() {
        return Some(match error {
            ClusterError::Configuration(_) => Exit::Usage,
            ClusterError::NotJoined(_) => Exit::Failed,
        });
    }
    if let Some(error) = error.downcast_ref::<SinkError>() {
        return Some(of_sink(error));
    }
    if let Some(error) = error.downcast_ref::<LogError>() {
        return Some(of_log(error));
    }
    if let Some(error) = error.downcast_ref::<SourceError>() {
        return Some(match error {
            SourceError::Changed { .. } => Exit::Difference,
            SourceError::Configuration { .. } => Exit::Usage,
            SourceError::Unavailable { .. } | SourceError::Failed { .. } => Exit::Failed,
        });
    }
    match error.downcast_ref::<AppendError>() {
        Some(AppendError::NotALog { .. }) => Some(Exit::Usage),
        Some(AppendError::Locked(_) | AppendError::Io { .. }) => Some(Exit::Failed),
        None => error.is::<StoreError>().then_some(Exit::Failed),
    }
}

fn of_sink(error: &SinkError) -> Exit {
    match error {
        SinkError::Damaged { .. } | SinkError::BadTotal { .. } => Exit::Difference,
        SinkError::NotCommitted { .. } => Exit::Usage,
        SinkError::Log(error) => of_log(error),
        SinkError::Store(_)
        | SinkError::AmountTooWide { .. }
        | SinkError::Arrow { .. }
        | SinkError::Parquet { .. } => Exit::Failed,
    }
}

fn of_log(error: &LogError) -> Exit {
    match error {
        LogError::Broken(_) => Exit::Difference,
        LogError::Store(_) => Exit::Failed,
    }
}

/// An error whose text says what is wrong and what to do, and which exit code it has.
#[derive(Debug)]
pub struct Stated {
    exit: Exit,
    text: String,
}

impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Stated {}

/// Builds the error of a mistake in the call or the configuration.
pub fn usage(text: impl Into<String>) -> anyhow::Error {
    stated(Exit::Usage, text)
}

/// Builds the error of something that is not what it should be.
pub fn difference(text: impl Into<String>) -> anyhow::Error {
    stated(Exit::Difference, text)
}

/// Builds the error of a source, a sink or a file that failed.
pub fn failed(text: impl Into<String>) -> anyhow::Error {
    stated(Exit::Failed, text)
}

fn stated(exit: Exit, text: impl Into<String>) -> anyhow::Error {
    let text = text.into();
    anyhow::Error::new(Stated { exit, text })
}

/// The reader of the standard output went away (`trueup query … | head`): a silent end.
#[derive(Debug)]
pub struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of the output has gone")
    }
}

impl std::error::Error for OutputClosed {}

/// Says whether an error is that the reader of the standard output went away.
#[must_use]
pub fn is_output_closed(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<OutputClosed>() || inner.and_then(|e| e.downcast_ref::<OutputClosed>()).is_some()
}

/// Returns the whole chain of an error as one text, each cause once.
#[must_use]
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use std::io;
    use trueup_ledger::Epoch;

    #[test]
    fn context_does_not_hide_what_an_error_means() {
        let (wanted, head) = (Epoch(9), Epoch(3));
        let error = anyhow::Error::new(SinkError::NotCommitted { wanted, head }).context("reading");
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert_eq!(describe(&error), "reading: epoch 9 is not committed; the last one is 3");
        let fenced = anyhow::Error::new(RunError::Fenced("epoch 4".to_owned()));
        assert_eq!(Exit::of(&fenced.context("running")), Exit::Fenced);
        assert_eq!(Exit::of(&anyhow::anyhow!("what is this")), Exit::Failed);
        assert_eq!(Exit::of(&usage("no such thing")).code(), 2);
        assert_eq!(Exit::of(&difference("no").context("x")).code(), 1);
    }

    #[test]
    fn a_closed_output_is_no_failure() {
        let closed: io::Result<()> = Err(io::Error::new(io::ErrorKind::BrokenPipe, OutputClosed));
        let error = closed.context("writing").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Done);
        let other: io::Result<()> = Err(io::ErrorKind::BrokenPipe.into());
        assert_eq!(Exit::of(&other.context("a socket").unwrap_err()), Exit::Failed);
    }
}
