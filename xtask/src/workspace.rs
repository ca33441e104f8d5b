//! Where the repository is, and running commands in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use ignore::WalkBuilder;
use schedscope::lab::serve;

/// Set for the tests that load BPF programs; without it they skip themselves.
pub(crate) const PRIVILEGED: &str = "SCHEDSCOPE_PRIVILEGED";

/// Top of the checkout that this program was built in.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The cargo that runs this program, else the one on the path.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

pub(crate) fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file of the checkout, given by its path from the root.
pub(crate) fn write(path: &str, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(root().join(path), content).with_context(|| format!("cannot write {path}"))
}

/// Files below a directory, in order of their paths, without those that git ignores and without symbolic links.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut walk = WalkBuilder::new(dir);
    walk.standard_filters(false).git_ignore(true).require_git(false);
    walk.sort_by_file_path(Path::cmp).filter_entry(|entry| entry.file_name() != ".git");
    let entries = walk.build().collect::<Result<Vec<_>, _>>().with_context(|| format!("cannot list {}", dir.display()))?;
    let is_file = |entry: &ignore::DirEntry| entry.file_type().is_some_and(|kind| kind.is_file());
    Ok(entries.into_iter().filter(is_file).map(ignore::DirEntry::into_path).collect())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fails, with the command to type, unless this process is root.
pub(crate) fn require_root(xtask: &str) -> Result<()> {
    if !is_root() {
        bail!("this needs root: run `sudo -E env \"PATH=$PATH\" cargo xtask {xtask}`");
    }
    Ok(())
}

/// Builds the tracer and the workloads for tests, and returns where they are.
pub(crate) fn build_debug() -> Result<PathBuf> {
    run(cargo().args(["build", "--workspace", "--locked", "--bins"]))?;
    Ok(target_dir().join("debug"))
}

/// Builds the tracer and the workloads as users have them, and returns where they are.
pub(crate) fn build_release() -> Result<PathBuf> {
    let packages = ["--package", "schedscope", "--package", "schedscope-workloads"];
    run(cargo().args(["build", "--release", "--locked", "--quiet", "--bins"]).args(packages))?;
    Ok(target_dir().join("release"))
}

pub(crate) fn date(of: SystemTime) -> Result<String> {
    let seconds = of.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(output(Command::new("date").args(["-u", "+%Y-%m-%d", "-d", &format!("@{seconds}")]))?.trim().to_owned())
}

/// Where cargo unpacked the crates of the registry.
pub(crate) fn registry_sources() -> Result<PathBuf> {
    let query = ["metadata", "--locked", "--format-version", "1", "--manifest-path", "ebpf/Cargo.toml", "--features", "kernel"];
    let metadata = output(cargo().args(query))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let aya = packages.iter().find(|package| package["name"] == "aya-ebpf").context("the lock file has no aya-ebpf")?;
    let manifest = Path::new(aya["manifest_path"].as_str().context("aya-ebpf has no manifest")?);
    manifest.ancestors().nth(2).map(Path::to_path_buf).context("aya-ebpf is not in a registry")
}

/// Downloads a Debian package with this apt-get and unpacks its files into a directory.
pub(crate) fn unpack_package(apt_get: &mut Command, package: &str, into: &Path) -> Result<()> {
    let download = tempfile::tempdir().context("cannot create a temporary directory")?;
    run(apt_get.args(["--quiet=2", "download", package]).current_dir(&download))?;
    let files = files_below(download.path())?;
    let [file] = files.as_slice() else { bail!("apt-get left no package {package}") };
    fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(into))
}

/// Runs a command to its end with our terminal; an exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs a command and returns what it printed; its error output is part of the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}\n{}", shown(command), output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Finds a program on the search path, where cargo installs programs, and among the tools that the tests fetched.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let elsewhere = cargo_home.map(|home| home.join("bin")).into_iter().chain([tools_dir().join("usr/bin")]);
    serve::find_program(name).or_else(|| elsewhere.map(|dir| dir.join(name)).find(|file| file.is_file()))
}

/// The interpreter that a name or a version manager's script starts, by its own account.
pub(crate) fn python_itself(python: &Path) -> Option<PathBuf> {
    let path = output(Command::new(python).args(["-c", "import sys; print(sys.executable)"])).ok()?;
    Some(PathBuf::from(path.trim())).filter(|path| path.is_file())
}

/// Where the tests unpack programs that they need and the system lacks.
pub(crate) fn tools_dir() -> PathBuf {
    target_dir().join("tools")
}

/// The command as a person would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = [program].into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
