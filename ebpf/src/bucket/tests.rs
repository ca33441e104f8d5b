#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use proptest::prelude::*;

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
    fn the_search_finds_the_highest_bit(value in 1_u64..) {
        prop_assert_eq!(floor_log2(value), value.ilog2());
    }

    #[test]
    fn the_index_never_leaves_the_table(value: u64) {
        prop_assert!(index_of(value) < BUCKETS);
    }
}
