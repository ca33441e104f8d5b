//! What `/proc` and the kernel say about a process.

use std::io::Read;

use procfs::process::Process;

use super::identity::Identity;
use crate::capture::snapshot::Tgid;

/// `PF_KTHREAD` in the kernel's `include/linux/sched.h`.
const KERNEL_THREAD_FLAG: u32 = 0x0020_0000;

/// Reads the identity of a process, but for its script, which is in its own memory, and its container; `None` if it has ended.
pub(crate) fn read_identity(tgid: Tgid) -> Option<Identity> {
    let process = Process::new(i32::try_from(tgid.0).ok()?).ok()?;
    let stat = process.stat().ok()?;
    let exe = process.exe().ok().map(|path| path.to_string_lossy().into_owned());
    // The kernel appends this when the file was replaced or removed, as an upgrade does; the program is the same.
    let exe = exe.map(|path| path.strip_suffix(" (deleted)").map_or(path.clone(), str::to_owned));
    let mut groups = Vec::new();
    let read = process.open_relative("cgroup").map_or(Ok(0), |mut file| file.read_to_end(&mut groups));
    let cgroup = if read.is_ok() { cgroup_of(&groups) } else { String::new() };
    let is_kernel_thread = stat.flags & KERNEL_THREAD_FLAG != 0;
    Some(Identity { comm: stat.comm, exe, cgroup, is_kernel_thread, ..Identity::default() })
}

/// The cgroup that names units and containers, of a `cgroup` file; its path may be of any bytes. The unified hierarchy has number 0; with
/// cgroup v1 alone, systemd's is the one.
pub(crate) fn cgroup_of(groups: &[u8]) -> String {
    let text = String::from_utf8_lossy(groups);
    // As `4:cpu,cpuacct:/path`, and a path may end in what looks like part of the line's end.
    let groups = || {
        text.split('\n').filter_map(|line| line.split_once(':')).filter_map(|(number, rest)| Some((number, rest.split_once(':')?)))
    };
    let unified = groups().find(|(number, (_, path))| *number == "0" && *path != "/");
    let systemd = || groups().find(|(_, (controllers, _))| controllers.split(',').any(|controller| controller == "name=systemd"));
    unified.or_else(systemd).map(|(_, (_, path))| path.to_owned()).unwrap_or_default()
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
    }

    #[test]
    fn an_executable_that_was_removed_keeps_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(dir.path()).unwrap().join("sleeper");
        std::fs::copy("/bin/sleep", &path).unwrap();
        let mut child = std::process::Command::new(&path).arg("60").spawn().unwrap();
        std::fs::remove_file(&path).unwrap();
        let identity = read_identity(Tgid(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(identity.unwrap().exe.as_deref(), path.to_str());
    }

    #[test]
    fn a_process_that_ended_is_not() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(read_identity(Tgid(child.id())), None);
    }
}
