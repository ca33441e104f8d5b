//! Whether a process has an event loop: an epoll instance among its files. Reading the names of links opens nothing of the process's.

use std::fs;

use crate::capture::snapshot::Tgid;

/// Files looked at: an event loop opens its instance early.
const FILES: usize = 64;

/// Whether it has one now, as far as may be seen.
pub(super) fn has_epoll(process: Tgid) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{}/fd", process.0)) else { return false };
    let is_epoll =
        |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:[eventpoll]");
    files.take(FILES).flatten().any(is_epoll)
}

#[cfg(test)]
mod tests {
    use rustix::event::epoll;

    use super::*;

    #[test]
    fn an_instance_is_seen_as_long_as_it_is_open() {
        let own = Tgid(std::process::id());
        let instance = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        assert!(has_epoll(own));
        drop(instance);
        assert!(!has_epoll(Tgid(u32::MAX)));
    }
}
