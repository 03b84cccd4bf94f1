//! The product: wiring only. What events mean is in `trueup-ledger`, how figures are kept in
//! `trueup-dataflow`, where records come from in `trueup-sources`, where rows go to in
//! `trueup-sinks`.
//!
//! ```text
//! main ─▶ cli ─▶ commands ─▶ config ─▶ pipeline ─▶ (sources, dataflow, sinks)
//!           every error ─▶ exit
//! ```

pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod exit;
pub mod generate;
mod numbers;
pub mod pipeline;
pub mod plan;
pub mod redrive;
pub mod rules;
