use super::*;
use proptest::prelude::*;

fn place() -> impl Strategy<Value = CpuPlace> {
    // Cores nest in caches and caches in nodes, as they do in hardware.
    (0_u32..16).prop_map(|core| CpuPlace { core, llc: core / 4, node: core / 8, reserved: 0 })
}

proptest! {
    #[test]
    fn distance_is_symmetric_and_names_the_nearest_shared_level(a in place(), b in place()) {
        let distance = Distance::between(&a, &b);
        prop_assert_eq!(distance, Distance::between(&b, &a));
        prop_assert_eq!(distance == Distance::Smt, a.core == b.core);
        prop_assert_eq!(distance == Distance::Llc, a.core != b.core && a.llc == b.llc);
        prop_assert_eq!(distance == Distance::Remote, a.node != b.node);
    }
}
