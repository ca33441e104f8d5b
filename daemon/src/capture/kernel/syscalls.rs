//! What a thread waits for in each system call: the table that the loader freezes into the programs.

use schedscope_ebpf::blocked::{Reason, SYSCALLS, class};

/// System calls in which a thread blocks, by what it waits for. Every other one is [`Reason::Other`]. Some only x86-64 still has.
const CLASSES: &[(Reason, &[libc::c_long])] = &[
    (
        Reason::Futex,
        &[
            libc::SYS_futex,
            libc::SYS_futex_waitv,
            SYS_FUTEX_WAIT,
            // Of all that they do, only a lock that somebody else has makes these wait.
            libc::SYS_fcntl,
            libc::SYS_flock,
            libc::SYS_semop,
            libc::SYS_semtimedop,
        ],
    ),
    (Reason::Sleep, &[libc::SYS_nanosleep, libc::SYS_clock_nanosleep]),
    (
        Reason::Poll,
        &[
            libc::SYS_ppoll,
            libc::SYS_pselect6,
            libc::SYS_epoll_pwait,
            libc::SYS_epoll_pwait2,
            libc::SYS_io_uring_enter,
            libc::SYS_rt_sigtimedwait,
        ],
    ),
    (
        Reason::PipeSocket,
        &[
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_readv,
            libc::SYS_writev,
            libc::SYS_recvfrom,
            libc::SYS_sendto,
            libc::SYS_recvmsg,
            libc::SYS_sendmsg,
            libc::SYS_recvmmsg,
            libc::SYS_sendmmsg,
            libc::SYS_accept,
            libc::SYS_accept4,
            libc::SYS_connect,
            libc::SYS_splice,
            libc::SYS_tee,
            libc::SYS_vmsplice,
            libc::SYS_sendfile,
            libc::SYS_mq_timedreceive,
            libc::SYS_mq_timedsend,
            libc::SYS_msgrcv,
            libc::SYS_msgsnd,
        ],
    ),
    #[cfg(target_arch = "x86_64")]
    (Reason::Sleep, &[libc::SYS_pause]),
    #[cfg(target_arch = "x86_64")]
    (Reason::Poll, &[libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_wait]),
    #[cfg(target_arch = "x86_64")]
    (Reason::ChildWait, &[libc::SYS_vfork]),
    (Reason::ChildWait, &[libc::SYS_wait4, libc::SYS_waitid, libc::SYS_clone, libc::SYS_clone3]),
    (
        Reason::Disk,
        &[
            libc::SYS_pread64,
            libc::SYS_pwrite64,
            libc::SYS_preadv,
            libc::SYS_pwritev,
            libc::SYS_preadv2,
            libc::SYS_pwritev2,
            libc::SYS_fsync,
            libc::SYS_fdatasync,
            libc::SYS_sync,
            libc::SYS_syncfs,
            libc::SYS_sync_file_range,
            libc::SYS_io_getevents,
        ],
    ),
];

/// Calls whose arguments matter too, and calls that lock the address space.
const FLAGS: &[(u8, &[libc::c_long])] = &[
    (class::COUNTED, &[libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_futex, libc::SYS_futex_waitv]),
    (class::FILES_0, &[libc::SYS_pselect6]),
    (class::FILES_1, &[libc::SYS_ppoll]),
    (
        class::MEMORY,
        &[
            libc::SYS_mmap,
            libc::SYS_munmap,
            libc::SYS_mprotect,
            libc::SYS_pkey_mprotect,
            libc::SYS_mremap,
            libc::SYS_brk,
            libc::SYS_madvise,
            libc::SYS_process_madvise,
            libc::SYS_mlock,
            libc::SYS_mlock2,
            libc::SYS_munlock,
            libc::SYS_mlockall,
            libc::SYS_munlockall,
            libc::SYS_msync,
            libc::SYS_mincore,
            libc::SYS_mbind,
            libc::SYS_move_pages,
            libc::SYS_migrate_pages,
            libc::SYS_remap_file_pages,
            libc::SYS_shmat,
            libc::SYS_shmdt,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_prctl,
            // An ending thread lets go of the address space.
            libc::SYS_exit,
            libc::SYS_exit_group,
        ],
    ),
    #[cfg(target_arch = "x86_64")]
    (class::COUNTED, &[libc::SYS_epoll_wait]),
    #[cfg(target_arch = "x86_64")]
    (class::FILES_0, &[libc::SYS_select]),
    #[cfg(target_arch = "x86_64")]
    (class::FILES_1, &[libc::SYS_poll]),
];
/// `futex_wait(2)`, Linux 6.7, the same number everywhere; not in every libc.
const SYS_FUTEX_WAIT: libc::c_long = 455;

/// The class of each system call by its number on this architecture.
pub(super) fn classes() -> [u8; SYSCALLS] {
    let mut table = [Reason::Other as u8; SYSCALLS];
    for (reason, calls) in CLASSES {
        for call in *calls {
            if let Some(entry) = usize::try_from(*call).ok().and_then(|call| table.get_mut(call)) {
                *entry = *reason as u8;
            }
        }
    }
    for (flag, calls) in FLAGS {
        for call in *calls {
            if let Some(entry) = usize::try_from(*call).ok().and_then(|call| table.get_mut(call)) {
                *entry |= flag;
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_call_is_in_the_table_once() {
        let table = classes();
        let mut listed: Vec<_> = CLASSES.iter().flat_map(|(reason, calls)| calls.iter().map(|call| (*call, *reason))).collect();
        for (call, reason) in &listed {
            let entry = usize::try_from(*call).ok().and_then(|call| table.get(call));
            assert_eq!(entry.map(|entry| entry & class::REASON), Some(*reason as u8), "system call {call}");
        }
        let count = listed.len();
        listed.sort_unstable();
        listed.dedup_by_key(|(call, _)| *call);
        assert_eq!(listed.len(), count, "a system call is listed twice");
    }
}
