use std::collections::BTreeSet;

use schedscope_ebpf::bucket::{index_of, upper_bound_ns};

use super::*;

#[test]
fn names_follow_the_conventions() {
    let mut seen = BTreeSet::new();
    for metric in ALL {
        let name = metric.name;
        assert!(seen.insert(name), "{name} occurs twice");
        assert!(name.starts_with(PREFIX));
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert_eq!(metric.unit == Unit::Info, name.ends_with("_info"), "{name}");
        assert_eq!(metric.unit == Unit::Seconds, name.contains("_seconds"), "{name}");
        assert!(metric.help.ends_with('.') && !metric.source.is_empty(), "{name}");
        // The only one whose series multiply: workloads by CPUs.
        let has = |bound| metric.labels.iter().any(|label| label.bound == bound);
        assert_eq!(has(Bound::Workloads) && has(Bound::Cpus), name == WORKLOAD_ON_CPU.name, "{name}");
        for label in metric.labels {
            if let Bound::Values(values) = label.bound {
                assert_eq!(values.iter().collect::<BTreeSet<_>>().len(), values.len(), "{name}: {}", label.name);
                assert!(values.iter().all(|value| !value.is_empty()), "{name}: {}", label.name);
            }
        }
    }
}

#[test]
fn exported_bounds_are_bounds_of_the_finer_buckets() {
    for bound in le_bounds_ns() {
        assert_eq!(upper_bound_ns(index_of(bound)), Some(bound));
    }
}

#[test]
fn series_multiply_by_label() {
    // 25 bounds and +Inf, the sum and the count.
    assert_eq!(WORKLOAD_TIMESLICE.series_at_most(3, 5), 3 * 28);
    assert_eq!(WORKLOAD_ON_CPU.series_at_most(3, 5), 3 * 5);
    assert_eq!(WORKLOAD_MIGRATIONS.series_at_most(3, 5), 3 * 2 * 4);
    assert_eq!(WORKLOAD_INFO.series_at_most(3, 5), 3);
    assert_eq!(CPU_TOPOLOGY.series_at_most(3, 5), 5);
    assert_eq!(BUILD_INFO.series_at_most(3, 5), 1);
}
