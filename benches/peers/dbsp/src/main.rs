//! Feldera's engine, DBSP, as a peer of trueup: keeps the balances of a file of events.
//!
//! ```text
//! file -> decoders (2 threads) -> (leg, version)
//!      -> chain_aggregate: the highest revision of each leg
//!      -> flat_map_index: its lines by (tenant, account, currency)
//!      -> aggregate_linear: balance, number of lines
//! ```
//!
//! `peer-dbsp INPUT RESULT STEP_RECORDS [STORAGE]` reads the file step by step and writes the
//! balances. With a directory for storage, what is large lies there, and a checkpoint is taken each
//! 15 s and at the end. Without it everything is in memory. The engine keeps no log of its results:
//! who starts again from a checkpoint computes and sends again what came after it.

mod decode;

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use dbsp::circuit::{
    CircuitConfig, CircuitStorageConfig, Mode, StorageCacheConfig, StorageConfig, StorageOptions,
};
use dbsp::mimalloc::MiMalloc;
use dbsp::typed_batch::{IndexedZSetReader, SpineSnapshot};
use dbsp::utils::{Tup2, Tup3};
use dbsp::{DBSPHandle, IndexedZSetHandle, OrdIndexedZSet, OutputHandle, RootCircuit, Runtime};
use feldera_macros::IsNone;
use rkyv::{Archive, Deserialize, Serialize};
use size_of::SizeOf;

use crate::decode::{Names, Pieces, Row, decimal};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const WORKERS: usize = 2;
const DECODERS: usize = 2;

/// As often as trueup takes one.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(15);

/// What has revisions: one service's side of a transaction.
#[derive(
    Default,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    SizeOf,
    Archive,
    Serialize,
    Deserialize,
    IsNone,
)]
#[archive_attr(derive(Ord, Eq, PartialEq, PartialOrd))]
pub struct Leg {
    tenant: u32,
    transaction_id: String,
    leg: String,
}

/// A revision of a leg; the higher one is the greater.
#[derive(
    Default,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    SizeOf,
    Archive,
    Serialize,
    Deserialize,
    IsNone,
)]
#[archive_attr(derive(Ord, Eq, PartialEq, PartialOrd))]
pub struct Version {
    revision: u64,
    lines: Vec<Line>,
}

/// A posting, its amount in units of 10^-9, debits positive.
#[derive(
    Default,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    SizeOf,
    Archive,
    Serialize,
    Deserialize,
    IsNone,
)]
#[archive_attr(derive(Ord, Eq, PartialEq, PartialOrd))]
pub struct Line {
    account: u32,
    currency: u32,
    amount: i128,
}

/// Tenant, account and currency, by number.
type Account = Tup3<u32, u32, u32>;

/// Debits less credits, and the number of lines.
type Balance = Tup2<i128, i64>;

type Balances = OrdIndexedZSet<Account, Balance>;

type Output = OutputHandle<SpineSnapshot<Balances>>;

fn circuit(circuit: &mut RootCircuit) -> anyhow::Result<(IndexedZSetHandle<Leg, Version>, Output)> {
    let (versions, input) = circuit.add_input_indexed_zset::<Leg, Version>();
    // Events only ever come, none is taken back; so the highest one alone has to be kept.
    let current = versions.chain_aggregate_persistent(
        Some("current"),
        |version, _weight| version.clone(),
        |highest: Version, version, _weight| highest.max(version.clone()),
    );
    let lines = current.flat_map_index(|(leg, version)| {
        let tenant = leg.tenant;
        let lines = version.lines.iter();
        lines
            .map(|line| (Tup3(tenant, line.account, line.currency), line.amount))
            .collect::<Vec<(Account, i128)>>()
    });
    let balances =
        lines.aggregate_linear_persistent(Some("balances"), |amount: &i128| Tup2(*amount, 1_i64));
    // A transaction gives its result in pieces, over several steps of the circuit; gathered here.
    Ok((input, balances.accumulate_output_persistent(Some("result"))))
}

fn config(storage: Option<&String>) -> anyhow::Result<CircuitConfig> {
    let config = CircuitConfig::with_workers(WORKERS).with_allow_input_during_commit(false);
    let Some(path) = storage else { return Ok(config) };
    std::fs::create_dir_all(path)?;
    let storage = StorageConfig { path: path.clone(), cache: StorageCacheConfig::default() };
    let storage = CircuitStorageConfig::for_config(storage, StorageOptions::default())?;
    Ok(config.with_mode(Mode::Persistent).with_storage(Some(storage)))
}

/// The circuit at work, and what it has said the balances are.
struct Job {
    circuit: DBSPHandle,
    input: IndexedZSetHandle<Leg, Version>,
    output: Output,
    balances: HashMap<Account, Balance>,
    checkpointed: Option<Instant>,
}

impl Job {
    fn step(&mut self) -> anyhow::Result<()> {
        self.circuit.transaction()?;
        let changes = SpineSnapshot::<Balances>::concat(&self.output.take_from_all()).consolidate();
        for (account, balance, weight) in changes.iter() {
            if weight > 0 {
                self.balances.insert(account, balance);
            } else if self.balances.get(&account) == Some(&balance) {
                self.balances.remove(&account);
            }
        }
        if self.checkpointed.is_some_and(|at| at.elapsed() >= CHECKPOINT_INTERVAL) {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> anyhow::Result<()> {
        self.circuit.checkpoint().run()?;
        self.checkpointed = Some(Instant::now());
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    let started_at = now_ns()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, result, step_records, storage @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: peer-dbsp INPUT RESULT STEP_RECORDS [STORAGE]");
    };
    let storage = storage.first();
    let step_records: usize = step_records.parse().context("STEP_RECORDS is no number")?;
    let (handle, (rows_in, output)) = Runtime::init_circuit(config(storage)?, circuit)?;
    let mut job = Job {
        circuit: handle,
        input: rows_in,
        output,
        balances: HashMap::new(),
        checkpointed: storage.map(|_| Instant::now()),
    };
    let names = Arc::new(Names::default());
    let records = feed(&mut job, Pieces::open(input)?, &names, step_records)?;
    if storage.is_some() {
        job.checkpoint()?;
    }
    let completed_at = now_ns()?;
    println!(
        "{{\"started_at_ns\": {started_at}, \"completed_at_ns\": {completed_at}, \
         \"records\": {records}}}"
    );
    write(result, &job.balances, &names.list())?;
    job.circuit.kill().map_err(|_| anyhow::anyhow!("a worker panicked"))
}

/// Decodes the file beside the circuit, and steps it for each `step_records` records.
fn feed(
    job: &mut Job,
    pieces: Pieces,
    names: &Arc<Names>,
    step_records: usize,
) -> anyhow::Result<usize> {
    let pieces = Arc::new(pieces);
    let (give, take) = crossbeam_channel::bounded::<Vec<Row>>(4 * DECODERS);
    let decoders: Vec<_> = (0..DECODERS)
        .map(|_| {
            let (pieces, names, give) = (Arc::clone(&pieces), Arc::clone(names), give.clone());
            std::thread::spawn(move || pieces.decode(&names, |rows| give.send(rows).is_ok()))
        })
        .collect();
    drop(give);
    let (mut records, mut pending) = (0, 0);
    for mut rows in take {
        pending += rows.len();
        job.input.append(&mut rows);
        if pending >= step_records {
            records += std::mem::take(&mut pending);
            job.step()?;
        }
    }
    for decoder in decoders {
        decoder.join().map_err(|_| anyhow::anyhow!("a decoder panicked"))??;
    }
    job.step()?;
    Ok(records + pending)
}

fn write(path: &str, balances: &HashMap<Account, Balance>, names: &[String]) -> anyhow::Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("cannot create {path}"))?;
    let mut out = std::io::BufWriter::new(file);
    writeln!(out, "tenant,account,currency,balance,lines")?;
    for (Tup3(tenant, account, currency), Tup2(balance, lines)) in balances {
        let [tenant, account, currency] =
            [tenant, account, currency].map(|number| &names[*number as usize]);
        writeln!(out, "{tenant},{account},{currency},{},{lines}", decimal(*balance))?;
    }
    out.flush().context("cannot write the result")
}

fn now_ns() -> anyhow::Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())
}
