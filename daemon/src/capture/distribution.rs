//! A histogram in user space: sums of the kernel's buckets, quantiles, and the coarser buckets of the exposition.

use schedscope_ebpf::abi::Histogram;
use schedscope_ebpf::bucket::{BUCKETS, upper_bound_ns};

/// Observations of one kind of interval, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    pub(crate) sum_ns: u64,
    /// Largest observation, 0 if there is none.
    pub(crate) max_ns: u64,
    counts: Box<[u64; BUCKETS]>,
}

impl Default for Distribution {
    fn default() -> Self {
        Distribution { sum_ns: 0, max_ns: 0, counts: Box::new([0; BUCKETS]) }
    }
}

impl Distribution {
    /// Adds what one CPU counted.
    pub fn add(&mut self, histogram: &Histogram) {
        self.sum_ns += histogram.sum_ns;
        self.max_ns = self.max_ns.max(histogram.max_ns);
        for (sum, part) in self.counts.iter_mut().zip(histogram.counts) {
            *sum += part;
        }
    }

    /// What came after `before`, an earlier state of the same distribution. Of the largest observation only a bound is known: that of all.
    pub(crate) fn since(&self, before: &Distribution) -> Distribution {
        Distribution {
            sum_ns: self.sum_ns.saturating_sub(before.sum_ns),
            max_ns: self.max_ns,
            counts: Box::new(std::array::from_fn(|bucket| self.counts[bucket].saturating_sub(before.counts[bucket]))),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// For each bound, the number of observations up to it. The bounds ascend. Exact where a bound is one of the kernel's buckets, as every
    /// power of two from 2^8 ns is.
    pub(crate) fn cumulative(&self, bounds_ns: impl Iterator<Item = u64>) -> impl Iterator<Item = (u64, u64)> {
        let mut fine = (0..BUCKETS).map_while(|index| Some((upper_bound_ns(index)?, self.counts[index]))).peekable();
        let mut at_most = 0;
        bounds_ns.map(move |bound_ns| {
            while let Some((_, count)) = fine.next_if(|(upper_ns, _)| *upper_ns <= bound_ns) {
                at_most += count;
            }
            (bound_ns, at_most)
        })
    }

    /// The `q` quantile (0 to 1) in nanoseconds: the middle of its bucket, so it is off by at most 6.25 %; never above the
    /// largest observation. `None` without observations.
    pub(crate) fn quantile_ns(&self, q: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "q is clamped, the rank lies in 1..=count")]
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        for index in 0..BUCKETS {
            seen += self.counts[index];
            if seen >= rank {
                let lower = index.checked_sub(1).and_then(upper_bound_ns).unwrap_or(0);
                let middle = upper_bound_ns(index).map_or(self.max_ns, |upper| lower + (upper - lower) / 2);
                return Some(middle.min(self.max_ns));
            }
        }
        Some(self.max_ns)
    }
}

#[cfg(test)]
pub(crate) mod tests;
