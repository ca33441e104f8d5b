//! Histogram buckets: a power of two split into eight, so a bucket is at most 12.5 % wider than its lower bound.
//!
//! Bounds are inclusive above, as Prometheus' `le` is: a value equal to a bound lands in the bucket that the bound closes.
//! Every eighth bound is a power of two, so whole octaves merge into the exported buckets without error.

/// Values up to this many nanoseconds (2^8) share eight linear buckets of 32 ns; below it the clock read itself is the error.
const LINEAR_SHIFT: u32 = 8;
/// log2 of the number of buckets per octave.
const SUB_BITS: u32 = 3;
/// Buckets per octave.
const SUB: u32 = 1 << SUB_BITS;
/// The last octave ends at 2^36 ns, 68.7 s. Longer values go to the overflow bucket, which has no upper bound.
const TOP_SHIFT: u32 = 36;

/// Number of buckets, the overflow bucket included: 8 linear + 28 octaves of 8 + 1.
pub const BUCKETS: usize = (SUB + (TOP_SHIFT - LINEAR_SHIFT) * SUB + 1) as usize;
/// Index of the bucket for everything above 2^36 ns.
pub const OVERFLOW: usize = BUCKETS - 1;

/// The bucket that `value_ns` falls into. Zero shares the first bucket.
///
/// Pairs with [`upper_bound_ns`]: `upper_bound_ns(i - 1) < value_ns <= upper_bound_ns(i)`.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the value cast is below 2^16")]
pub fn index_of(value_ns: u64) -> usize {
    // Counting from v - 1 makes the upper bound inclusive.
    let below = value_ns.wrapping_sub(1);
    // A value 256 times as large is eight octaves further on, so every value is looked up as one below 2^16.
    let (scaled, octaves) = if below >> 16 == 0 {
        (below, 0)
    } else if below >> 24 == 0 {
        (below >> 8, 8)
    } else if below >> 32 == 0 {
        (below >> 16, 16)
    } else if below >> TOP_SHIFT == 0 {
        (below >> 24, 24)
    } else {
        return if value_ns == 0 { 0 } else { OVERFLOW };
    };
    let octave = u32::from(LOG2_OF_BYTE[(scaled >> LINEAR_SHIFT) as usize & (LOG2_OF_BYTE.len() - 1)]);
    // The bits after the leading one select the bucket inside the octave. The leading one is still there and accounts for the linear
    // buckets, which come first.
    ((octaves + octave) * SUB) as usize + (scaled >> (octave + LINEAR_SHIFT - SUB_BITS)) as usize
}

/// Position of the highest set bit of a byte, 0 for 0. BPF has no instruction for it, and a search takes thirty.
///
/// It has a symbol of its own, since aya 0.14 does not resolve references to a bare offset in a section.
#[cfg_attr(target_arch = "bpf", unsafe(no_mangle))]
static LOG2_OF_BYTE: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 1_usize;
    while byte < table.len() {
        table[byte] = byte.ilog2().to_le_bytes()[0];
        byte += 1;
    }
    table
};

/// The inclusive upper bound of bucket `index` in nanoseconds; `None` for the overflow bucket and beyond.
pub fn upper_bound_ns(index: usize) -> Option<u64> {
    if index >= OVERFLOW {
        return None;
    }
    let index = index as u64;
    let sub = u64::from(SUB);
    if index < sub {
        return Some((index + 1) << (LINEAR_SHIFT - SUB_BITS));
    }
    let octave = u64::from(LINEAR_SHIFT) + (index - sub) / sub;
    let within = index % sub;
    Some((1 << octave) + ((within + 1) << (octave - u64::from(SUB_BITS))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_on_a_bound_lands_in_the_bucket_the_bound_closes() {
        for index in 0..OVERFLOW {
            let bound = upper_bound_ns(index).unwrap();
            assert_eq!(index_of(bound), index, "bound {bound}");
            assert_eq!(index_of(bound + 1), index + 1, "just above {bound}");
        }
    }

    #[test]
    fn powers_of_two_are_bounds() {
        for shift in LINEAR_SHIFT..=TOP_SHIFT {
            let bound = 1_u64 << shift;
            assert_eq!(upper_bound_ns(index_of(bound)), Some(bound));
        }
    }

    proptest! {
        #[test]
        fn a_bucket_is_at_most_an_eighth_wide(value in 257_u64..=(1 << TOP_SHIFT)) {
            let index = index_of(value);
            let upper = upper_bound_ns(index).unwrap();
            let lower = upper_bound_ns(index - 1).unwrap();
            prop_assert!(lower < value && value <= upper);
            prop_assert!((upper - lower) * 8 <= lower);
        }

        #[test]
        fn the_bucket_is_the_first_whose_bound_is_not_exceeded(value: u64, shift in 0..u64::BITS) {
            let value = value >> shift;
            let bounds = (0..BUCKETS).map(|index| upper_bound_ns(index).unwrap_or(u64::MAX));
            prop_assert_eq!(Some(index_of(value)), bounds.into_iter().position(|bound| value <= bound));
        }
    }
}
