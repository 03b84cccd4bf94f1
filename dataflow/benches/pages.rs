//! What it costs to put rows into pages and back, by each codec, and how much of it is the checksum:
//! `cargo bench -p trueup-dataflow --features abomonation --bench pages`.
//!
//! Figures are for comparing codecs within one run; `docs/performance.md` has them.

#![allow(clippy::unwrap_used)]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use trueup_dataflow::store::pages::{Abomonation, Bincode, Bytemuck, Codec, Page, Row, Total};

/// A page of 4 MiB, larger than the caches next to a core.
const ROWS: usize = 65_536;

fn main() {
    divan::main();
}

fn rows() -> Vec<Row> {
    (0..ROWS as u64)
        .map(|number| {
            let key = u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
            let sum = i128::from(number) << 40;
            Total { key, day: 20_000, lines: 3, debits: sum, credits: -sum }.into()
        })
        .collect()
}

/// The whole way, checksum included.
#[divan::bench(types = [Bytemuck, Bincode, Abomonation])]
fn write_page<C: Codec>(bencher: Bencher<'_, '_>) {
    let rows = rows();
    bencher.counter(ItemsCount::new(ROWS)).bench(|| Page::write::<C>(&rows).unwrap());
}

#[divan::bench(types = [Bytemuck, Bincode, Abomonation])]
fn read_page<C: Codec>(bencher: Bencher<'_, '_>) {
    let bytes = Page::write::<C>(&rows()).unwrap();
    bencher.counter(ItemsCount::new(ROWS)).bench(|| {
        let mut page = Page::read(&bytes).unwrap();
        sum::<C>(&mut page)
    });
}

/// The codec alone.
#[divan::bench(types = [Bytemuck, Bincode, Abomonation])]
fn encode<C: Codec>(bencher: Bencher<'_, '_>) {
    let rows = rows();
    let mut bytes = Vec::new();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        bytes.clear();
        C::encode(black_box(&rows), &mut bytes).unwrap();
        bytes.len()
    });
}

#[divan::bench(types = [Bytemuck, Bincode, Abomonation])]
fn decode<C: Codec>(bencher: Bencher<'_, '_>) {
    let mut page = Page::read(&Page::write::<C>(&rows()).unwrap()).unwrap();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| sum::<C>(black_box(&mut page)));
}

/// Uses every word, so that none is left out.
fn sum<C: Codec>(page: &mut Page) -> u64 {
    let mut sum = 0_u64;
    let add = |row: &Row| sum = row.iter().fold(sum, |sum, word| sum.wrapping_add(*word));
    page.for_each::<C>(add).unwrap();
    sum
}
