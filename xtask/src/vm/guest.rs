//! The inside: this program as the first process of the machine. It runs the plan and reports over the second serial port; the
//! first has the kernel's messages.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::UdpSocket,
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    plan::{EMULATED, Message, OWN_MACHINE, Outcome, PLAN, PRIVILEGED, REPORT, STARTED, Step, Write},
    still,
};

const OUTPUT: &str = "/tmp/output.txt";
/// More than a failing test prints; a serial port takes a second for 50 kB of an emulated machine.
const OUTPUT_BYTES: usize = 32 * 1024;

/// Runs the plan. The host ends the machine when it has read the last message.
pub(crate) fn run() -> Result<()> {
    for (kind, path) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tracefs", "/sys/kernel/tracing")] {
        mount(kind, path)?;
    }
    let _still = still::hold()?;
    // In memory like everything here. No file system of its own, which would hide programs that were built below this path.
    fs::create_dir_all("/tmp").context("cannot create /tmp")?;
    raise_loopback().context("cannot bring up the loopback interface")?;
    let mut port = OpenOptions::new().write(true).open("/dev/ttyS1").context("cannot open the second serial port")?;
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
    send(&Message::End)?;
    // The kernel panics if its first process ends.
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn mount(kind: &str, path: &str) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {path}"))?;
    let (kind_c, path_c) = (CString::new(kind)?, CString::new(path)?);
    // SAFETY: the strings live through the call, and these file systems take no data.
    let result = unsafe { libc::mount(kind_c.as_ptr(), path_c.as_ptr(), kind_c.as_ptr(), 0, std::ptr::null()) };
    let error = io::Error::last_os_error();
    // A kernel may mount /dev by itself.
    if result != 0 && error.raw_os_error() != Some(libc::EBUSY) {
        return Err(error).with_context(|| format!("cannot mount {path}"));
    }
    Ok(())
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
    for file in [REPORT, STARTED] {
        let _ = fs::remove_file(file);
    }
    let (program, arguments) = step.command.split_first().context("a step without a command")?;
    let output = File::create(OUTPUT).with_context(|| format!("cannot create {OUTPUT}"))?;
    step.before.iter().try_for_each(perform_write)?;
    let start = Instant::now();
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", "/bin").env("HOME", "/tmp");
    command.envs([PRIVILEGED, EMULATED, OWN_MACHINE].map(|name| (name, "1")));
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    let mut writes = step.during.as_slice();
    let exit_code = wait(&mut child, step, &mut writes, start);
    let wall_seconds = start.elapsed().as_secs_f64();
    // What was switched off must be on for the next step.
    writes.iter().try_for_each(perform_write)?;
    let printed = fs::read(OUTPUT).unwrap_or_default();
    let tail = &printed[printed.len().saturating_sub(OUTPUT_BYTES)..];
    Ok(Outcome {
        name: step.name.clone(),
        exit_code: exit_code?,
        wall_seconds,
        output: String::from_utf8_lossy(tail).into_owned(),
        report: report(),
        writes_late: writes.len(),
    })
}

/// Waits for the end, or brings it about when the time is over.
fn wait(child: &mut Child, step: &Step, writes: &mut &[Write], start: Instant) -> Result<Option<i32>> {
    let mut started = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if started.is_none() && fs::exists(STARTED)? {
            started = Some(Instant::now());
        }
        let done = started.map_or(Ok(()), |started| write_due(writes, started));
        if done.is_err() || start.elapsed() > Duration::from_secs(step.timeout_seconds) {
            child.kill()?;
            child.wait()?;
            return done.map(|()| None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Does the writes whose time has come.
fn write_due(writes: &mut &[Write], started: Instant) -> Result<()> {
    while let Some((first, rest)) =
        writes.split_first().filter(|(first, _)| started.elapsed() >= Duration::from_millis(first.after_ms))
    {
        perform_write(first)?;
        *writes = rest;
    }
    Ok(())
}

fn perform_write(write: &Write) -> Result<()> {
    fs::write(&write.path, &write.value).with_context(|| format!("cannot write {} to {}", write.value, write.path))
}

/// What the host judges by. The rest, by thread and over time, is megabytes, and skipped unread.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Essentials {
    check: Value,
    comparisons: Value,
    loss: Value,
    migrations: Value,
    on_cpu_seconds_by_cpu: Value,
    switches: Value,
    tasks: Value,
    threads_differing: Value,
}

/// What matters of the report, if there is one.
fn report() -> Option<Value> {
    let essentials: Essentials = serde_json::from_slice(&fs::read(REPORT).ok()?).ok()?;
    serde_json::to_value(essentials).ok()
}
