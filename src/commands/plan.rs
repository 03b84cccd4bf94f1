//! `trueup plan`: what a load needs, by the model of [`crate::plan`].

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::output::line;
use crate::cli::PlanArgs;
use crate::config::{ConfigError, ConfigErrors};
use crate::plan::constants::Constants;
use crate::plan::prices::Prices;
use crate::plan::report::Report;

/// Prints the plan.
///
/// # Errors
/// As [`report`], and what standard output says.
pub fn run(args: &PlanArgs) -> anyhow::Result<()> {
    let report = report(args)?;
    if args.json {
        line(&serde_json::to_string_pretty(&report)?)
    } else {
        line(report.text().trim_end())
    }
}

/// Makes the plan.
///
/// # Errors
/// Every value that is wrong, of the flags and of the file of prices together.
pub fn report(args: &PlanArgs) -> anyhow::Result<Report> {
    let (inputs, prices) = match (args.inputs(), prices(args.prices.as_deref())) {
        (Ok(inputs), Ok(prices)) => (inputs, prices),
        (Err(errors), Ok(_)) | (Ok(_), Err(errors)) => return Err(errors.into()),
        (Err(mut errors), Err(more)) => {
            errors.origin = format!("{} and {}", errors.origin, more.origin);
            errors.errors.extend(more.errors);
            return Err(errors.into());
        }
    };
    let constants = Constants::built_in().context("reading the built-in constants")?;
    Ok(Report::of(&inputs, &constants, &prices))
}

fn prices(file: Option<&Path>) -> Result<Prices, ConfigErrors> {
    let Some(file) = file else { return Prices::built_in() };
    let origin = file.display().to_string();
    let unread = |error: std::io::Error| ConfigErrors {
        origin: origin.clone(),
        errors: vec![ConfigError {
            key: "--prices".to_owned(),
            line: None,
            problem: format!("it cannot be read: {error}"),
            remedy: "name a file with a section [prices], see docs/capacity.md".to_owned(),
        }],
    };
    Prices::parse(&fs::read_to_string(file).map_err(unread)?, &origin)
}
