//! The image's root as a pod of the chart has it: in namespaces of its own, but for process ids and the network, with the chart's
//! capabilities and no others, and nothing to write to. The filter of system calls that a runtime would add is not there.

use std::ffi::CString;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use procfs::process::Process;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_remount};
use rustix::process::{chdir, chroot};
use rustix::thread::{CapabilitySet, UnshareFlags, remove_capability_from_bounding_set, set_no_new_privs, unshare_unsafe};
use schedscope::http::Http;

use crate::chart;
use crate::workspace::output;

const PROGRAM: &str = "/usr/bin/schedscope";
/// Where the chart has the configuration.
const CONFIGURATION: &str = "etc/schedscope/schedscope.toml";
/// Of a program outside of the image.
const WORKLOAD: &str = "outside";
/// Until the daemon has loaded its programs and has seen the other at work.
const LIMIT: Duration = Duration::from_secs(60);

/// Ends with its owner.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has the daemon in this root trace a program outside of it, and asks it.
pub(super) fn check(root: &Path) -> Result<()> {
    let rights = rights()?;
    let doctor = output(&mut in_pod(root, rights, &["doctor"])?)?;
    let lacks: Vec<&str> = doctor.lines().filter(|line| line.starts_with("less") || line.starts_with("NO")).collect();
    let is_known = |line: &&&str| line.contains("CAP_SYS_ADMIN") || line.contains("cgroups");
    ensure!(doctor.contains("\nschedscope can trace"), "as a pod its doctor says:\n{doctor}");
    ensure!(lacks.iter().filter(|line| !is_known(line)).count() == 0, "as a pod it lacks:\n{}", lacks.join("\n"));

    let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
    let program = directory.path().join("busy");
    fs::copy(fs::canonicalize("/bin/sh")?, &program).context("cannot copy the shell")?;
    let computing = Command::new(&program).args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn();
    let _outside = Ending(computing.context("cannot start a shell")?);
    let rule = format!("[[workload]]\nname = \"{WORKLOAD}\"\nmatch = {{ exe = \"{}\" }}\n", program.display());
    let configuration = root.join(CONFIGURATION);
    fs::create_dir_all(configuration.parent().unwrap_or(root))?;
    fs::write(&configuration, rule).with_context(|| format!("cannot write {}", configuration.display()))?;

    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).context("no port is free")?;
    let (file, listen) = (format!("--config=/{CONFIGURATION}"), format!("--listen=0.0.0.0:{}", address.port()));
    let daemon = in_pod(root, rights, &["daemon", &file, &listen, "--allow-remote"])?.spawn().context("cannot start the daemon")?;
    let mut daemon = Ending(daemon);
    let http = Http::new(address);
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(status) = daemon.0.try_wait()? {
            bail!("as a pod the daemon ends: {status}");
        }
        if http.text("/metrics").is_ok_and(|metrics| on_cpu_seconds(&metrics) > 0.0) {
            break;
        }
        ensure!(Instant::now() < deadline, "as a pod the daemon does not see a program outside: {:?}", http.text("/status"));
        sleep(Duration::from_millis(200));
    }
    ensure!(http.text("/healthz")?.trim() == "ok", "it is not well");
    let status = Process::new(daemon.0.id().cast_signed()).and_then(|process| process.status())?;
    ensure!(status.capbnd == Some(rights.bits()), "it was given the rights {:x?}", status.capbnd);
    Ok(())
}

/// Seconds on a CPU of the program outside, by the daemon.
fn on_cpu_seconds(metrics: &str) -> f64 {
    let prefix = format!("schedscope_workload_on_cpu_seconds_total{{workload=\"{WORKLOAD}\"");
    let values =
        metrics.lines().filter(|line| line.starts_with(&prefix)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

fn rights() -> Result<CapabilitySet> {
    let known =
        |name: &String| CapabilitySet::from_name(name).with_context(|| format!("the chart adds {name}, which is no capability"));
    chart::capabilities()?.iter().map(known).collect()
}

/// A command that runs the program in a root.
fn in_pod(root: &Path, rights: CapabilitySet, arguments: &[&str]) -> Result<Command> {
    let inside = |name: &str| CString::new(root.join(name).as_os_str().as_bytes()).context("the root has a path with a zero in it");
    let (top, proc, sys, dev) = (inside("")?, inside("proc")?, inside("sys")?, inside("dev")?);
    let own = move || -> io::Result<()> {
        let spaces = UnshareFlags::NEWNS | UnshareFlags::NEWCGROUP | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
        // SAFETY: no table of descriptors is unshared, so none is used that is gone.
        unsafe { unshare_unsafe(spaces)? };
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        mount_bind(&*top, &*top)?;
        mount(c"proc", &*proc, c"proc", MountFlags::empty(), None)?;
        mount(c"sysfs", &*sys, c"sysfs", MountFlags::RDONLY, None)?;
        mount_bind_recursive(c"/dev", &*dev)?;
        mount_remount(&*top, MountFlags::BIND | MountFlags::RDONLY, c"")?;
        chroot(&*top)?;
        chdir(c"/")?;
        // The kernel refuses the first that it does not know.
        let all = (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number));
        for capability in all.filter(|capability| !rights.contains(*capability)) {
            if remove_capability_from_bounding_set(capability).is_err() {
                break;
            }
        }
        set_no_new_privs(true)?;
        Ok(())
    };
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().stdin(Stdio::null());
    // SAFETY: between fork and exec it makes system calls only, and allocates nothing.
    unsafe { command.pre_exec(own) };
    Ok(command)
}
