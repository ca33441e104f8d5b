//! The inside: this program as the first process of the machine. It runs the plan and reports over the second serial port; the
//! first has the kernel's messages.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use perf_event::events::Software;
use perf_event::{Builder, Counter};
use rustix::mount::{MountFlags, mount};
use schedscope::capture::kernel::{StatsGuard, enable_stats};
use schedscope_ebpf::abi::program;
use serde_json::Value;
use serde_json::value::RawValue;

use super::emulation::RESULTS;
use super::plan::{EMULATED, Message, OWN_MACHINE, Outcome, PLAN, REPORT, Step};
use crate::workspace::PRIVILEGED;

const OUTPUT: &str = "/tmp/output.txt";
/// More than a failing test prints; a serial port of an emulated machine takes a second for 50 kB.
const OUTPUT_BYTES: usize = 32 * 1024;
/// What the host judges by. The rest of a report, by thread and over time, is megabytes.
const ESSENTIALS: [&str; 9] =
    ["check", "comparisons", "cpus", "loss", "migrations", "on_cpu_seconds_by_cpu", "switches", "tasks", "threads_differing"];

/// Runs the plan. The host ends the machine when it has read the last message.
pub(crate) fn run() -> Result<()> {
    for (kind, path) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tracefs", "/sys/kernel/tracing")] {
        fs::create_dir_all(path).with_context(|| format!("cannot create {path}"))?;
        match mount(kind, path, kind, MountFlags::empty(), None) {
            // A kernel may mount /dev by itself.
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot mount {path}")),
        }
    }
    let _users = keep_tracepoints_in_use()?;
    // In memory like everything here. No file system of its own, which would hide programs that were built below this path.
    fs::create_dir_all("/tmp").context("cannot create /tmp")?;
    raise_loopback().context("cannot bring up the loopback interface")?;
    let mut port = OpenOptions::new().write(true).open(RESULTS).context("cannot open the second serial port")?;
    let mut send = |message: &Message| -> Result<()> {
        let line = serde_json::to_string(message)?;
        writeln!(port, "{line}").context("cannot write to the second serial port")
    };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    send(&Message::Ready { release })?;
    let plan: Vec<Step> = serde_json::from_slice(&fs::read(PLAN).with_context(|| format!("cannot read {PLAN}"))?)?;
    for step in &plan {
        let outcome = perform(step).unwrap_or_else(|error| Outcome {
            name: step.name.clone(),
            output: format!("{error:#}"),
            ..Outcome::default()
        });
        send(&Message::Done(outcome))?;
    }
    // The kernel panics if its first process ends.
    loop {
        thread::park();
    }
}

/// Keeps the kernel from changing its own code while other processors run it, as long as the result lives.
///
/// Tracepoints, and some switches of perf and BPF, are branches that the kernel patches when the first user comes and when the last one
/// goes: it writes a breakpoint, then the rest of the instruction, then its first byte. QEMU discards its translation of the
/// instruction before it carries out such a write; another processor that comes by in between translates the old bytes again, and that
/// translation stays (seen with QEMU 7.2, also without schedscope: switching `events/sched/enable` on and off a few dozen times under
/// load is enough). A stale breakpoint ends in an endless loop on Linux 5.10, where the whole machine falls silent, and in an oops on
/// 7.2. With users that stay there is nothing to patch: the same was done 20,000 times without a failure.
fn keep_tracepoints_in_use() -> Result<(StatsGuard, Vec<Counter>)> {
    let write =
        |file: &Path, value: &str| fs::write(file, value).with_context(|| format!("cannot write {value} to {}", file.display()));
    // A tracepoint with one user calls that directly; from two on it goes through a list, and a third changes no code.
    for user in ["first", "second"] {
        let instance = Path::new("/sys/kernel/tracing/instances").join(user);
        fs::create_dir_all(&instance).with_context(|| format!("cannot create {}", instance.display()))?;
        // It is to be called, not to record.
        write(&instance.join("tracing_on"), "0")?;
        for hook in program::HOOKS {
            write(&instance.join("events/sched").join(hook).join("enable"), "1")?;
        }
    }
    let stats = enable_stats().context("cannot switch the kernel's BPF statistics on")?;
    // What the tests count with perf.
    let events = [Software::TASK_CLOCK, Software::CONTEXT_SWITCHES, Software::CPU_MIGRATIONS];
    let counters = events.into_iter().map(|event| Builder::new().kind(event).build()).collect::<io::Result<_>>();
    Ok((stats, counters.context("cannot open perf's software events")?))
}

/// Servers and their clients in the tests are on 127.0.0.1.
fn raise_loopback() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: a plain structure of integers, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = libc::c_char::try_from(b'l').unwrap_or_default();
    request.ifr_name[1] = libc::c_char::try_from(b'o').unwrap_or_default();
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    // SAFETY: the request names an interface and flags, and lives through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn perform(step: &Step) -> Result<Outcome> {
    let _ = fs::remove_file(REPORT);
    let (program, arguments) = step.command.split_first().context("a step without a command")?;
    let output = File::create(OUTPUT).with_context(|| format!("cannot create {OUTPUT}"))?;
    let start = Instant::now();
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", "/bin").env("HOME", "/tmp");
    command.envs([PRIVILEGED, EMULATED, OWN_MACHINE].map(|name| (name, "1")));
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    let exit_code = wait(&mut child, start + Duration::from_secs(step.timeout_seconds))?;
    let wall_seconds = start.elapsed().as_secs_f64();
    let printed = fs::read(OUTPUT).unwrap_or_default();
    let tail = &printed[printed.len().saturating_sub(OUTPUT_BYTES)..];
    let output = String::from_utf8_lossy(tail).into_owned();
    Ok(Outcome { name: step.name.clone(), exit_code, wall_seconds, output, report: report() })
}

/// Waits for the end, or kills the step when its time is over.
fn wait(child: &mut Child, deadline: Instant) -> Result<Option<i32>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// What matters of the report, if there is one. The parts stay unread text until the host judges them.
fn report() -> Option<Value> {
    let mut parts: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&fs::read(REPORT).ok()?).ok()?;
    parts.retain(|name, _| ESSENTIALS.contains(&name.as_str()));
    serde_json::to_value(parts).ok()
}
