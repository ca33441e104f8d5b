//! Gets ready: builds, becomes root, and asks the tracer whether it can work here.

use std::{
    env, fs,
    io::IsTerminal,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::Arguments;
use crate::workspace::{cargo, find_program, run, target_dir};

/// What was built.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// Directory of build products.
    pub(crate) target: PathBuf,
    /// The tracer.
    pub(crate) schedscope: PathBuf,
    /// The native cells.
    pub(crate) workloads: PathBuf,
}

impl Programs {
    fn in_directory(target: &Path) -> Programs {
        let release = target.join("release");
        Programs {
            target: target.to_path_buf(),
            schedscope: release.join("schedscope"),
            workloads: release.join("schedscope-workloads"),
        }
    }
}

/// Builds as the user; then goes on as root, through sudo if need be; then checks the host.
pub(crate) fn prepare(arguments: &Arguments) -> Result<Programs> {
    let target = match &arguments.built_in {
        Some(target) => target.clone(),
        None => build()?,
    };
    // SAFETY: the call has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return become_root(arguments, &target);
    }
    let programs = Programs::in_directory(&target);
    examine(&programs)?;
    Ok(programs)
}

fn build() -> Result<PathBuf> {
    eprintln!("Building schedscope and its workloads (the first time takes minutes) ...");
    // Cargo draws a progress bar of its own on a terminal.
    run(cargo().args(["build", "--release", "--package", "schedscope", "--package", "schedscope-workloads"]))?;
    Ok(target_dir())
}

/// Runs this program again through sudo, if that can work; returns only to say that it can't.
fn become_root(arguments: &Arguments, target: &Path) -> Result<Programs> {
    let this = env::current_exe().context("cannot find out which program this is")?;
    let sudo = find_program("sudo").filter(|sudo| std::io::stdin().is_terminal() || asks_for_no_password(sudo));
    let Some(sudo) = sudo else {
        bail!("loading BPF programs needs root: run `sudo env \"PATH=$PATH\" cargo xtask trace`, or run it as root");
    };
    eprintln!("Loading BPF programs needs root: going on through sudo.");
    let mut command = Command::new(sudo);
    command.arg(this).args(["trace", "--built-in"]).arg(target);
    // The interpreter of the user's own search path, which root's may not have.
    let pythons =
        if arguments.python.is_empty() { find_program("python3").into_iter().collect() } else { arguments.python.clone() };
    for python in pythons {
        command.arg("--python").arg(own_path(&python));
    }
    if arguments.quick {
        command.arg("--quick");
    }
    if arguments.sweep {
        command.arg("--sweep");
    }
    if arguments.serve {
        command.arg("--serve");
    }
    if arguments.docs {
        command.arg("--docs");
    }
    if let Some(cells) = &arguments.cells {
        command.args(["--cells", cells]);
    }
    if let Some(repeats) = arguments.repeats {
        command.args(["--repeats", &repeats.to_string()]);
    }
    Err(command.exec()).context("cannot start sudo")
}

fn asks_for_no_password(sudo: &Path) -> bool {
    let quiet = Command::new(sudo).args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// Where the interpreter itself is, asked as the user: a version manager's script does not work for root.
fn own_path(python: &Path) -> PathBuf {
    let output = Command::new(python).args(["-c", "import sys; print(sys.executable)"]).stderr(Stdio::null()).output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    if text.trim().is_empty() { python.to_owned() } else { text.trim().into() }
}

/// Lets the tracer look at the host. Nothing is said if all is well.
fn examine(programs: &Programs) -> Result<()> {
    if !programs.schedscope.is_file() {
        bail!("{} is not there: run `cargo xtask trace` without --built-in", programs.schedscope.display());
    }
    let output = Command::new(&programs.schedscope).arg("doctor").output().context("cannot run `schedscope doctor`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        for line in text.lines().filter(|line| line.starts_with("less  program")) {
            eprintln!("doctor: {line}");
        }
        return Ok(());
    }
    for line in text.lines().filter(|line| line.starts_with("NO")) {
        eprintln!("{line}");
    }
    bail!("this host cannot be traced; `schedscope doctor` says more: {}", super::runtime::last_line(&output.stderr));
}

/// The model of the CPUs as the kernel names it.
pub(crate) fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "model not known".to_owned(), |(_, name)| name.trim().to_owned())
}

/// Gives what root wrote to the user who called sudo.
pub(crate) fn give_to_user(directory: &Path) {
    let id = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) else { return };
    let mut pending = vec![directory.to_path_buf()];
    while let Some(path) = pending.pop() {
        // Only a convenience: the files can be read in any case.
        let _ = std::os::unix::fs::lchown(&path, Some(user), Some(group));
        if path.is_dir() && !path.is_symlink() {
            pending.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
}
