//! Pages by every codec: equal bytes, equal rows, and damage that is refused.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use trueup_dataflow::store::pages::{
    Abomonation, Bincode, Bytemuck, Codec, Page, PageError, Row, Total,
};

fn total() -> impl Strategy<Value = Total> {
    let sums = (any::<i128>(), any::<i128>());
    (any::<u128>(), any::<i32>(), any::<i64>(), sums)
        .prop_map(|(key, day, lines, (debits, credits))| Total { key, day, lines, debits, credits })
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    proptest::collection::vec(total().prop_map(Row::from), 0..20)
}

fn read_by<C: Codec>(page: &mut Page) -> Vec<Row> {
    let mut rows = Vec::new();
    page.for_each::<C>(|row| rows.push(*row)).unwrap();
    rows
}

proptest! {
    #[test]
    fn a_total_is_its_row(total in total()) {
        prop_assert_eq!(Total::try_from(&Row::from(total)), Ok(total));
    }

    #[test]
    fn all_codecs_write_the_same_page_and_read_it_back(rows in rows()) {
        let bytes = Page::write::<Bytemuck>(&rows).unwrap();
        prop_assert_eq!(&Page::write::<Abomonation>(&rows).unwrap(), &bytes);
        if cfg!(target_endian = "little") {
            prop_assert_eq!(&Page::write::<Bincode>(&rows).unwrap(), &bytes);
        }
        let mut page = Page::read(&bytes).unwrap();
        prop_assert_eq!(&read_by::<Bytemuck>(&mut page), &rows);
        prop_assert_eq!(&read_by::<Abomonation>(&mut page), &rows);
        prop_assert_eq!(&read_by::<Bincode>(&mut page), &rows);
    }

    /// From a place that is not aligned, as a file may be read to.
    #[test]
    fn a_page_may_be_read_from_any_address(rows in rows(), shift in 0..16_usize) {
        let bytes = Page::write::<Bytemuck>(&rows).unwrap();
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(&bytes);
        let mut page = Page::read(&shifted[shift..]).unwrap();
        prop_assert_eq!(&read_by::<Abomonation>(&mut page), &rows);
    }

    #[test]
    fn any_flipped_bit_is_refused(rows in rows(), place in any::<usize>(), bit in 0..8_u32) {
        let mut bytes = Page::write::<Bytemuck>(&rows).unwrap();
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        prop_assert!(Page::read(&bytes).is_err(), "bit {} of byte {}", bit, place);
    }

    #[test]
    fn any_other_length_is_refused(rows in rows(), end in any::<usize>(), more in 1..200_usize) {
        let mut bytes = Page::write::<Bytemuck>(&rows).unwrap();
        prop_assert!(Page::read(&bytes[..end % bytes.len()]).is_err());
        bytes.resize(bytes.len() + more, 0);
        prop_assert!(Page::read(&bytes).is_err());
    }
}

/// A field of the header that is another, with a checksum that is right: the program before or after
/// this one may have written it.
#[test]
fn what_is_not_ours_is_refused_by_name() {
    let bytes = Page::write::<Bytemuck>(&[Row::default(); 4]).unwrap();
    let magic = u64::from_be_bytes(*b"truepage");
    // Four words, then the checksum of all else.
    let with = |field: usize, value: u64| {
        let mut bytes = bytes.clone();
        bytes[field * 8..][..8].copy_from_slice(&value.to_ne_bytes());
        let sum = blake3::hash(&[&bytes[..32], &bytes[64..]].concat());
        bytes[32..64].copy_from_slice(sum.as_bytes());
        Page::read(&bytes)
    };
    assert_eq!(with(0, magic.swap_bytes()), Err(PageError::NotAPage));
    assert_eq!(with(1, 2), Err(PageError::Version { found: 2 }));
    assert_eq!(with(2, 4), Err(PageError::Width { found: 4 }));
    let length = PageError::Damaged("it has another length than its rows");
    assert_eq!(with(3, 5), Err(length));
    // A number of rows whose bytes do not fit into a word.
    assert_eq!(with(3, u64::MAX / 32), Err(length));
    assert!(with(0, magic).is_ok());
    assert!(with(3, 4).is_ok());
}
