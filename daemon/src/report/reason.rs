//! What to call the reasons for which threads block.

/// The reason as the title of a row.
pub(super) fn title(reason: &str) -> &str {
    match reason {
        "gil" => "the GIL",
        "futex" => "a lock or another thread (futex)",
        "sleep" => "a timed sleep",
        "poll" => "events (poll, select, epoll)",
        "pipe_socket" => "a pipe, socket or terminal",
        "child_wait" => "a child process",
        "disk" => "the disk",
        "page_fault" => "a page fault",
        "stopped" => "being continued (stopped)",
        "other" => "another system call",
        "unknown" => "something the kernel does not tell",
        unheard_of => unheard_of,
    }
}

/// What the threads do, as a verb with its object: "wait for the GIL", "waits for the GIL".
pub(super) fn verb(reason: &str, plural: bool) -> String {
    let (verb, object) = match reason {
        "sleep" => (if plural { "sleep" } else { "sleeps" }, String::new()),
        "stopped" => (if plural { "are" } else { "is" }, " stopped".to_owned()),
        "futex" => (if plural { "wait" } else { "waits" }, " for locks or other threads".to_owned()),
        "poll" => (if plural { "wait" } else { "waits" }, " for events".to_owned()),
        "pipe_socket" => (if plural { "wait" } else { "waits" }, " for pipes or sockets".to_owned()),
        "child_wait" => (if plural { "wait" } else { "waits" }, " for child processes".to_owned()),
        "other" => (if plural { "are" } else { "is" }, " blocked in other system calls".to_owned()),
        "unknown" => (if plural { "are" } else { "is" }, " blocked for an unknown reason".to_owned()),
        _ => (if plural { "wait" } else { "waits" }, format!(" for {}", title(reason))),
    };
    format!("{verb}{object}")
}

#[cfg(test)]
mod tests {
    use schedscope_ebpf::blocked::Reason;

    use super::*;

    #[test]
    fn every_reason_of_the_kernel_side_has_a_title() {
        for reason in Reason::ALL {
            assert_ne!(title(reason.name()), reason.name());
        }
    }
}
