//! What the model says of simple loads, and that it never says less of more.

use proptest::prelude::*;

use super::super::bill::Bill;
use super::super::constants::Constants;
use super::super::inputs::tests::TEXTS;
use super::super::inputs::{Texts, Workload};
use super::super::limits::limits;
use super::super::prices::Prices;
use super::*;

/// Constants that can be multiplied in the head.
const MIX: Mix = Mix {
    cpu_ms_per_million_records: 40_000,
    cpu_ms_per_million_records_from_disk: 50_000,
    cpu_ms_per_million_corrections: 150_000,
    transactions_per_million_records: 900_000,
    posting_rows_per_million_records: 2_000_000,
    delta_bytes_per_million_records: 100_000_000,
    delta_bytes_per_million_corrections: 300_000_000,
    delta_bytes_per_file: 1_000,
    files_per_worker_and_commit: 10,
    commit_bytes_per_file: 500,
    state_bytes_per_transaction: 100,
    state_bytes_per_account: 150,
    state_bytes_per_account_and_day: 50,
    disk_percent_of_state: 120,
    copy_percent_of_state: 50,
    gathered_percent_of_changes: 125,
    checkpoint_bytes_per_second: 50_000_000,
    peak_memory_mib_beside_limit: 1024,
    wire_bytes_per_record: 600,
};

/// 100 events a second, all day: 259,200,000 a month.
fn small() -> Inputs {
    let texts = Texts {
        peak_events: "10K",
        events_per_day: "8_640_000",
        record_bytes: "1K",
        hot_days: "10",
        history_days: "100",
        accounts: "1M",
        corrections_percent: "2",
        processes: Some("2"),
        commit_interval: "10s",
        checkpoint_interval: "80s",
        target_utilisation: "50",
        ..TEXTS
    };
    Inputs::read(Workload::Ledger, &texts).unwrap()
}

#[test]
fn a_load_by_hand() {
    let load = Load::of(&small(), &MIX);
    // 86.4 million events of ten days are 7.8 GB of transactions: more than the limit.
    assert_eq!(load.cpu_ns_per_event, 50_000);
    assert_eq!((load.peak_millicores, load.average_millicores), (500, 5));
    assert_eq!((load.processes, load.workers_per_process, load.workers()), (2, 1, 2));
    assert_eq!(load.capacity_events_per_second, 40_000);
    // 36 million events at 30,000 a second; 360,000 at 39,900.
    assert_eq!(load.catch_up_at_peak_ms, Some(1_200_000));
    assert_eq!(load.catch_up_at_average_ms, Some(9_023));
    // Twice 2 GiB is more than 1 GiB beside them.
    assert_eq!(load.memory_bytes, 8 << 30);
    // 2 GiB at 4 KiB a record would be more.
    assert_eq!(load.records_per_epoch_max, 300_000);
    assert_eq!((load.commits_per_month, load.files_per_commit), (259_200, 20));
    // 259.2 million records at 100 B, 5,184,000 files.
    assert_eq!(load.delta_bytes_per_month, 25_920_000_000 + 5_184_000_000);
    assert_eq!(load.commit_bytes_per_month, 2_592_000_000);
    assert_eq!(
        (load.in_bytes_per_month, load.in_peak_bytes_per_second),
        (259_200_000_000, 10_000_000)
    );
    // Half of it goes to the other process.
    assert_eq!(load.between_bytes_per_month, 77_760_000_000);
    assert_eq!(load.between_peak_bytes_per_second, 3_000_000);
}

#[test]
fn checkpoints_by_hand() {
    let load = Load::of(&small(), &MIX);
    // 256 MiB of each of two workers, less than a quarter of 2 GiB, are 429.5 MB of keys and values at
    // 125 %. A second of the peak changes 9,200 transactions and 20,000 accounts with a day each: 4.92 MB,
    // so 87.3 s fill it.
    assert_eq!(load.checkpoint_peak_interval_ms, 80_000);
    // 0.8 million events of 80 s: 0.736 million transactions, and each account only once.
    assert_eq!(load.checkpoint_peak_bytes, 73_600_000 + 200_000_000);
    // An eighth of 0.72 million new ones; the corrections and the accounts as they are.
    assert_eq!(load.checkpoint_peak_renewed_bytes, 9_000_000 + 1_600_000 + 200_000_000);
    assert_eq!(load.checkpoints_per_month, 32_400);
    // 238,464,000 transactions changed, 518.4 million lines. Twice that, but an eighth of what is new.
    let changed = 23_846_400_000 + 518_400_000 * 200;
    let copied = 2 * changed - 23_328_000_000 + 2_916_000_000;
    assert_eq!(load.copy_bytes_per_month, copied / 2);
    let parts = 6_993;
    assert_eq!(copied.div_ceil(32 << 20), parts);
    assert_eq!(load.puts_per_month, 5_184_000 + 259_200 + 32_400 * 3 + parts);
    // Ten workers, five of each process, may read 4.5 million records, and with few accounts fill 859 MB in
    // 76.7 s.
    let many = Inputs { peak_events_per_second: 100_000, accounts: 10_000, ..small() };
    assert_eq!(Load::of(&many, &MIX).checkpoint_peak_interval_ms, 45_000);
    // With a limit of 64 MiB a checkpoint comes sooner: 26.8 MB at 4.92 MB a second.
    let tight = Inputs { memory_limit_bytes: 64 << 20, ..small() };
    let load = Load::of(&tight, &MIX);
    assert_eq!(load.checkpoint_peak_interval_ms, 5_456);
    assert_eq!(load.records_per_epoch_max, 16_384);
    // 1 GiB beside it is more than twice of it.
    assert_eq!(load.memory_bytes, 2 * ((1 << 30) + (64 << 20)));
}

#[test]
fn a_stock_by_hand() {
    let inputs = small();
    let load = Load::of(&inputs, &MIX);
    let stock = Stock::of(&inputs, &MIX, &load, Horizon { days: 10 });
    assert_eq!(stock.transactions, 77_760_000);
    // A million accounts, each with ten days: 17.28 million lines a day touch all.
    assert_eq!(stock.state_bytes, 7_776_000_000 + 150_000_000 + 500_000_000);
    assert_eq!(stock.disk_bytes, 10_111_200_000);
    assert_eq!(stock.disk_bytes_provisioned, 15_166_800_000);
    assert_eq!(stock.copy_bytes, 3 * 4_213_000_000);
    assert_eq!(stock.published_bytes, (31_104_000_000 + 2_592_000_000) / 3);
    assert_eq!(stock.commits, 86_400);
    assert_eq!(stock.names_per_start, 86_400 + 10_800 + 3 * 252);
    // Four starts of two processes: eight commits twice, two more, and a manifest; one GET a checkpoint
    // of each.
    assert_eq!(stock.gets_per_month, 2 * 32_400 + 8 * 19);
    assert_eq!(stock.lists_per_month, 8 * 98);
}

#[test]
fn a_bill_by_hand() {
    let inputs = Inputs { cross_zone_percent: 50, ..small() };
    let prices = Prices {
        put_per_1000_nanodollars: 5_000_000,
        store_gb_month_nanodollars: 20_000_000,
        vcpu_hour_nanodollars: 40_000_000,
        cross_zone_gb_nanodollars: 20_000_000,
        ..Prices::default()
    };
    let load = Load::of(&inputs, &MIX);
    let stock = Stock::of(&inputs, &MIX, &load, Horizon { days: 10 });
    let bill = Bill::of(&inputs, &prices, &load, &stock);
    // Two cores for 720 hours at 4 cents.
    assert_eq!(bill.cores_nanodollars, 57_600_000_000);
    // 11.232 GB of deltas and commits, 12.639 GB of copies.
    assert_eq!(bill.store_nanodollars, 477_420_000);
    assert_eq!(bill.puts_nanodollars, load.puts_per_month * 5_000);
    // Half of 259.2 + 77.76 GB.
    assert_eq!(bill.network_nanodollars, 3_369_600_000);
    let (nothing, total) = (bill.memory_nanodollars, bill.total_nanodollars());
    assert_eq!(
        (nothing, total),
        (0, 57_600_000_000 + 477_420_000 + bill.puts_nanodollars + 3_369_600_000)
    );
}

#[test]
fn what_grows_by_steps() {
    let with = |change: fn(&mut Inputs)| {
        let mut inputs = small();
        change(&mut inputs);
        Load::of(&inputs, &MIX)
    };
    // The state of a short time fits memory.
    let fits = with(|inputs| inputs.hot_days = 1);
    assert_eq!(fits.cpu_ns_per_event, 40_000);
    // Two percent of corrections are in the mix; ten more cost a tenth of the difference.
    assert_eq!(with(|inputs| inputs.corrections_percent = 12).cpu_ns_per_event, 60_000);
    assert_eq!(with(|inputs| inputs.corrections_percent = 0).cpu_ns_per_event, 50_000);
    // Processes follow from cores: 25 of them, 8 each at most.
    let many = with(|inputs| {
        (inputs.peak_events_per_second, inputs.processes) = (250_000, None);
        inputs.cores_per_process = 8;
    });
    assert_eq!((many.peak_millicores, many.processes, many.workers_per_process), (12_500, 4, 7));
    // More records than an epoch of both processes holds in ten seconds.
    let full = with(|inputs| {
        (inputs.peak_events_per_second, inputs.events_per_day) = (100_000, 8_640_000_000);
    });
    assert_eq!(full.commits_per_month, 259_200_000_000_u128.div_ceil(2 * 300_000));
    // Nothing is left to catch up with.
    let busy = with(|inputs| {
        (inputs.peak_events_per_second, inputs.target_utilisation_percent) = (40_000, 100);
    });
    assert_eq!((busy.capacity_events_per_second, busy.catch_up_at_peak_ms), (40_000, None));
    let alone = with(|inputs| inputs.processes = Some(1));
    assert_eq!(alone.between_bytes_per_month, 0);
}

#[test]
fn the_worst_limit_is_first() {
    let inputs = small();
    let load = Load::of(&inputs, &MIX);
    let stock = |days| Stock::of(&inputs, &MIX, &load, Horizon { days });
    let found = limits(&inputs, &MIX, &load, &stock(10), &stock(100));
    let order: Vec<_> = found.iter().map(|limit| limit.permille).collect();
    assert!(order.is_sorted_by(|a, b| a >= b), "{order:?}");
    let of = |word: &str| found.iter().find(|limit| limit.what.contains(word)).unwrap();
    // Half of 273.6 and of 210.6 MB at 50 MB a second, where a checkpoint comes every 80 s.
    let checkpoint = of("a checkpoint and its copy");
    assert_eq!((checkpoint.needed, checkpoint.available), (4_842, 80_000));
    // 864,000 commits, 108,000 manifests and three times 79.06 GB: 980 requests of 50 ms.
    assert_eq!(of("a start that lists").needed, 980 * 50);
    // Ten files and the commit.
    assert_eq!(
        (of("one after the other").needed, of("one after the other").available),
        (550, 10_000)
    );
    assert_eq!(of("256 hash ranges").needed, 250);
    assert_eq!(of("workers that get").needed, 2);
    assert!(of("most that was measured").tried && !checkpoint.tried);
}

prop_compose! {
    /// Any load, on processes that stay.
    fn any_inputs()(
        day in 1_u64..100_000_000_000_000,
        burst in 1_u64..100,
        hot_days in 1_u64..200,
        more_days in 0_u64..3_000,
        accounts in 1_u64..1_000_000_000_000,
        corrections_percent in 0_u64..=100,
        processes in 1_u64..=256,
        commit_interval_ms in 10_u64..3_600_000,
        checkpoint_interval_ms in 10_u64..3_600_000,
        memory_limit_mib in 64_u64..1_000_000,
        target_utilisation_percent in 1_u64..=100,
        record_bytes in 1_u64..1_048_576,
    ) -> Inputs {
        Inputs {
            peak_events_per_second: day.div_ceil(86_400) * burst,
            events_per_day: day,
            record_bytes,
            hot_days,
            history_days: hot_days + more_days,
            accounts,
            corrections_percent,
            processes: Some(processes),
            commit_interval_ms,
            checkpoint_interval_ms,
            memory_limit_bytes: memory_limit_mib << 20,
            target_utilisation_percent,
            ..small()
        }
    }
}

/// What a month costs at both horizons.
fn costs(inputs: &Inputs, mix: &Mix) -> [u128; 2] {
    let prices = Prices::built_in().unwrap();
    let load = Load::of(inputs, mix);
    [inputs.hot_days, inputs.history_days].map(|days| {
        let stock = Stock::of(inputs, mix, &load, Horizon { days });
        Bill::of(inputs, &prices, &load, &stock).total_nanodollars()
    })
}

proptest! {
    #[test]
    fn more_never_costs_less(
        inputs in any_inputs(),
        more in (0_u64..1_000_000_000, 0_u64..1_000_000, 0_u64..1_000_000, 0_u64..100, 0_u64..50),
    ) {
        let (events, accounts, bytes, days, percent) = more;
        let constants = Constants::built_in().unwrap();
        let busier = Inputs {
            events_per_day: inputs.events_per_day + events,
            peak_events_per_second: inputs.peak_events_per_second + events.div_ceil(86_400),
            ..inputs.clone()
        };
        let peak_events_per_second = inputs.peak_events_per_second + events;
        let others = [
            busier,
            Inputs { peak_events_per_second, ..inputs.clone() },
            Inputs { accounts: inputs.accounts + accounts, ..inputs.clone() },
            Inputs { record_bytes: (inputs.record_bytes + bytes).min(1 << 20), ..inputs.clone() },
            Inputs {
                hot_days: inputs.hot_days + days,
                history_days: inputs.history_days + days,
                ..inputs.clone()
            },
            Inputs {
                corrections_percent: (inputs.corrections_percent + percent).min(100),
                ..inputs.clone()
            },
        ];
        for mix in [&MIX, &constants.ledger, &constants.hostile] {
            let before = costs(&inputs, mix);
            for other in &others {
                let after = costs(other, mix);
                prop_assert!(before[0] <= after[0] && before[1] <= after[1], "{inputs:?} {other:?}");
            }
        }
    }

    #[test]
    fn fewer_commits_never_cost_more(inputs in any_inputs(), more_ms in 0_u64..1_000_000) {
        let longer = Inputs {
            commit_interval_ms: inputs.commit_interval_ms + more_ms,
            ..inputs.clone()
        };
        let (often, seldom) = (costs(&inputs, &MIX), costs(&longer, &MIX));
        prop_assert!(seldom[0] <= often[0] && seldom[1] <= often[1]);
    }
}
