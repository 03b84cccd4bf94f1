//! [`Services`] against a plain fold over everything that it has been told, epoch by epoch.

use proptest::prelude::*;
use trueup_ledger::Amount;

use super::*;
use crate::store::{Disk, Mark, SealedChanges, Shards, StateError, Write};

/// What the views should show: the reading of docs/spec-decisions.md, folded over everything.
fn naive(sent: &BTreeSet<Vec<u8>>, said: &BTreeSet<Control>) -> Shown {
    let sent: Vec<Event<'_>> = sent.iter().map(|bytes| Event::decode(bytes).unwrap()).collect();
    let mut shown = Shown::new();
    let mut counting: BTreeMap<(u64, u64), &Control> = BTreeMap::new();
    for control in said {
        let counts = counting.entry((control.from, control.to)).or_insert(control);
        let newer = control.recorded_at > counts.recorded_at
            || (control.recorded_at == counts.recorded_at && control.event_id < counts.event_id);
        if newer {
            *counts = control;
        }
    }
    let (mut matched, mut mismatched) = (Vec::new(), Vec::new());
    for ((from, to), control) in counting {
        let mut count = 0;
        let mut sums: BTreeMap<String, (i128, i128, i128, i128)> = BTreeMap::new();
        for event in &sent {
            if (from..=to).contains(&event.source.sequence.unwrap()) {
                count += 1;
                for posting in &event.postings {
                    let sum = sums.entry(posting.currency.to_string()).or_default();
                    match posting.side {
                        Side::Debit => sum.0 += posting.amount.0,
                        Side::Credit => sum.1 += posting.amount.0,
                    }
                }
            }
        }
        for (currency, debit, credit) in &control.totals {
            let sum = sums.entry(currency.to_string()).or_default();
            (sum.2, sum.3) = (*debit, *credit);
        }
        let before = shown.len();
        if count != control.count {
            let (ours, theirs) = (count, control.count);
            shown.insert(format!(
                r#"{MISMATCH} s%2F1/{from}-{to}  {} critical {{"applied":"{ours}","control":"{theirs}"}}"#,
                ours.abs_diff(theirs)
            ));
        }
        let text = |units: i128| Amount(units).display(Scale::DEFAULT);
        for (currency, (d, c, cd, cc)) in
            sums.iter().filter(|(_, (d, c, cd, cc))| (d, c) != (cd, cc))
        {
            shown.insert(format!(
                r#"{MISMATCH} s%2F1/{from}-{to} {currency} {} critical {{"applied_credit":"{}","applied_debit":"{}","control_credit":"{}","control_debit":"{}"}}"#,
                text((d - cd).abs() + (c - cc).abs()), text(*c), text(*d), text(*cc), text(*cd)
            ));
        }
        if shown.len() == before { &mut matched } else { &mut mismatched }.push((from, to));
    }
    let seen: BTreeSet<u64> = sent.iter().filter_map(|event| event.source.sequence).collect();
    if let (Some(first), Some(max)) = (seen.first(), seen.last()) {
        let mut through = *first;
        while seen.contains(&(through + 1)) {
            through += 1;
        }
        if let Some(from) = mismatched.iter().map(|(from, _)| *from).min() {
            through = through.min(from - 1);
        }
        through = if through < *first { 0 } else { through };
        let mut verified = *first - 1;
        while let Some((_, to)) =
            matched.iter().find(|(from, to)| *from <= verified + 1 && *to > verified)
        {
            verified = *to;
        }
        verified = if verified < *first { 0 } else { verified };
        let state = if through == *max { "ok" } else { "open" };
        shown.insert(format!(
            r#"completeness s/1 {state} {through} {{"max_sequence":"{max}","verified_through":"{verified}"}}"#
        ));
    }
    shown
}

/// One step of a run of [`Services`].
#[derive(Clone, Debug)]
enum Step {
    /// So many events from a sequence on, of the variant of its content.
    Send(u64, u64, u8),
    /// A control total of a range, as of then or wrong by some, that comes or, if it is there, goes.
    Say(u64, u64, u8, u64),
    Epoch,
    /// An epoch, and a checkpoint of it where there is a disk.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || {
        prop_oneof![
            4 => 1_u64..30,
            2 => 250_u64..262,
            2 => 65_500_u64..65_600,
            1 => ((1_u64 << 63) - 9)..(1_u64 << 63),
        ]
    };
    let step = prop_oneof![
        6 => (place(), 1_u64..9, 0_u8..6).prop_map(|(at, many, which)| Step::Send(at, many, which / 4)),
        5 => (place(), 0_u64..40, 0_u8..3, 0_u64..4)
            .prop_map(|(from, width, id, wrong)| Step::Say(from, from + width, id, wrong / 3)),
        1 => (place(), place(), 0_u8..3, 0_u64..4)
            .prop_map(|(a, b, id, wrong)| Step::Say(a.min(b), a.max(b), id, wrong / 3)),
        4 => Just(Step::Epoch),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

const LAST: u64 = (1 << 63) - 1;

/// A run of [`Services`], beside everything that it has been told.
struct Run {
    disk: Option<Disk>,
    state: WorkerState,
    services: Services,
    epoch: u64,
    /// Two, as if two workers had gathered.
    gathered: [Gathered; 2],
    changes: Vec<(Control, i8)>,
    views: Views,
    sent: BTreeSet<Vec<u8>>,
    said: BTreeSet<Control>,
}

impl Run {
    fn new(disk: Option<Disk>) -> Run {
        let state = WorkerState::new(disk.clone(), 0, 1);
        Run {
            disk,
            services: Services::new(&state, Scale::DEFAULT),
            state,
            epoch: 0,
            gathered: Default::default(),
            changes: Vec::new(),
            views: Views::default(),
            sent: BTreeSet::new(),
            said: BTreeSet::new(),
        }
    }

    fn send(&mut self, sequence: u64, which: u8) {
        let currency = if sequence.is_multiple_of(3) { "USD" } else { "EUR" };
        let lines = [
            posting(Side::Debit, i128::from(which) + 5, "EUR"),
            posting(Side::Credit, 5, currency),
        ];
        let lines = if sequence.is_multiple_of(5) { &lines[..0] } else { &lines[..] };
        let event = event("s/1", Some(sequence), &format!("{sequence}-{which}"), lines);
        let mut canonical = Vec::new();
        event.encode(&mut canonical);
        self.gathered[self.sent.len() % 2].add(&event, &canonical);
        self.sent.insert(canonical);
    }

    /// Says what would be right of the range now, wrong by some.
    fn say(&mut self, (from, to): (u64, u64), id: u8, wrong: u64) {
        let event_id: Box<str> = format!("{from}-{to}-{id}").into();
        let known = self.said.iter().find(|control| control.event_id == event_id).cloned();
        if let Some(control) = known {
            self.said.remove(&control);
            self.changes.push((control, -1));
            return;
        }
        let (mut count, mut totals) = (wrong, BTreeMap::new());
        for bytes in &self.sent {
            let event = Event::decode(bytes).unwrap();
            if (from..=to).contains(&event.source.sequence.unwrap()) {
                count += 1;
                for posting in &event.postings {
                    let sum: &mut (i128, i128) =
                        totals.entry(Box::from(&*posting.currency)).or_default();
                    match posting.side {
                        Side::Debit => sum.0 += posting.amount.0,
                        Side::Credit => sum.1 += posting.amount.0 + i128::from(wrong),
                    }
                }
            }
        }
        let control = Control {
            tenant: "acme".into(),
            service: "s/1".into(),
            from,
            to,
            recorded_at: Timestamp::from_parts(i64::from(id / 2), 0).unwrap(),
            event_id,
            count,
            totals: totals.into_iter().map(|(name, (d, c))| (name, d, c)).collect(),
        };
        self.said.insert(control.clone());
        self.changes.push((control, 1));
    }

    fn epoch(&mut self, restart: bool) {
        self.epoch += 1;
        let disk = self.disk.clone().filter(|_| restart);
        if disk.is_some() {
            self.state.request_seal(Epoch(self.epoch));
        }
        let records = self.gathered.iter_mut().flat_map(Gathered::take).collect();
        let changes = self.services.epoch(self.epoch, records, std::mem::take(&mut self.changes));
        self.views.apply(&changes.tables);
        for table in &changes.tables {
            let rows: Vec<_> = (0..table.len()).map(|row| table.row(row)).collect();
            let each: BTreeSet<_> = rows.iter().collect();
            assert_eq!(each.len(), rows.len(), "a row that has not changed is not told");
        }
        assert_eq!(self.views.shown(), naive(&self.sent, &self.said), "epoch {}", self.epoch);
        if let Some(disk) = disk {
            self.checkpoint(disk);
        }
    }

    /// Takes what is kept to disk, and goes on from there or, every other time, starts from there.
    fn checkpoint(&mut self, disk: Disk) {
        let sealed = [self.state.seal(Epoch(self.epoch))];
        let mark = Mark {
            epoch: Epoch(self.epoch),
            commit_hash: String::new(),
            configuration: String::new(),
            shards: Shards::ALL,
        };
        let all = |write: Write<'_, StateError>| SealedChanges::of(&sealed).for_each(write);
        disk.ingest(&mark, all, |(), _| Ok(())).unwrap();
        if self.epoch.is_multiple_of(2) {
            self.state.release(Epoch(self.epoch));
        } else {
            self.state = WorkerState::new(Some(disk), 0, 1);
            self.services = Services::new(&self.state, Scale::DEFAULT);
        }
    }
}

fn run(steps: Vec<Step>, mut run: Run) {
    for step in steps.into_iter().chain([Step::Epoch]) {
        match step {
            Step::Send(from, many, which) => {
                (from..=(from + many).min(LAST)).for_each(|sequence| run.send(sequence, which));
            }
            Step::Say(from, to, id, wrong) => run.say((from, to.min(LAST)), id, wrong),
            Step::Epoch => run.epoch(false),
            Step::Restart => run.epoch(true),
        }
    }
}

proptest! {
    #[test]
    fn every_epoch_shows_what_a_fold_over_everything_does(steps in steps()) {
        run(steps, Run::new(None));
    }
}

proptest! {
    // Each opens a disk.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_is_on_disk_is_gone_on_from(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        run(steps, Run::new(Some(Disk::open(directory.path(), 1 << 20).unwrap())));
    }
}
