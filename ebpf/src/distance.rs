//! How far a migration went, from the topology that the loader reads once from sysfs.

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

/// The nearest level of the topology that both CPUs share. The discriminant is the index into the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Distance {
    /// Another hardware thread of the same core.
    Smt = 0,
    /// Another core under the same last-level cache.
    Llc = 1,
    /// Another cache, same NUMA node.
    Node = 2,
    /// Another NUMA node.
    Remote = 3,
}

impl Distance {
    /// Every distance, nearest first.
    pub const ALL: [Distance; 4] = [Distance::Smt, Distance::Llc, Distance::Node, Distance::Remote];

    /// The value of the `distance` label and of the key in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Distance::Smt => "smt",
            Distance::Llc => "llc",
            Distance::Node => "node",
            Distance::Remote => "remote",
        }
    }

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
mod tests;
