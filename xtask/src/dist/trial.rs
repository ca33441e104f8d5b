//! Installs each package where nothing else is, and traces with what was installed.
//!
//! A root of its own is entered in a mount namespace of its own, with the kernel's file systems mounted; nothing of it is left.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use schedscope::report::RunReport;
use serde_json::Value;
use tempfile::TempDir;

use super::{Packaging, pod};
use crate::architecture::Architecture;
use crate::debian::{Archive, Release};
use crate::outcome::{Counts, Outcome};
use crate::test::find_bpf;
use crate::workspace::{find_program, output, run, target_dir};
use crate::{chart, debian};

/// What an engine of containers does before it starts the program: `$1` is the root.
const ENTER: &str = r#"set -e
root=$1
for dir in dev proc sys; do
    mkdir -p "$root/$dir"
    mount --rbind "/$dir" "$root/$dir"
done
exec chroot "$@""#;
/// For the programs that enter a root, and for those in one.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Cells of the lab that need no Python, and those that need one.
const NATIVE: &str = "native-hash-*";
const PYTHON: &str = "hash-*";

/// The releases of Debian that are installed in; their keys are older than they are.
const SUITES: [&str; 2] = ["oldstable", "stable"];

/// Has a Python install a wheel and nothing but that.
const PIP: [&str; 6] = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"];

/// An installed program, by its paths as it sees them.
struct Installed {
    /// The root that it is in, if it is not ours.
    root: Option<PathBuf>,
    program: PathBuf,
    /// Where it may write.
    scratch: PathBuf,
}

pub(super) fn archive(packaging: &Packaging, path: &Path) -> Result<Outcome> {
    let Some(root) = empty_root(packaging)? else { return Ok(skipped(packaging)) };
    let prefix = root.path().join("usr/local");
    fs::create_dir_all(&prefix)?;
    // As docs/installing.md says.
    run(Command::new("tar").arg("-xzf").arg(path).arg("-C").arg(&prefix).arg("--strip-components=1"))?;
    let installed = Installed::in_root(root.path(), "/usr/local/bin/schedscope")?;
    installed.check(packaging, NATIVE).map(passed)
}

pub(super) fn image(packaging: &Packaging, path: &Path) -> Result<Outcome> {
    let Some(root) = empty_root(packaging)? else { return Ok(skipped(packaging)) };
    run(Command::new("tar").arg("-xzf").arg(path).arg("-C").arg(root.path()))?;
    pod::check(root.path())?;
    let installed = Installed::in_root(root.path(), "/usr/bin/schedscope")?;
    installed.check(packaging, NATIVE).map(|checks| passed(checks + 2))
}

/// In fresh Debians with their own package managers; where none can be had, what is in the package in an empty root.
pub(super) fn deb(packaging: &Packaging, path: &Path) -> Result<Outcome> {
    let Some(root) = empty_root(packaging)? else { return Ok(skipped(packaging)) };
    let mut counts = Counts::default();
    for suite in SUITES {
        match debian(suite) {
            Ok(debian) => counts.passed += deb_in(&debian, &root.path().join(suite), packaging, path).context(suite)?,
            Err(lack) => counts.skipped.push(format!("no Debian {suite} to install in: {lack:#}")),
        }
    }
    if counts.passed == 0 {
        run(Command::new("dpkg-deb").arg("--info").arg(path))?;
        run(Command::new("dpkg-deb").arg("--extract").arg(path).arg(root.path()))?;
        counts.passed = Installed::in_root(root.path(), "/usr/bin/schedscope")?.check(packaging, NATIVE)?;
    }
    Ok(Outcome::Passed(counts))
}

/// In a copy of a fresh Debian. Returns how many things were checked.
fn deb_in(debian: &Path, root: &Path, packaging: &Packaging, path: &Path) -> Result<usize> {
    run(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(debian).arg(root))?;
    let package = root.join("tmp/schedscope.deb");
    fs::copy(path, &package).with_context(|| format!("cannot write {}", package.display()))?;
    let inside = |words: &[&str]| output(entered(root).args(words));

    inside(&["dpkg", "--install", "/tmp/schedscope.deb"])?;
    let changed = inside(&["dpkg", "--verify", "schedscope"])?;
    ensure!(changed.is_empty(), "files differ from the package:\n{changed}");
    let owned = inside(&["dpkg-query", "--show", "--showformat=${Conffiles}", "schedscope"])?;
    ensure!(owned.contains("/etc/schedscope.toml"), "the configuration is not kept when a new version comes: {owned:?}");
    let completion = ". /usr/share/bash-completion/completions/schedscope && complete -p schedscope";
    inside(&["bash", "-c", completion]).context("bash does not complete it")?;
    let passed = Installed::in_root(root, "/usr/bin/schedscope")?.check(packaging, PYTHON)?;
    inside(&["dpkg", "--purge", "schedscope"])?;
    for gone in
        ["usr/bin/schedscope", "etc/schedscope.toml", "usr/lib/systemd/system/schedscope.service", "usr/share/doc/schedscope"]
    {
        ensure!(!root.join(gone).exists(), "/{gone} is left after purging");
    }
    Ok(passed + 5)
}

pub(super) fn wheel(packaging: &Packaging, path: &Path) -> Result<Outcome> {
    let Some(python) = find_program("python3") else {
        return Ok(Outcome::Skipped { reason: "no python3".into(), is_avoidable: true });
    };
    let Some(directory) = empty_root(packaging)? else { return Ok(skipped(packaging)) };
    let environment = directory.path().join("venv");
    run(Command::new(python).args(["-m", "venv"]).arg(&environment)).context("install the package python3-venv")?;
    run(Command::new(environment.join("bin/python")).args(PIP).arg(path))?;
    let program = environment.join("bin/schedscope");
    let installed = Installed { root: None, program, scratch: directory.path().to_owned() };
    let mut counts = Counts { passed: installed.check(packaging, NATIVE)?, ..Counts::default() };

    let root = directory.path().join("musl");
    match musl(&root, packaging.build.architecture) {
        Ok(()) => counts.passed += wheel_with_musl(&environment, &root, packaging, path).context("with musl")?,
        Err(lack) => counts.skipped.push(format!("no musl to install beside: {lack:#}")),
    }
    Ok(Outcome::Passed(counts))
}

/// Where musl is the only C library, as in Alpine. Debian has no Python that is linked with it, so pip installs for it from outside.
/// Returns how many things were checked.
fn wheel_with_musl(environment: &Path, root: &Path, packaging: &Packaging, path: &Path) -> Result<usize> {
    // As a Python there asks that was linked with musl 1.2; told the first only, pip would take nothing for the second.
    let platforms = ["1_2", "1_1"].map(|version| format!("musllinux_{version}_{}", packaging.build.architecture.name()));
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(PIP).args(["--only-binary", ":all:"]);
    pip.args(platforms.iter().flat_map(|platform| ["--platform", platform]));
    run(pip.arg("--target").arg(root.join("opt/schedscope")).arg(path))?;
    // musl's loader says what it is and fails, as it is given no program.
    let libraries = output(entered(root).args(["/bin/sh", "-c", "ls -d /lib*/ld-*; /lib/ld-musl-*.so.1 2>&1 || true"]))?;
    ensure!(libraries.contains("musl libc") && !libraries.contains("ld-linux"), "the C library there is another:\n{libraries}");
    Installed::in_root(root, "/opt/schedscope/bin/schedscope")?.check(packaging, NATIVE).map(|passed| passed + 1)
}

pub(super) fn helm_chart(_: &Packaging, path: &Path) -> Result<Outcome> {
    match chart::find().or_else(|_| chart::install()) {
        Ok(()) => chart::check(path),
        Err(error) => Ok(Outcome::Skipped { reason: format!("{error:#}"), is_avoidable: true }),
    }
}

fn passed(passed: usize) -> Outcome {
    Outcome::Passed(Counts { passed, ..Counts::default() })
}

/// A directory without anything; none if what is built cannot trace here.
fn empty_root(packaging: &Packaging) -> Result<Option<TempDir>> {
    if !packaging.build.architecture.is_this_hosts() || find_bpf().is_err() {
        return Ok(None);
    }
    tempfile::tempdir().map(Some).context("cannot create a temporary directory")
}

fn skipped(packaging: &Packaging) -> Outcome {
    let architecture = packaging.build.architecture;
    let reason = match find_bpf() {
        Err(error) if architecture.is_this_hosts() => format!("{error:#}"),
        _ => format!("this machine does not run programs for {}", architecture.name()),
    };
    Outcome::Skipped { reason, is_avoidable: false }
}

/// A fresh Debian with a Python, from the mirror that this host's apt uses. It is made once.
fn debian(suite: &str) -> Result<PathBuf> {
    let debootstrap = find_program("debootstrap").context("no debootstrap: install the package of this name")?;
    let mirror = debian::mirror()?;
    let made = target_dir().join("tools").join(format!("debian-{suite}"));
    if made.is_dir() {
        return Ok(made);
    }
    // What was begun and not finished is not taken for a Debian.
    let begun = made.with_extension("begun");
    if begun.exists() {
        fs::remove_dir_all(&begun).with_context(|| format!("cannot remove {}", begun.display()))?;
    }
    fs::create_dir_all(&begun).with_context(|| format!("cannot create {}", begun.display()))?;
    let mut command = Command::new(debootstrap);
    command.args(["--variant=minbase", "--include=python3", suite]).arg(&begun).arg(mirror);
    output(&mut command).context("debootstrap failed")?;
    fs::rename(&begun, &made).with_context(|| format!("cannot rename {}", begun.display()))?;
    Ok(made)
}

/// Makes a root whose only C library is musl, of Debian's packages, with busybox for a shell.
fn musl(root: &Path, architecture: Architecture) -> Result<()> {
    let archive = Archive::open(Release { suite: "stable", has_security: false }, architecture.debian(), None)?;
    for package in ["musl", "busybox-static"] {
        archive.unpack(package, root)?;
    }
    // Newer releases have it all below /usr.
    for directory in ["bin", "lib"] {
        if !root.join(directory).exists() {
            symlink(Path::new("usr").join(directory), root.join(directory))
                .with_context(|| format!("cannot create /{directory} in the root"))?;
        }
    }
    for name in ["sh", "ls"] {
        symlink("busybox", root.join("bin").join(name)).with_context(|| format!("cannot create /bin/{name} in the root"))?;
    }
    Ok(())
}

/// A command that runs what follows in a root.
fn entered(root: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]).arg(root);
    command.env_clear().env("PATH", PATH);
    command
}

impl Installed {
    fn in_root(root: &Path, program: &str) -> Result<Installed> {
        let scratch = root.join("tmp");
        fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
        Ok(Installed { root: Some(root.to_owned()), program: program.into(), scratch: "/tmp".into() })
    }

    fn command(&self) -> Command {
        match &self.root {
            Some(root) => {
                let mut command = entered(root);
                command.arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        }
    }

    /// Reads what it wrote below its scratch directory.
    fn read(&self, name: &str) -> Result<String> {
        let inside = self.scratch.join(name);
        let path = match &self.root {
            Some(root) => root.join(inside.strip_prefix("/").unwrap_or(&inside)),
            None => inside,
        };
        crate::workspace::read_text(&path)
    }

    /// Has it say its version, examine the host, trace itself, and run cells of the lab, which start its daemon too. Returns how many
    /// these are.
    fn check(&self, packaging: &Packaging, cells: &str) -> Result<usize> {
        let version = output(self.command().arg("--version"))?;
        ensure!(version.trim() == format!("schedscope {}", packaging.build.version), "it calls itself {version:?}");

        let findings = output(self.command().arg("doctor"))?;
        ensure!(findings.contains("\nschedscope can trace on this host"), "its doctor says:\n{findings}");

        let report = self.scratch.join("report.json");
        let mut traced = self.command();
        traced.arg("run").arg("--json").arg(&report).arg("--").arg(&self.program);
        output(traced.args(["workload", "native", "--task", "hash", "--model", "threads", "--workers", "2"]))?;
        let report: RunReport = serde_json::from_str(&self.read("report.json")?).context("its report is not what `run` writes")?;
        ensure!(report.check.threads >= 3, "it compared {} threads with the kernel's counts", report.check.threads);
        ensure!(report.check.threads_differing == 0, "{} threads differ from the kernel's counts", report.check.threads_differing);

        let mut lab = self.command();
        output(lab.args(["lab", "--quick", "--cells", cells, "--output"]).arg(self.scratch.join("lab")))?;
        let results: Value =
            serde_json::from_str(&self.read("lab/results.json")?).context("the results of its lab are not JSON")?;
        let rows = results["cells"].as_array().context("its lab has no cells")?;
        // Where there is no Python, or an older one than a cell needs, a row says so.
        let needs_another = |row: &&Value| row["skipped"].as_str().is_some_and(|why| why.starts_with("needs Python"));
        let expected =
            rows.iter().filter(|row| if cells == PYTHON { !needs_another(row) } else { row["cell"]["runtime"] == "native" });
        let (measured, other): (Vec<&Value>, Vec<&Value>) = expected.partition(|row| row["figures"].is_object());
        let problems = other.into_iter().chain([&results["metrics_missing"]]).filter(|problem| !problem.is_null());
        let problems: Vec<String> = problems.map(Value::to_string).collect();
        if results["complete"] != true || measured.len() < 2 || !problems.is_empty() {
            bail!("its lab measured {} cells, and not everything: {}", measured.len(), problems.join("; "));
        }
        Ok(4)
    }
}
