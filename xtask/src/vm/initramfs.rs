//! The machine's files: this program as `/init`, the programs under test at the paths they have here, and their shared libraries.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use cpio::NewcBuilder;
use serde_json::Value;

use super::foreign;
use super::plan::{PLAN, Step};
use crate::architecture::Architecture;
use crate::cross;
use crate::workspace::{build_debug, cargo, find_program, output, target_dir};

/// What workloads and tests call by name.
const OTHERS: [&str; 8] = ["cat", "chrt", "false", "nice", "sh", "sleep", "taskset", "true"];

/// Modes of the entries, as in stat(2).
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

pub(crate) struct Programs {
    init: PathBuf,
    files: Vec<PathBuf>,
    /// Programs and libraries that are not at their place on this host, by their place in the machine.
    foreign: BTreeMap<PathBuf, PathBuf>,
    strip: &'static str,
    /// Paths of the tests that need a kernel.
    pub tests: Vec<String>,
}

impl Programs {
    /// Builds schedscope, the workloads and the tests, as the tests on this host's kernel use them, and finds the others.
    pub(crate) fn build(architecture: Architecture) -> Result<Self> {
        match architecture {
            Architecture::X86_64 => Self::build_for_this_host(),
            Architecture::Aarch64 => Self::build_for_another(architecture),
        }
    }

    fn build_for_this_host() -> Result<Self> {
        // cargo may put another build in this program's place while it runs.
        let init = target_dir().join("vm/xtask");
        fs::copy("/proc/self/exe", &init).with_context(|| format!("cannot copy this program to {}", init.display()))?;
        let mut programs = Self::of(init, &build_debug()?, build_tests(cargo())?);
        for name in OTHERS {
            programs.files.push(find_program(name).with_context(|| format!("no {name} on this host, which the machines need"))?);
        }
        Ok(programs)
    }

    fn build_for_another(architecture: Architecture) -> Result<Self> {
        let compiler = cross::Compiler::find()?;
        let built = compiler.build_debug()?;
        let programs = Self::of(built.join("xtask"), &built, build_tests(compiler.cargo())?);
        Ok(Self { foreign: foreign::programs(architecture, &OTHERS)?, strip: cross::STRIP, ..programs })
    }

    fn of(init: PathBuf, built: &Path, tests: Vec<String>) -> Self {
        let mut files = vec![init.clone(), built.join("schedscope"), built.join("schedscope-workloads")];
        files.extend(tests.iter().map(PathBuf::from));
        Self { init, files, foreign: BTreeMap::new(), strip: "strip", tests }
    }

    /// The archive that the kernel unpacks: the programs, and the plan.
    pub(crate) fn pack(&self, plan: &[Step]) -> Result<Vec<u8>> {
        let mut entries = Entries::default();
        for program in &self.files {
            entries.add_program(program, self.strip)?;
        }
        for (path, file) in &self.foreign {
            let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            entries.0.insert(path.clone(), (FILE, content));
        }
        entries.link("/init", &self.init);
        entries.0.insert(PLAN.into(), (FILE, serde_json::to_vec(plan)?));
        entries.archive()
    }
}

/// Builds the tests in `daemon/tests` with this cargo and returns their paths.
fn build_tests(mut cargo: Command) -> Result<Vec<String>> {
    let arguments = ["test", "--locked", "--no-run", "--message-format", "json", "--package", "schedscope", "--test", "*"];
    let tests = test_programs(&output(cargo.args(arguments).stderr(Stdio::inherit()))?);
    if tests.is_empty() {
        bail!("cargo built no program from daemon/tests");
    }
    Ok(tests)
}

/// Paths of the test programs in cargo's messages.
fn test_programs(messages: &str) -> Vec<String> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let tests = messages.filter(|message| message.pointer("/profile/test").and_then(Value::as_bool) == Some(true));
    tests.filter_map(|message| Some(message["executable"].as_str()?.to_owned())).collect()
}

/// Modes and contents by absolute path.
#[derive(Default)]
struct Entries(BTreeMap<PathBuf, (u32, Vec<u8>)>);

impl Entries {
    /// Adds a program of the host with its shared libraries, at its own path and as `/bin/NAME`. Test programs look for others at the
    /// paths that they had when they were compiled.
    fn add_program(&mut self, path: &Path, strip: &str) -> Result<()> {
        for library in libraries(path)? {
            let content = fs::read(&library).with_context(|| format!("cannot read {}", library.display()))?;
            self.0.insert(library, (FILE, content));
        }
        self.link(Path::new("/bin").join(path.file_name().context("a program without a name")?), path);
        self.0.insert(path.to_owned(), (FILE, stripped(path, strip)?));
        Ok(())
    }

    fn link(&mut self, path: impl Into<PathBuf>, target: &Path) {
        self.0.insert(path.into(), (LINK, target.as_os_str().as_bytes().to_vec()));
    }

    /// In the form that the kernel unpacks: every directory comes before what is in it.
    fn archive(self) -> Result<Vec<u8>> {
        let directories: BTreeSet<&Path> = self.0.keys().flat_map(|path| path.ancestors().skip(1)).collect();
        let directories = directories.into_iter().filter(|dir| dir.parent().is_some()).map(|dir| (dir, DIRECTORY, &[][..]));
        let files = self.0.iter().map(|(path, (mode, content))| (path.as_path(), *mode, content.as_slice()));
        let mut archive = Vec::new();
        for (number, (path, mode, content)) in (1..).zip(directories.chain(files)) {
            let name = path.strip_prefix("/").unwrap_or(path).to_string_lossy();
            let size = u32::try_from(content.len()).with_context(|| format!("{} is too large", path.display()))?;
            let mut writer = NewcBuilder::new(&name).ino(number).mode(mode).nlink(1).write(&mut archive, size);
            writer.write_all(content)?;
            writer.finish()?;
        }
        cpio::newc::trailer(&mut archive)?;
        Ok(archive)
    }
}

/// The program without its debug information, which is most of it; as it is if there is no `strip`.
fn stripped(path: &Path, strip: &str) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
    let smaller = directory.path().join("stripped");
    let strip = find_program(strip).map(|strip| output(Command::new(strip).arg("-o").arg(&smaller).arg(path)));
    let chosen = if matches!(strip, Some(Ok(_))) { &smaller } else { path };
    fs::read(chosen).with_context(|| format!("cannot read {}", path.display()))
}

/// Shared libraries that the loader would take, itself included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let ldd = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    // It fails for a program that needs none.
    Ok(parse_ldd(&String::from_utf8_lossy(&ldd.stdout)))
}

fn parse_ldd(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_each_form_of_line() {
        let text = "\tlinux-vdso.so.1 (0x00007f71)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f71)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f71)\n\tstatically linked\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(parse_ldd(text), expected.map(PathBuf::from));
    }
}
