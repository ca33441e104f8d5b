//! Label values of metrics about CPUs, about the check, and about the daemon itself.

use crate::values::values;

values! {
    /// What a CPU switched away from.
    pub enum CpuSwitchKind {
        /// A task.
        FromTask = "from_task",
        /// The idle task.
        FromIdle = "from_idle",
    }
}

values! {
    /// Whether our counts of a thread equal the kernel's.
    pub enum Verdict {
        /// All of them do.
        Equal = "equal",
        /// At least one does not.
        Differing = "differing",
    }
}

values! {
    /// A count that is compared with the kernel's, by the kernel's name.
    pub enum Quantity {
        /// Voluntary switches.
        Voluntary = "nvcsw",
        /// Involuntary switches.
        Involuntary = "nivcsw",
        /// Migrations.
        Migrations = "nr_migrations",
    }
}

values! {
    /// Why the server refused a request.
    pub enum Refusal {
        /// Too many were being served.
        TooMany = "too_many",
        /// Its `Host` was not a name of the loopback interface.
        ForeignHost = "foreign_host",
    }
}

values! {
    /// What failed in the daemon's loop.
    pub enum Stage {
        /// Reading the counters.
        Snapshot = "snapshot",
        /// Finding and naming new processes.
        Label = "label",
        /// Measuring what the BPF programs cost.
        ProgramCost = "program_cost",
        /// Reading the configuration again.
        Configuration = "configuration",
    }
}
