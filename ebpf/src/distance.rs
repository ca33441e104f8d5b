//! How far a migration went, from the topology that the loader reads once from sysfs.

use crate::values;

/// Where a CPU sits. Equal numbers mean the same core, last-level cache or NUMA node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CpuPlace {
    /// Physical core, unique over the machine; CPUs of one core are SMT siblings.
    pub core: u32,
    /// Group of CPUs that share the last-level cache.
    pub llc: u32,
    /// NUMA node.
    pub node: u32,
    /// Keeps the record at 16 bytes, so that the map index is a shift.
    pub reserved: u32,
}

values! {
    /// The nearest level of the topology that both CPUs share. The value indexes the counters.
    #[repr(u8)]
    pub enum Distance {
        /// Another hardware thread of the same core.
        Smt = "smt",
        /// Another core under the same last-level cache.
        Llc = "llc",
        /// Another cache, same NUMA node.
        Node = "node",
        /// Another NUMA node.
        Remote = "remote",
    }
}

impl Distance {
    /// Distance between two different CPUs.
    #[inline(always)]
    pub fn between(from: &CpuPlace, to: &CpuPlace) -> Distance {
        if from.core == to.core {
            Distance::Smt
        } else if from.llc == to.llc {
            Distance::Llc
        } else if from.node == to.node {
            Distance::Node
        } else {
            Distance::Remote
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
}
