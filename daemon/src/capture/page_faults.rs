//! What a page fault takes on this host.

use std::hint::black_box;
use std::time::Instant;

use super::run::Usage;

/// Beyond what every allocator keeps for itself.
const BYTES: usize = 64 << 20;
/// Pages of it that are used.
const PAGES: usize = 512;
/// The fastest counts: the others were disturbed.
const TRIES: usize = 5;
/// Programs with fewer page faults are not slow for them.
const MANY: u64 = 20_000;

/// The same, with what each of so many page faults took; that is measured now.
pub(crate) fn with_cost_of_faults(usage: Usage) -> Usage {
    if usage.page_faults < MANY { usage } else { Usage { fault_ns: fault_ns(), ..usage } }
}

/// From the use of fresh memory until the kernel has it back, for each page.
fn fault_ns() -> u64 {
    let page_bytes = usize::try_from(procfs::page_size()).unwrap_or(BYTES);
    let try_once = |_| {
        let mut memory = vec![0_u8; BYTES];
        let begin = Instant::now();
        memory.iter_mut().step_by(page_bytes).take(PAGES).for_each(|byte| *byte = 1);
        black_box(&memory);
        drop(memory);
        begin.elapsed().as_nanos() / PAGES as u128
    };
    (0..TRIES).map(try_once).min().and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_some_time_and_not_long() {
        assert!((50..50_000).contains(&fault_ns()), "{}", fault_ns());
    }

    #[test]
    fn it_is_measured_only_for_those_who_have_many() {
        let of = |page_faults| with_cost_of_faults(Usage { page_faults, ..Usage::default() }).fault_ns;
        assert!(of(MANY - 1) == 0 && of(MANY) > 0);
    }
}
