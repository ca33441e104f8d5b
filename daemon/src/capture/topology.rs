//! CPUs of the host and how they share caches and nodes, from sysfs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use schedscope_ebpf::distance::CpuPlace;

/// The CPUs of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    online: Vec<u32>,
    /// Of every possible CPU.
    places: Vec<CpuPlace>,
}

impl Topology {
    /// Reads the running host's topology.
    pub fn read() -> Result<Topology> {
        Topology::read_from(Path::new("/sys/devices/system"))
    }

    /// Reads a topology below `root`, laid out as `/sys/devices/system` is.
    pub(crate) fn read_from(root: &Path) -> Result<Topology> {
        let cpus = |file: &str| {
            let path = root.join("cpu").join(file);
            let text = std::fs::read_to_string(&path);
            text.map(|text| parse_list(&text)).map_err(|error| anyhow!("cannot read {}: {error}; is /sys mounted?", path.display()))
        };
        let online = cpus("online")?;
        // The map index is the CPU number, and numbers can have gaps.
        let possible = cpus("possible")?.last().map_or(1, |last| last + 1);
        let nodes = node_of_cpu(root);
        Ok(Topology { online, places: (0..possible).map(|cpu| place(root, cpu, &nodes)).collect() })
    }

    /// One more than the highest CPU number the kernel can ever use.
    pub(crate) fn possible(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// CPU numbers online when the topology was read.
    pub(crate) fn online(&self) -> &[u32] {
        &self.online
    }

    /// How many cores of the hardware these CPUs are threads of.
    pub(crate) fn cores(&self, cpus: impl Iterator<Item = u32>) -> u32 {
        let cores: BTreeSet<u32> = cpus.map(|cpu| self.place(cpu).core).collect();
        u32::try_from(cores.len()).unwrap_or(u32::MAX)
    }

    /// Where a CPU sits; a place of its own if the kernel does not say.
    pub(crate) fn place(&self, cpu: u32) -> CpuPlace {
        self.places.get(cpu as usize).copied().unwrap_or(CpuPlace { core: cpu, llc: cpu, node: 0, reserved: 0 })
    }
}

/// Every group of CPUs is named after its lowest member, which is unique and does not change.
fn place(root: &Path, cpu: u32, nodes: &BTreeMap<u32, u32>) -> CpuPlace {
    let base = root.join(format!("cpu/cpu{cpu}"));
    let lowest = |path: PathBuf| std::fs::read_to_string(path).ok().and_then(|text| parse_list(&text).first().copied());
    let core = lowest(base.join("topology/thread_siblings_list")).unwrap_or(cpu);
    let package = lowest(base.join("topology/core_siblings_list")).unwrap_or(core);
    // Virtual machines often describe no caches; then the package is the best guess.
    let llc = last_level_cache(&base).and_then(lowest).unwrap_or(package);
    CpuPlace { core, llc, node: nodes.get(&cpu).copied().unwrap_or(0), reserved: 0 }
}

/// Path of the list of CPUs that share this one's highest-level cache.
fn last_level_cache(cpu: &Path) -> Option<PathBuf> {
    (0..8)
        .filter_map(|index| {
            let cache = cpu.join(format!("cache/index{index}"));
            let level: u32 = std::fs::read_to_string(cache.join("level")).ok()?.trim().parse().ok()?;
            Some((level, cache.join("shared_cpu_list")))
        })
        .max_by_key(|(level, _)| *level)
        .map(|(_, list)| list)
}

fn node_of_cpu(root: &Path) -> BTreeMap<u32, u32> {
    let mut nodes = BTreeMap::new();
    for entry in std::fs::read_dir(root.join("node")).into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix("node")?.parse().ok());
        if let (Some(node), Ok(list)) = (number, std::fs::read_to_string(entry.path().join("cpulist"))) {
            nodes.extend(parse_list(&list).into_iter().map(|cpu| (cpu, node)));
        }
    }
    nodes
}

/// Parses the kernel's list format, such as `0-3,8`. What is not a number is left out.
pub(crate) fn parse_list(text: &str) -> Vec<u32> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            // A malformed range must not fill the memory.
            cpus.extend(first..=last.min(first.saturating_add(65_535)));
        }
    }
    cpus
}

#[cfg(test)]
mod tests {
    use std::fs;

    use schedscope_ebpf::distance::Distance;

    use super::*;

    /// Writes files below a root.
    fn writer(root: &Path) -> impl Fn(&str, &str) {
        move |path, text| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn parses_the_kernels_lists() {
        assert_eq!(parse_list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(parse_list("5"), [5]);
        assert!(parse_list("\n").is_empty());
        // A malformed range is bounded.
        assert_eq!(parse_list("7-4294967295").len(), 65_536);
        assert_eq!(parse_list("x,3-,-4,2"), [2]);
    }

    #[test]
    fn reads_the_running_host() {
        let topology = Topology::read().unwrap();
        assert!(!topology.online().is_empty());
        assert!(topology.online().iter().all(|cpu| *cpu < topology.possible()));
    }

    #[test]
    fn distances_follow_two_sockets_with_smt() {
        let root = tempfile::tempdir().unwrap();
        let write = writer(root.path());
        write("cpu/online", "0-7\n");
        write("cpu/possible", "0-7\n");
        for cpu in 0..8 {
            let (core, socket) = (cpu / 2 * 2, cpu / 4 * 4);
            write(&format!("cpu/cpu{cpu}/topology/thread_siblings_list"), &format!("{core}-{}\n", core + 1));
            write(&format!("cpu/cpu{cpu}/topology/core_siblings_list"), &format!("{socket}-{}\n", socket + 3));
        }
        write("node/node0/cpulist", "0-3\n");
        write("node/node1/cpulist", "4-7\n");
        let topology = Topology::read_from(root.path()).unwrap();
        let distance = |a, b| Distance::between(&topology.place(a), &topology.place(b));
        assert_eq!(distance(0, 1), Distance::Smt);
        assert_eq!(distance(0, 2), Distance::Llc);
        assert_eq!(distance(3, 4), Distance::Remote);
        assert_eq!([vec![0, 1], vec![0, 2], vec![1, 2, 3, 5]].map(|cpus| topology.cores(cpus.into_iter())), [1, 2, 3]);
    }

    #[test]
    fn the_highest_cache_counts_and_numbers_may_have_gaps() {
        let root = tempfile::tempdir().unwrap();
        let write = writer(root.path());
        write("cpu/online", "0,2-3\n");
        write("cpu/possible", "0-3\n");
        for cpu in 0..4 {
            write(&format!("cpu/cpu{cpu}/topology/thread_siblings_list"), &format!("{cpu}\n"));
            write(&format!("cpu/cpu{cpu}/topology/core_siblings_list"), "0-3\n");
            write(&format!("cpu/cpu{cpu}/cache/index0/level"), "1\n");
            write(&format!("cpu/cpu{cpu}/cache/index0/shared_cpu_list"), &format!("{cpu}\n"));
            // Two caches of the third level in one package, listed before the second.
            write(&format!("cpu/cpu{cpu}/cache/index1/level"), "3\n");
            write(&format!("cpu/cpu{cpu}/cache/index1/shared_cpu_list"), if cpu < 2 { "0-1\n" } else { "2-3\n" });
            write(&format!("cpu/cpu{cpu}/cache/index2/level"), "2\n");
            write(&format!("cpu/cpu{cpu}/cache/index2/shared_cpu_list"), &format!("{cpu}\n"));
        }
        write("node/node5/cpulist", "0-3\n");
        write("node/possible", "5\n");
        let topology = Topology::read_from(root.path()).unwrap();
        assert_eq!((topology.possible(), topology.online()), (4, [0, 2, 3].as_slice()));
        assert_eq!(topology.place(1), CpuPlace { core: 1, llc: 0, node: 5, reserved: 0 });
        assert_eq!(topology.place(3), CpuPlace { core: 3, llc: 2, node: 5, reserved: 0 });
        // Nothing is known of it, so it shares nothing.
        assert_eq!(topology.place(9), CpuPlace { core: 9, llc: 9, node: 0, reserved: 0 });
    }

    #[test]
    fn without_sysfs_the_error_names_the_file() {
        let root = tempfile::tempdir().unwrap();
        let error = Topology::read_from(root.path()).unwrap_err().to_string();
        assert!(error.contains("cpu/online") && error.contains("/sys"), "{error}");
    }
}
