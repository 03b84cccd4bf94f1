//! The `trueup` program: parse, run, and end with the code that SPEC §8 gives.

use std::ffi::c_long;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use libmimalloc_sys::{mi_option_get, mi_option_set_default, mi_option_t};
use signal_hook::consts::SIGXFSZ;
use tracing_subscriber::EnvFilter;
use trueup::cli::{Cli, Command};
use trueup::commands;
use trueup::exit::{self, Exit};

/// A sixth to a quarter less time than with the system's allocator: rows and states are many
/// small pieces that one thread makes and another frees; see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long freed memory is kept before the system gets it back, in milliseconds. A load fills and frees
/// hundreds of megabytes with each epoch and each checkpoint; what comes back has to be zeroed.
const KEPT_MS: c_long = 10_000;

fn main() -> ExitCode {
    keep_freed_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, which may be closed.
            let _ = error.print();
            let usage = error.use_stderr();
            return if usage { Exit::Usage } else { Exit::Done }.into();
        }
    };
    log_to_stderr(&cli);
    tell_of_file_size_limit();
    match commands::run(cli.command) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            let exit = Exit::of(&error);
            if exit != Exit::Done {
                let _ = writeln!(io::stderr(), "error: {}", exit::describe(&error));
            }
            exit.into()
        }
    }
}

/// Sets how long the allocator keeps freed memory, unless the environment says it: `MIMALLOC_PURGE_DELAY`.
#[expect(unsafe_code, reason = "the allocator has no other way to be told by the program")]
fn keep_freed_memory() {
    /// `mi_option_purge_delay` of mimalloc 3, and its default. Whatever has another number in another version
    /// has another default, and is left alone.
    const PURGE_DELAY: (mi_option_t, c_long) = (15, 1_000);
    let (option, default) = PURGE_DELAY;
    // SAFETY: these read and write one number. They are not to be called by several threads at once, and
    // there is one.
    unsafe {
        if mi_option_get(option) == default {
            mi_option_set_default(option, KEPT_MS);
        }
    }
}

/// Lets a write beyond the limit of file sizes (`ulimit -f`) fail with an error that is told, in
/// place of the signal that ends the program without a word.
fn tell_of_file_size_limit() {
    // Where no handler can be set, the signal still stops the program before harm is done.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

/// Logs warnings, and what a run without a terminal does; `-v` and `RUST_LOG` say more.
fn log_to_stderr(cli: &Cli) {
    let watched = io::stderr().is_terminal();
    let level = match (cli.verbose, &cli.command) {
        (0, Command::Run(_)) if !watched => "info",
        (0, _) => "warn",
        (1, _) => "info",
        (_, _) => "debug",
    };
    // The Kafka client reports every attempt to connect; what matters of it, the source says. The
    // store of states speaks of its own files.
    let levels = format!("{level},librdkafka=off,rdkafka=off,fjall=warn,lsm_tree=warn");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(levels));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(watched)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "as `keep_freed_memory`")]
    fn freed_memory_is_kept_unless_the_environment_says_how_long() {
        keep_freed_memory();
        let told = std::env::var("MIMALLOC_PURGE_DELAY").ok().and_then(|told| told.parse().ok());
        // SAFETY: it reads one number, which nothing else in this program writes.
        assert_eq!(unsafe { mi_option_get(15) }, told.unwrap_or(KEPT_MS));
    }
}
