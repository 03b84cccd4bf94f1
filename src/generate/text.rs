//! Bytes of JSON, written by hand into a `Vec<u8>`: numbers, strings with their escapes, instants.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes a number without leading zeros.
pub(super) fn number(out: &mut Vec<u8>, n: u64) {
    padded(out, n, 1);
}

/// Writes a number with at least `width` (at most 20) digits.
pub(super) fn padded(out: &mut Vec<u8>, mut n: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while n > 0 {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width)..]);
}

/// Writes the lowest `width` (at most 16) hexadecimal digits.
pub(super) fn hex(out: &mut Vec<u8>, n: u64, width: usize) {
    let mut digits = [b'0'; 16];
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = HEX[((n >> (4 * place)) & 15) as usize];
    }
    out.extend_from_slice(&digits[16 - width..]);
}

/// Writes a JSON string; with `escaped`, what is not ASCII as `\u` escapes, surrogate pairs
/// beyond the basic plane.
pub(super) fn string(out: &mut Vec<u8>, value: &str, escaped: bool) {
    out.push(b'"');
    string_body(out, value, escaped);
    out.push(b'"');
}

/// Writes the inside of a JSON string.
pub(super) fn string_body(out: &mut Vec<u8>, value: &str, escaped: bool) {
    let plain = |b: &u8| *b >= b' ' && *b != b'"' && *b != b'\\' && (*b < 0x80 || !escaped);
    if value.as_bytes().iter().all(plain) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            // Both forms of the solidus are legal; the rarer one is the more interesting.
            '/' if escaped => out.extend_from_slice(b"\\/"),
            _ if c < ' ' || (escaped && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(b"\\u");
                    hex(out, u64::from(*unit), 4);
                }
            }
            _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// An instant and the RFC 3339 form it is written in.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub(super) seconds: u64,
    /// Nanoseconds, zero behind the first `digits` digits.
    pub(super) nanos: u64,
    /// How many fraction digits are written, 0 to 9.
    pub(super) digits: usize,
    /// An index of [`OFFSETS`].
    pub(super) offset: usize,
}

/// UTC offsets as they are written and in seconds. `Z` is there often, since most services use it.
pub(super) const OFFSETS: [(&str, i64); 8] = [
    ("Z", 0),
    ("+02:00", 7_200),
    ("Z", 0),
    ("-05:00", -18_000),
    ("Z", 0),
    ("+05:30", 19_800),
    ("+00:00", 0),
    ("-03:30", -12_600),
];

/// Writes a date, given in days since 1970-01-01, without quotes.
pub(super) fn date(out: &mut Vec<u8>, days: u64) {
    let (year, month, day) = civil(days);
    padded(out, year, 4);
    out.push(b'-');
    padded(out, month, 2);
    out.push(b'-');
    padded(out, day, 2);
}

/// Returns year and month of a date.
pub(super) fn month(days: u64) -> (u64, u64) {
    let (year, month, _) = civil(days);
    (year, month)
}

/// Writes an instant as RFC 3339, in the form that it asks for, with quotes.
pub(super) fn instant(out: &mut Vec<u8>, when: When) {
    let (offset, shift) = OFFSETS[when.offset];
    let local = when.seconds.saturating_add_signed(shift);
    out.push(b'"');
    date(out, local / 86_400);
    out.push(b'T');
    padded(out, local / 3_600 % 24, 2);
    out.push(b':');
    padded(out, local / 60 % 60, 2);
    out.push(b':');
    padded(out, local % 60, 2);
    if when.digits > 0 {
        out.push(b'.');
        padded(out, when.nanos / power_of_ten(9 - when.digits), when.digits);
    }
    out.extend_from_slice(offset.as_bytes());
    out.push(b'"');
}

/// Returns ten to the power of `digits`, at most 18.
pub(super) fn power_of_ten(digits: usize) -> u64 {
    const POWERS: [u64; 19] = {
        let mut powers = [1; 19];
        let mut i = 1;
        while i < powers.len() {
            powers[i] = powers[i - 1] * 10;
            i += 1;
        }
        powers
    };
    POWERS[digits]
}

/// Turns days since 1970-01-01 into year, month and day, by eras of 400 years that begin in March
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let leaps = day_of_era / 1_460 + day_of_era / 146_096;
    let year_of_era = (day_of_era + day_of_era / 36_524 - leaps) / 365;
    let passed = 365 * year_of_era + year_of_era / 4 - year_of_era / 100;
    let day_of_year = day_of_era - passed;
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
