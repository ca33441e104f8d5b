//! Python's interpreter lock, as a row of the models dashboard.

use schedscope::metrics::catalog;

use super::measures::{HOST_WORKLOAD, WORKLOAD, blocked_for, running};
use crate::{
    panel::{
        Panel, Text, Unit,
        kinds::{lines, stacked},
    },
    promql::{rate, value},
};

/// The panels.
pub(super) fn panels() -> Vec<Panel> {
    vec![
        lines(
            Unit::Share,
            Text {
                title: "Share of time lost to the lock",
                read: "Of the time in which threads held the CPU or waited for the lock, the part spent waiting. With n busy threads \
                       under one lock it is near (n - 1) / n; 0 %: the lock costs nothing.",
                next: "High: processes, or code that releases the lock; compare C of the twin that uses them.",
            },
        )
        .query(&blocked_for(&["gil"], WORKLOAD).per(&blocked_for(&["gil"], WORKLOAD).plus(&running(WORKLOAD)).above(0.001)), "{{workload}}"),
        lines(
            Unit::PerSecond,
            Text {
                title: "Hand-offs of the lock",
                read: "How often per second a thread gave the lock up because another had asked for it, and waited until that one had \
                       it. With the default interval of 5 ms it cannot pass 200 for each lock; a thread that takes the lock faster than \
                       the giver waits is not seen, about one in five where measured.",
                next: "Above 100 with several busy threads: they take turns by the interval; see the timeslices on the scheduler \
                       latency dashboard. Far below with long waits: a thread holds the lock in native code.",
            },
        )
        .query(&rate(&catalog::WORKLOAD_GIL_HANDOFFS).sum_by(WORKLOAD), "{{workload}}"),
        lines(
            Unit::Seconds,
            Text {
                title: "Switch interval",
                read: "After how long a waiting thread asks for the lock, as its last waits said; 5 ms unless the program changed it. \
                       Empty while no Python thread has waited.",
                next: "Not 5 ms: the program calls `sys.setswitchinterval`; shorter ones give more hand-offs and more switches.",
            },
        )
        .query(&value(&catalog::WORKLOAD_GIL_SWITCH_INTERVAL).max_by(HOST_WORKLOAD), "{{workload}} on {{instance}}")
        .sized(8, 8),
        stacked(
            Unit::Short,
            Text {
                title: "Python processes by their lock",
                read: "Processes in which a CPython was found, over all chosen hosts, by who shares a lock: the process, each \
                       interpreter of it, or nobody.",
                next: "Free-threaded builds should show no waits for the lock at all.",
            },
        )
        .query(&value(&catalog::PYTHON_PROCESSES).sum_by(&["gil"]), "{{gil}}")
        .sized(8, 8),
        stacked(
            Unit::Short,
            Text {
                title: "Python processes whose lock was not found",
                read: "Processes since the daemon started, by reason; their waits for the lock are counted as futex.",
                next: "not_readable: the daemon lacks CAP_SYS_PTRACE. no_symbols or unsupported_version: a build that it does not \
                       know.",
            },
        )
        .query(&value(&catalog::PYTHON_PROCESSES_UNRESOLVED).sum_by(&["reason"]), "{{reason}}")
        .sized(8, 8),
    ]
}
