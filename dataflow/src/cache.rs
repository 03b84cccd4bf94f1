//! Memory that lies anywhere, taken into the processor's cache before it is used.
//!
//! What is used one piece after the other waits for memory each time. Memory answers many requests at
//! once, where none of them depends on what another one brings; so whoever is about to use many pieces
//! first looks at each, and does nothing with what it sees.

use std::hint::black_box;

/// How many pieces are brought together: memory answers no more at once, and a cache holds as many.
pub(crate) const TOGETHER: usize = 64;

/// How many lines of a piece are brought at most: more than most have.
const LINES: usize = 8;
const LINE_BYTES: usize = 64;

/// Brings some pieces, of long ones the beginning.
pub(crate) fn bring<'a>(pieces: impl Iterator<Item = &'a [u8]>) {
    let bytes = pieces.flat_map(|piece| piece.iter().step_by(LINE_BYTES).take(LINES));
    black_box(bytes.fold(0, |all, byte| all ^ byte));
}
