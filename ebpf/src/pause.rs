//! Whether a program waits for another thread without giving its CPU up.
//!
//! Processors have an instruction for loops that do so, and the libraries whose threads wait in loops use it: those of OpenMP, spin locks of
//! pthreads, Java's `onSpinWait`, Rust's `spin_loop`. It is short and has no other use, so that a thread that is found beside one waits.

/// Code to look at, in words: half of it before the instruction at which a thread is found, since the time of a pause is told of what comes
/// after it. A loop that waits is not longer.
pub const CODE_WORDS: usize = 4;
/// Bytes of it.
pub const CODE_BYTES: usize = 8 * CODE_WORDS;

/// `pause` of x86-64, each byte of it in all bytes of a word.
const PAUSE: [u64; 2] = [0xf3 * BYTES, 0x90 * BYTES];
/// 1 in all bytes of a word.
const BYTES: u64 = u64::MAX / 0xff;
/// `yield`, `wfe` and `isb sy` of aarch64, by the first of which C and by the last of which Rust waits.
const HINTS: [u32; 3] = [0xd503_203f, 0xd503_205f, 0xd503_3fdf];

/// Whether there is such an instruction among these of x86-64, which begin anywhere.
///
/// By words, as the stack of a BPF program has no room for all that can be told of bytes.
#[inline(always)]
pub fn is_in_x86_64(code: &[u64; CODE_WORDS]) -> bool {
    let mut found = 0;
    let mut at = 0;
    while at < CODE_WORDS {
        // The byte after the last one is no second byte of a pause.
        let after = if at + 1 < CODE_WORDS { code[at + 1] } else { 0 };
        let seconds = code[at] >> 8 | after << 56;
        // A byte of 0 wherever both fit.
        let differing = (code[at] ^ PAUSE[0]) | (seconds ^ PAUSE[1]);
        found |= differing.wrapping_sub(BYTES) & !differing & (0x80 * BYTES);
        at += 1;
    }
    found != 0
}

/// The same of aarch64, whose instructions are half a word each.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "one half after the other")]
pub fn is_in_aarch64(code: &[u64; CODE_WORDS]) -> bool {
    let mut found = false;
    let mut at = 0;
    while at < CODE_WORDS {
        let halves = [code[at] as u32, (code[at] >> 32) as u32];
        for hint in HINTS {
            found |= halves[0] == hint || halves[1] == hint;
        }
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: [u8; 2] = [0xf3, 0x90];

    fn with(at: usize, bytes: &[u8]) -> [u64; CODE_WORDS] {
        let mut code = [0x66; CODE_BYTES];
        code[at..at + bytes.len()].copy_from_slice(bytes);
        core::array::from_fn(|word| u64::from_le_bytes(core::array::from_fn(|byte| code[8 * word + byte])))
    }

    #[test]
    fn a_pause_is_found_wherever_it_begins() {
        for at in 0..=CODE_BYTES - 2 {
            assert!(is_in_x86_64(&with(at, &PAUSE)), "{at}");
        }
        for other in [[0xf3, 0x91], [0xf2, 0x90], [0x90, 0xf3], [0xf4, 0x90], [0xf3, 0x8f]] {
            for at in 0..=CODE_BYTES - 2 {
                assert!(!is_in_x86_64(&with(at, &other)), "{other:x?} at {at}");
            }
        }
        assert!(!is_in_x86_64(&with(CODE_BYTES - 1, &PAUSE[..1])), "half of it");
    }

    #[test]
    fn a_hint_is_a_word_of_its_own() {
        for hint in HINTS {
            for at in (0..CODE_BYTES).step_by(4) {
                assert!(is_in_aarch64(&with(at, &hint.to_le_bytes())), "{hint:x} at {at}");
            }
            assert!(!is_in_aarch64(&with(2, &hint.to_le_bytes())), "amid two words");
            assert!(!is_in_aarch64(&with(4, &(hint ^ 0x100).to_le_bytes())), "another instruction");
        }
    }
}
