//! The commands, one file each. Each returns when it is done, or an error whose exit code
//! [`crate::exit`] knows.
//!
//! Results go to standard output, everything said about them to standard error.

pub mod alerts;
pub mod append;
pub mod bench;
pub mod check;
mod child;
pub mod demo;
pub mod digest;
pub mod explain;
mod fields;
mod filter;
pub mod generate;
mod meter;
mod output;
pub mod plan;
pub mod quarantine;
pub mod query;
pub mod ready;
pub mod reconcile;
pub mod run;
mod sources;
mod store;
mod supervise;
pub mod torture;
pub mod verify;

use crate::cli::Command;

/// Does what was asked for.
///
/// # Errors
/// See [`crate::exit::Exit::of`] for what they mean.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Append(args) => append::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Query(args) => query::run(&args),
        Command::Digest(args) => digest::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Quarantine(args) => quarantine::run(&args),
        Command::Ready(args) => ready::run(&args),
        Command::Alerts(args) => alerts::run(&args),
        Command::Reconcile(args) => reconcile::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Plan(args) => plan::run(&args),
    }
}
