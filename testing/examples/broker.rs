//! A Kafka broker on this machine for `trueup bench kafka`: prints its address and runs until
//! standard input ends (Ctrl-D, or Ctrl-C). Its data goes away with it.

use std::io::{self, Read, Write};

use anyhow::Context;
use trueup_testing::kafka::KafkaBroker;

fn main() -> anyhow::Result<()> {
    let mut broker = KafkaBroker::start()?;
    writeln!(io::stdout(), "{}", broker.bootstrap()).context("saying where it is")?;
    io::stdin().read_to_end(&mut Vec::new()).context("waiting for the end")?;
    broker.stop()
}
