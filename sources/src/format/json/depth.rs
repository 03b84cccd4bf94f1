//! How deep the values of a text are nested, without parsing it. Where it is not JSON the answer is that of
//! the brackets outside of what would be strings, which is the same in every run.

/// Says whether values are nested deeper than `depth_max`, an outermost value being level 1.
pub(super) fn exceeds(text: &str, depth_max: usize) -> bool {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = behind_string(bytes, at),
            _ => {}
        }
        if depth > depth_max {
            return true;
        }
    }
    false
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
        assert!(!exceeds(&nested(32), 32));
        assert!(exceeds(&nested(33), 32));
        assert!(exceeds(&"[{".repeat(17), 32));
        let flat = format!(r#"["\\","{}\"[",{}]"#, "[".repeat(50), "[],".repeat(50));
        assert!(!exceeds(&flat, 32));
        assert!(!exceeds(&format!(r#""{}"#, "{".repeat(50)), 32));
    }
}
