//! What this host can do, found out before anything is loaded, and how to fix what it lacks.

use schedscope_ebpf::abi::program;

use crate::capture::allowance::cgroups_are_whole;
use crate::capture::capabilities::{self, READING, STATISTICS};
use crate::capture::kernel::btf::Btf;
use crate::capture::kernel::functions;

const VMLINUX_BTF: &str = "/sys/kernel/btf/vmlinux";

/// What a finding means for tracing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is there.
    Good,
    /// Without it something is reported less precisely.
    Degraded,
    /// Without it nothing works.
    Fatal,
}

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub what: String,
    /// Whether it is there.
    pub verdict: Verdict,
    /// What was found, or what to do about it.
    pub detail: String,
}

impl Finding {
    fn new(what: &str, verdict: Verdict, detail: impl Into<String>) -> Finding {
        Finding { what: what.to_owned(), verdict, detail: detail.into() }
    }
}

pub(crate) fn examine() -> Vec<Finding> {
    let btf = std::fs::read(VMLINUX_BTF).map_err(|error| error.to_string());
    let btf = btf.and_then(|data| Btf::parse(data).map_err(|error| error.to_string()));
    let mut findings = vec![kernel_release(), pid_namespace(), privileges(), type_information(btf.as_ref().err())];
    if let Ok(btf) = btf {
        findings.extend(program::HOOKS.iter().map(|hook| hook_finding(&btf, hook)));
        findings.push(blocked_reasons(&btf));
        findings.push(run_delay(&btf));
    }
    findings.push(cgroup_namespace());
    findings.push(kernel_locks());
    findings.extend(rights());
    findings
}

/// The rights without which something is not known.
pub(crate) fn rights() -> impl Iterator<Item = Finding> {
    READING.into_iter().chain([STATISTICS]).map(|(name, capability, without)| {
        if capabilities::has(capability) {
            Finding::new(name, Verdict::Good, "held")
        } else {
            Finding::new(name, Verdict::Degraded, format!("without it {without}"))
        }
    })
}

/// The first finding that makes tracing impossible.
pub fn first_fatal() -> Option<Finding> {
    let error = std::fs::metadata(VMLINUX_BTF).err().map(|error| error.to_string());
    [pid_namespace(), privileges(), type_information(error.as_ref())].into_iter().find(|finding| finding.verdict == Verdict::Fatal)
}

fn type_information(error: Option<&String>) -> Finding {
    let Some(error) = error else { return Finding::new("type information", Verdict::Good, VMLINUX_BTF) };
    let fix = "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as those of Debian, Ubuntu and Fedora are";
    Finding::new("type information", Verdict::Fatal, format!("{VMLINUX_BTF}: {error}; {fix}"))
}

/// The kernel's release, as `uname -r` prints it; empty if /proc is not there.
pub fn kernel_release_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn kernel_release() -> Finding {
    match procfs::KernelVersion::current() {
        Ok(version) if version >= procfs::KernelVersion::new(5, 10, 0) => {
            Finding::new("kernel", Verdict::Good, kernel_release_name())
        }
        Ok(version) => Finding::new(
            "kernel",
            Verdict::Fatal,
            format!("{}.{} is too old: schedscope is tested from Linux 5.10 on", version.major, version.minor),
        ),
        Err(error) => Finding::new("kernel", Verdict::Degraded, format!("its version is not known: {error}; is /proc mounted?")),
    }
}

/// `PROC_PID_INIT_INO` in the kernel's `include/linux/proc_ns.h`.
const HOSTS_PID_NAMESPACE: &str = "pid:[4026531836]";

/// `PROC_CGROUP_INIT_INO` there.
const HOSTS_CGROUP_NAMESPACE: &str = "cgroup:[4026531835]";

/// The programs in the kernel know a process by its number on the host, and `/proc` shows those of this namespace.
fn pid_namespace() -> Finding {
    const WHAT: &str = "process ids";
    match std::fs::read_link("/proc/self/ns/pid") {
        Ok(namespace) if namespace.as_os_str() == HOSTS_PID_NAMESPACE => Finding::new(WHAT, Verdict::Good, "those of the host"),
        Ok(namespace) => {
            let fix = "start the container with --pid=host (docker run, podman run), in Kubernetes with hostPID: true in the spec of the pod, \
                       or run schedscope on the host";
            let lack = "these are a container's, and the kernel counts by the host's: no process can be told from another";
            Finding::new(WHAT, Verdict::Fatal, format!("{lack} ({}); {fix}", namespace.display()))
        }
        Err(error) => Finding::new(WHAT, Verdict::Degraded, format!("whether they are the host's is not known: {error}")),
    }
}

/// Whether the cgroups above our own, and beside it, can be seen.
pub(crate) fn cgroup_namespace() -> Finding {
    const WHAT: &str = "cgroups";
    match std::fs::read_link("/proc/self/ns/cgroup") {
        Ok(namespace) if namespace.as_os_str() == HOSTS_CGROUP_NAMESPACE => Finding::new(WHAT, Verdict::Good, "those of the host"),
        Ok(_) if cgroups_are_whole() => Finding::new(WHAT, Verdict::Good, "a container's, and the host's are mounted too"),
        Ok(_) => {
            let fix = "start the container with --cgroupns=host (docker run, podman run), or mount the host's /sys/fs/cgroup in it";
            let lack = "these are a container's: CPU quotas and weights of processes outside it are not told";
            Finding::new(WHAT, Verdict::Degraded, format!("{lack}; {fix}"))
        }
        Err(error) => Finding::new(WHAT, Verdict::Degraded, format!("whether they are the host's is not known: {error}")),
    }
}

fn privileges() -> Finding {
    const SYS_ADMIN: u64 = 1 << 21;
    const PERFMON: u64 = 1 << 38;
    const BPF: u64 = 1 << 39;
    let effective = procfs::process::Process::myself().and_then(|me| me.status()).map_or(0, |status| status.capeff);
    if effective & SYS_ADMIN != 0 {
        Finding::new("privileges", Verdict::Good, "CAP_SYS_ADMIN")
    } else if effective & (PERFMON | BPF) == PERFMON | BPF {
        Finding::new("privileges", Verdict::Good, "CAP_BPF and CAP_PERFMON")
    } else {
        let fix = "run it with sudo, a container with --cap-add=BPF,PERFMON or, in Kubernetes, these in capabilities.add";
        Finding::new("privileges", Verdict::Fatal, format!("loading BPF programs needs root, or CAP_BPF and CAP_PERFMON: {fix}"))
    }
}

fn hook_finding(btf: &Btf, hook: &str) -> Finding {
    let what = format!("hook {hook}");
    match btf.tracepoint_arguments(hook) {
        Some(arguments) => Finding::new(&what, Verdict::Good, format!("{arguments} arguments")),
        None if hook == program::SCHED_SWITCH => Finding::new(&what, Verdict::Fatal, "this kernel does not have it"),
        None => Finding::new(&what, Verdict::Degraded, format!("this kernel does not have it; {}", without(hook))),
    }
}

/// How the figures suffer where a program does not run.
pub(crate) fn without(program: &str) -> &'static str {
    match program {
        program::SCHED_WAKING => "the wait of a woken thread counts as blocked unless the kernel's own counters show it",
        program::SCHED_WAKEUP_NEW => "a thread's life begins a moment too early, at its fork",
        program::SCHED_MIGRATE_TASK => "migrations show at the next switch, without their cause",
        program::SCHED_PROCESS_FORK => "descendants are found late, by listing the host's tasks, and counted as fork_unseen",
        program::SCHED_PROCESS_EXEC => "processes keep the names they had before exec",
        program::SCHED_PROCESS_FREE => "details of an ended thread are released only when its slot is needed",
        program::SEED_TASKS => "running processes are found in /proc instead; a descendant whose fork was missed is not found",
        program::SAMPLE_CPU => "what a thread does on a CPU while it waits for a lock or another thread looks like work",
        _ => "nothing can be traced",
    }
}

fn blocked_reasons(btf: &Btf) -> Finding {
    if btf.has_enumerator("BPF_FUNC_task_pt_regs") {
        Finding::new("blocked reasons", Verdict::Good, "from the system call a thread is in")
    } else {
        Finding::new("blocked reasons", Verdict::Degraded, "reported as unknown, and yields as preemptions: needs Linux 5.15")
    }
}

/// Whether waits for locks inside the kernel can be told.
pub(crate) fn kernel_locks() -> Finding {
    match functions::of_kernel() {
        Ok(found) => {
            let count = found.iter().filter(|function| function.bytes != 0).count();
            Finding::new("kernel locks", Verdict::Good, format!("by {count} functions in /proc/kallsyms"))
        }
        Err(error) => {
            let without = "threads that wait for a lock inside the kernel count by the system call they are in";
            Finding::new("kernel locks", Verdict::Degraded, format!("{without}: {error}"))
        }
    }
}

fn run_delay(btf: &Btf) -> Finding {
    if btf.member("task_struct", &["sched_info", "run_delay"]).is_some() {
        Finding::new("run delay", Verdict::Good, "kept by the kernel, for the check")
    } else {
        Finding::new("run delay", Verdict::Degraded, "this kernel keeps none (CONFIG_SCHED_INFO): waits cannot be checked")
    }
}
