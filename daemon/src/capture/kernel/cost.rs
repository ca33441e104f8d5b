//! What the programs cost, by the kernel's own statistics.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::Ebpf;
use aya::programs::Program;
use aya::sys::Stats;

use super::KernelError;

/// Run time of one program. It does not grow while nobody has statistics enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    /// Name of the program.
    pub name: &'static str,
    /// Time in it, the clock reads of the metering included.
    pub run_ns: u64,
    /// Runs that were timed.
    pub runs: u64,
    /// Runs that the kernel left out because the program was already running on that CPU (5.12 and later).
    pub recursion_misses: u64,
}

/// Keeps the kernel's BPF statistics on until dropped. They cost every program on the host two clock reads a run.
#[derive(Debug)]
pub struct StatsGuard {
    _fd: OwnedFd,
}

/// Turns the kernel's BPF statistics on (5.8 and later).
pub fn enable_stats() -> Result<StatsGuard, KernelError> {
    Ok(StatsGuard { _fd: aya::sys::enable_stats(Stats::RunTime)? })
}

/// Cost so far of those of the programs that are attached.
pub(super) fn read(ebpf: &Ebpf, programs: impl IntoIterator<Item = &'static str>) -> Vec<ProgramCost> {
    programs.into_iter().filter_map(|name| read_one(ebpf, name)).collect()
}

/// A BPF program of any process on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostProgram {
    /// The kernel's number for it, never reused.
    pub id: u32,
    /// Its name, at most 15 characters.
    pub name: String,
    /// Time in it while statistics were on.
    pub run_ns: u64,
    /// Runs that were timed.
    pub runs: u64,
}

/// Every BPF program loaded on the host, whoever loaded it: for comparing costs.
pub fn host_programs() -> Result<Vec<HostProgram>, KernelError> {
    aya::programs::loaded_programs()
        .map(|info| {
            let info = info?;
            Ok(HostProgram {
                id: info.id(),
                name: info.name_as_str().unwrap_or_default().to_owned(),
                run_ns: u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX),
                runs: info.run_count(),
            })
        })
        .collect()
}

/// Numbers of every BPF map and link on the host, whoever made them.
pub fn host_maps_and_links() -> Result<(BTreeSet<u32>, BTreeSet<u32>), KernelError> {
    let maps = aya::maps::loaded_maps().map(|info| info.map(|info| info.id())).collect::<Result<_, _>>()?;
    let links = aya::programs::loaded_links().map(|info| info.map(|info| info.id())).collect::<Result<_, _>>()?;
    Ok((maps, links))
}

fn read_one(ebpf: &Ebpf, name: &'static str) -> Option<ProgramCost> {
    let Program::BtfTracePoint(hook) = ebpf.program(name)? else { return None };
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", hook.fd().ok()?.as_fd().as_raw_fd())).ok()?;
    let value = |key| field(&info, key).unwrap_or(0);
    Some(ProgramCost { name, run_ns: value("run_time_ns"), runs: value("run_cnt"), recursion_misses: value("recursion_misses") })
}

/// Value of a `key:\tvalue` line of a program's fdinfo.
fn field(fdinfo: &str, key: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn reads_a_line_by_its_whole_key() {
        let fdinfo = "pos:\t0\nprog_tag:\tabc\nrun_time_ns:\t123\nrun_cnt:\t7\n";
        assert_eq!(field(fdinfo, "run_time_ns"), Some(123));
        assert_eq!(field(fdinfo, "run_cnt"), Some(7));
        assert_eq!(field(fdinfo, "run"), None);
        assert_eq!(field(fdinfo, "recursion_misses"), None);
    }
}
