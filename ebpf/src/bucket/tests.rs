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
fn zero_and_the_largest_value_have_buckets() {
    assert_eq!((index_of(0), index_of(1), index_of(u64::MAX)), (0, 0, OVERFLOW));
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
    fn the_bucket_is_the_first_whose_bound_is_not_exceeded(shift in 0_u32..=TOP_SHIFT, low: u64) {
        let value = (1_u64 << shift) + low % (1 << shift);
        let bounds = (0..BUCKETS).map(|index| upper_bound_ns(index).unwrap_or(u64::MAX));
        prop_assert_eq!(Some(index_of(value)), bounds.into_iter().position(|bound| value <= bound));
    }

    #[test]
    fn the_index_never_leaves_the_table(value: u64) {
        prop_assert!(index_of(value) < BUCKETS);
    }
}
