//! How deep the values of a record are nested, without parsing it.
//!
//! Nearly every record has fewer opening brackets than the bound, which one vectorised pass shows.
//! Only the others are scanned bracket by bracket. On text that is not JSON the answer is that of
//! the brackets outside of what would be strings, which is the same in every run.

/// Says whether values are nested deeper than `depth_max`, an outermost value being level 1.
pub(super) fn exceeds(raw: &[u8], depth_max: usize) -> bool {
    // `{` and `[` differ in one bit, and no other byte becomes `{` by setting it. Counted in bytes
    // over pieces too short to wrap, without overflow checks, since only that is vectorised.
    let in_piece = |piece: &[u8]| {
        let count = |sum: u8, byte: &u8| sum.wrapping_add(u8::from(byte | 0x20 == b'{'));
        usize::from(piece.iter().fold(0, count))
    };
    let openings: usize = raw.chunks(u8::MAX.into()).map(in_piece).sum();
    openings > depth_max && deepest(raw) > depth_max
}

fn deepest(raw: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = behind_string(raw, at),
            _ => {}
        }
    }
    deepest
}

/// Returns the place behind the closing quote of a string whose content begins at `at`.
fn behind_string(raw: &[u8], mut at: usize) -> usize {
    while let Some(rest) = raw.get(at..) {
        let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
            break;
        };
        if rest[found] == b'"' {
            return at + found + 1;
        }
        at += found + 2;
    }
    raw.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_outside_strings_only() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!exceeds(nested(32).as_bytes(), 32));
        assert!(exceeds(nested(33).as_bytes(), 32));
        assert!(exceeds("[{".repeat(17).as_bytes(), 32));
        let flat = format!(r#"["\\","{}\"[",{}]"#, "[".repeat(50), "[],".repeat(50));
        assert!(!exceeds(flat.as_bytes(), 32));
        assert!(!exceeds(format!(r#""{}"#, "{".repeat(50)).as_bytes(), 32));
    }
}
