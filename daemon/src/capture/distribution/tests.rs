use proptest::prelude::*;
use schedscope_ebpf::bucket::index_of;

use super::*;

pub(crate) fn histogram(values_ns: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    for &value_ns in values_ns {
        histogram.sum_ns += value_ns;
        histogram.max_ns = histogram.max_ns.max(value_ns);
        histogram.counts[index_of(value_ns)] += 1;
    }
    histogram
}

fn cumulative(distribution: &Distribution, bound_ns: u64) -> u64 {
    distribution.cumulative(std::iter::once(bound_ns)).map(|(_, count)| count).sum()
}

fn values() -> impl Strategy<Value = Vec<u64>> {
    let value = prop_oneof![1_u64..1_000, 1_000_u64..10_000_000, (0_u32..36).prop_map(|shift| 1 << shift)];
    prop::collection::vec(value, 1..200)
}

proptest! {
    #[test]
    fn what_came_after_is_what_was_added(before in values(), after in values()) {
        let mut distribution = Distribution::default();
        distribution.add(&histogram(&before));
        let then = distribution.clone();
        distribution.add(&histogram(&after));
        let mut added = Distribution::default();
        added.add(&histogram(&after));
        let since = distribution.since(&then);
        prop_assert_eq!((since.sum_ns, since.count()), (added.sum_ns, added.count()));
        for bound_ns in [256, 1 << 12, 1 << 20, 1 << 34] {
            prop_assert_eq!(cumulative(&since, bound_ns), cumulative(&added, bound_ns));
        }
    }

    /// The value of that rank among all observations, but for half a bucket: 6.25 %, or 16 ns below 256 ns.
    #[test]
    fn quantiles_are_the_values_of_their_rank(mut values in values(), q in prop_oneof![Just(0.0), Just(0.5), Just(0.99), Just(1.0), 0.0..1.0]) {
        let half = values.len() / 2;
        let mut distribution = Distribution::default();
        distribution.add(&histogram(&values[..half]));
        distribution.add(&histogram(&values[half..]));
        values.sort_unstable();
        let len = values.len();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
        let rank = ((q * len as f64).ceil() as usize).clamp(1, len);
        let exact = values[rank - 1] as f64;
        let found = distribution.quantile_ns(q).map_or(f64::NAN, |ns| ns as f64);
        prop_assert!((found - exact).abs() <= (exact * 0.0625).max(16.0), "{found}, exactly {exact}");
        prop_assert!(distribution.quantile_ns(q) <= values.last().copied());

        prop_assert_eq!(distribution.count(), len as u64);
        prop_assert_eq!(distribution.sum_ns, values.iter().sum::<u64>());
        prop_assert_eq!(Some(&distribution.max_ns), values.last());
        for (bound_ns, found) in distribution.cumulative((8..36).map(|shift| 1 << shift)) {
            let at_most = values.iter().filter(|&&value| value <= bound_ns).count() as u64;
            prop_assert_eq!(found, at_most, "{} ns", bound_ns);
        }
    }
}

#[test]
fn nothing_observed_has_no_quantile() {
    let none = Distribution::default();
    assert_eq!((none.quantile_ns(0.5), none.count(), cumulative(&none, u64::MAX)), (None, 0, 0));
}

#[test]
fn beyond_the_last_bound_only_the_maximum_is_known() {
    let mut distribution = Distribution::default();
    distribution.add(&histogram(&[10, 1 << 37, 1 << 38]));
    assert_eq!(distribution.quantile_ns(0.5), Some(1 << 38));
    assert_eq!(distribution.quantile_ns(0.1), Some(16));
    assert_eq!(cumulative(&distribution, u64::MAX), 1);
}
