//! The programs that go into the machines.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::workspace::{cargo, find_program, output, root, run, target_dir};

/// What workloads and tests call by name.
const FROM_THE_HOST: [&str; 7] = ["cat", "chrt", "false", "sh", "sleep", "taskset", "true"];

/// Programs of this host.
pub(crate) struct Programs {
    /// The first process.
    pub init: PathBuf,
    /// All of them, tests included.
    pub files: Vec<PathBuf>,
    /// Paths of the tests that need a kernel.
    pub tests: Vec<String>,
}

/// Builds schedscope, the workloads and the tests, and finds the others. Emulation makes everything slower by a factor of ten or
/// more, and without optimisation by ten again; the tests themselves do little and come as `cargo test` has them.
pub(crate) fn build() -> Result<Programs> {
    let packages = ["--package", "schedscope", "--package", "schedscope-workloads"];
    run(cargo().args(["build", "--release", "--locked", "--bins"]).args(packages))?;
    let built = target_dir().join("release");
    let init = copy_of_this_program()?;
    let mut files = vec![init.clone(), built.join("schedscope"), built.join("schedscope-workloads")];
    for name in FROM_THE_HOST {
        files.push(find_program(name).with_context(|| format!("no {name} on this host, which the machines need"))?);
    }
    let tests = build_tests()?;
    files.extend(tests.iter().map(PathBuf::from));
    Ok(Programs { init, files, tests })
}

/// A copy, since cargo may have put another build in this program's place while it runs.
fn copy_of_this_program() -> Result<PathBuf> {
    let directory = target_dir().join("vm");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let copy = directory.join("xtask");
    fs::copy("/proc/self/exe", &copy).with_context(|| format!("cannot copy this program to {}", copy.display()))?;
    Ok(copy)
}

/// Builds the tests in `daemon/tests`, if there are any, and returns their paths.
fn build_tests() -> Result<Vec<String>> {
    let is_test = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    let sources = fs::read_dir(root().join("daemon/tests")).into_iter().flatten();
    if !sources.filter_map(Result::ok).any(|entry| is_test(&entry.path())) {
        return Ok(Vec::new());
    }
    let messages = output(
        cargo()
            .args(["test", "--locked", "--no-run", "--message-format", "json", "--package", "schedscope", "--test", "*"])
            .stderr(std::process::Stdio::inherit()),
    )?;
    let tests = test_programs(&messages);
    if tests.is_empty() {
        bail!("cargo built no program from daemon/tests");
    }
    Ok(tests)
}

/// Paths of the test programs in cargo's messages.
fn test_programs(messages: &str) -> Vec<String> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let tests = messages.filter(|message| message.pointer("/profile/test").and_then(serde_json::Value::as_bool) == Some(true));
    tests.filter_map(|message| Some(message["executable"].as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::test_programs;

    #[test]
    fn only_tests_with_a_program_count() {
        let messages = "{\"reason\":\"compiler-artifact\",\"profile\":{\"test\":false},\"executable\":\"/t/schedscope\"}\n\
                        {\"reason\":\"compiler-artifact\",\"profile\":{\"test\":true},\"executable\":\"/t/truth-1a\"}\n\
                        {\"reason\":\"compiler-artifact\",\"profile\":{\"test\":true},\"executable\":null}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(test_programs(messages), ["/t/truth-1a"]);
    }
}
