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
pub fn index_of(value_ns: u64) -> usize {
    // Counting from v - 1 makes the upper bound inclusive.
    let below = value_ns.saturating_sub(1);
    if below >> TOP_SHIFT != 0 {
        return OVERFLOW;
    }
    if below >> LINEAR_SHIFT == 0 {
        return (below >> (LINEAR_SHIFT - SUB_BITS)) as usize;
    }
    let octave = floor_log2(below);
    // The bits after the leading one select the bucket inside the octave.
    #[expect(clippy::cast_possible_truncation, reason = "the lowest bits are the ones wanted")]
    let sub = (below >> (octave - SUB_BITS)) as u32 & (SUB - 1);
    (SUB + (octave - LINEAR_SHIFT) * SUB + sub) as usize
}

/// Position of the highest set bit. BPF has no instruction for it, and LLVM's replacement is twice as long as this search.
#[inline(always)]
fn floor_log2(value: u64) -> u32 {
    let (mut rest, mut log2) = (value, 0);
    for shift in [32, 16, 8, 4, 2, 1] {
        if rest >> shift != 0 {
            rest >>= shift;
            log2 += shift;
        }
    }
    log2
}

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
mod tests;
