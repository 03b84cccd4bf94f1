//! A plan as figures, each with the constants that it comes from, and as text.

use std::fmt::Write as _;

use serde::Serialize;

use super::Horizon;
use super::bill::Bill;
use super::constants::{Constants, Mix};
use super::inputs::{Inputs, Workload};
use super::limits::{Limit, limits};
use super::model::{Load, Stock};
use super::prices::Prices;

mod figures;
mod text;

/// What the model leaves out, and what the program cannot do.
pub const NOT_MODELLED: &[&str] = &[
    "Nothing leaves the state, which holds every transaction ever read: hot days are where the first \
     column looks at it, not how much is kept. Deltas and commits are never compacted or removed.",
    "Processor time is taken to grow with events alone and to divide evenly among cores; only 2 cores \
     were measured. State that is not in memory is read from disk: with 19 million accounts in place \
     of 100,000 the same records took four times as long.",
    "Process 0 closes every epoch and writes every commit, and all processes end when one does. A \
     standby is not counted.",
    "A start derives again what came after the last checkpoint; where a disk is lost it also reads a \
     copy of the state, whole.",
    "Readers (query, verify, a warehouse), Kafka itself, logs, monitoring, load balancers, and the \
     wear and the input and output rate of disks.",
    "Kafka's compression, TLS (about 1 % more bytes), and skew: one account or tenant that is in \
     every event has one worker.",
    "State that grows neither with transactions nor accounts: 256 hash ranges of each tenant and \
     currency, 20 KB. Corrections are taken to touch no day of an account that has no key yet.",
];

/// A plan, complete.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked.
    pub inputs: Inputs,
    /// When, where and between which sizes the constants were measured.
    pub measured: Measured,
    /// The prices.
    pub prices: Prices,
    /// What it comes to.
    pub figures: Vec<Figure>,
    /// What limits it, the worst first.
    pub limits: Vec<Limit>,
    /// What it leaves out.
    pub not_modelled: &'static [&'static str],
}

/// Where the constants are from.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The day.
    pub day: String,
    /// The machine.
    pub machine: String,
    /// Records of the two runs of each slope.
    pub sizes: [u64; 2],
    /// The constants of the mix.
    pub constants: Mix,
}

/// One number of a plan, or two: at the first horizon and at the second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// What it belongs to.
    pub section: &'static str,
    /// What it is.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// The value after hot days; `None` where there is none, as the end of what never ends.
    pub value: Option<u128>,
    /// The value after history days, where it is another figure by then.
    pub later: Option<u128>,
    /// The constants, inputs or prices that it comes from.
    pub from: &'static str,
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Pieces.
    Count,
    /// Pieces in a second.
    PerSecond,
    /// Thousandths of a core.
    Millicores,
    /// Bytes.
    Bytes,
    /// Bytes in a second.
    BytesPerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Billionths of a dollar.
    Nanodollars,
}

impl Report {
    /// Makes a plan.
    #[must_use]
    pub fn of(inputs: &Inputs, constants: &Constants, prices: &Prices) -> Report {
        let mix = match inputs.workload {
            Workload::Ledger => &constants.ledger,
            Workload::Hostile => &constants.hostile,
        };
        let load = Load::of(inputs, mix);
        let at = |days| Stock::of(inputs, mix, &load, Horizon { days });
        let (early, late) = (at(inputs.hot_days), at(inputs.history_days));
        let bill = |stock: &Stock| Bill::of(inputs, prices, &load, stock);
        let mut figures = figures::of_load(&load);
        figures.extend(figures::of_stock(&early, &late));
        figures.extend(figures::of_bills(&bill(&early), &bill(&late)));
        Report {
            inputs: inputs.clone(),
            measured: Measured {
                day: constants.measured.clone(),
                machine: constants.machine.clone(),
                sizes: constants.sizes,
                constants: mix.clone(),
            },
            prices: prices.clone(),
            figures,
            limits: limits(inputs, mix, &load, &early, &late),
            not_modelled: NOT_MODELLED,
        }
    }

    /// Returns the plan as text of aligned columns.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{}", text::Text(self));
        text
    }
}
