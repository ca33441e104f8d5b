//! What `/proc` and the kernel say about a process.

use procfs::process::Process;

use super::identity::Identity;
use crate::capture::snapshot::Tgid;

/// `PF_KTHREAD` in the kernel's `include/linux/sched.h`.
const KERNEL_THREAD_FLAG: u32 = 0x0020_0000;

/// Reads the identity of a process; `None` if it has ended.
pub(crate) fn read_identity(tgid: Tgid) -> Option<Identity> {
    let process = Process::new(i32::try_from(tgid.0).ok()?).ok()?;
    let stat = process.stat().ok()?;
    let exe = process.exe().ok().map(|path| path.to_string_lossy().into_owned());
    // The unified hierarchy has number 0; with cgroup v1 alone, systemd's is the one that names units.
    let groups = process.cgroups().map(|groups| groups.0).unwrap_or_default();
    let unified = groups.iter().find(|group| group.hierarchy == 0 && group.pathname != "/");
    let systemd = || groups.iter().find(|group| group.controllers.iter().any(|controller| controller == "name=systemd"));
    let cgroup = unified.or_else(systemd).map(|group| group.pathname.clone()).unwrap_or_default();
    Some(Identity { comm: stat.comm, exe, cgroup, is_kernel_thread: stat.flags & KERNEL_THREAD_FLAG != 0 })
}

/// CPU numbers up to 1,023, as many as the C library's `cpu_set_t` holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuSet([u64; size_of::<libc::cpu_set_t>() / 8]);

impl CpuSet {
    /// The CPUs that the main thread of a process may run on; `None` if it has ended or the host has more than 1,024 CPUs.
    pub(crate) fn of_process(tgid: Tgid) -> Option<CpuSet> {
        let mut set = CpuSet::default();
        let pid = i32::try_from(tgid.0).ok()?;
        // SAFETY: the words are valid for writing `cpu_set_t`'s size, which is given, and aligned as it is.
        let status = unsafe { libc::sched_getaffinity(pid, size_of::<CpuSet>(), set.0.as_mut_ptr().cast()) };
        (status == 0).then_some(set)
    }

    pub(crate) fn add(&mut self, other: &CpuSet) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let own = Tgid(std::process::id());
        let identity = read_identity(own).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(identity.exe.as_deref(), exe.to_str());
        assert!(!identity.is_kernel_thread);
        assert!(exe.file_name().unwrap().to_string_lossy().starts_with(&identity.comm[..identity.comm.len().min(8)]));
        let set = CpuSet::of_process(own).unwrap();
        // The standard library may see fewer, because of a cgroup quota, but never more.
        assert!(set.count() as usize >= std::thread::available_parallelism().unwrap().get());
        let mut union = CpuSet::default();
        union.add(&set);
        union.add(&set);
        assert_eq!(union, set);
    }

    #[test]
    fn a_process_that_ended_is_not() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(read_identity(Tgid(child.id())), None);
        assert!(CpuSet::of_process(Tgid(child.id())).is_none());
    }
}
