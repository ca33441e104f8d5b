//! The load: two processes on one CPU that pass a byte to and fro.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::find_program;

/// CPU that the load is pinned to: the last one, since interrupts prefer the first.
pub(super) fn cpu() -> String {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (count - 1).to_string()
}

/// Says what to install if the load is not there.
pub(super) fn require() -> Result<()> {
    for (program, package) in [("perf", "linux-perf (Debian) or linux-tools-generic (Ubuntu)"), ("taskset", "util-linux")] {
        if find_program(program).is_none() {
            bail!("the bench needs {program}: install the package {package}");
        }
    }
    Ok(())
}

/// The command as words.
pub(super) fn command(round_trips: u32) -> Vec<String> {
    let mut words = ["taskset", "-c"].map(str::to_owned).to_vec();
    words.push(cpu());
    words.extend(["perf", "bench", "sched", "pipe", "-l"].map(str::to_owned));
    words.push(round_trips.to_string());
    words
}

/// Runs it to its end and returns microseconds per round trip, as it reports them.
pub(super) fn run(prefix: &[&str], round_trips: u32) -> Result<f64> {
    let words: Vec<String> = prefix.iter().map(ToString::to_string).chain(command(round_trips)).collect();
    let output = Command::new(&words[0]).args(&words[1..]).output().with_context(|| format!("cannot start {}", words[0]))?;
    let text = String::from_utf8_lossy(&output.stdout);
    microseconds(&text)
        .with_context(|| format!("{} printed no time:\n{text}{}", words.join(" "), String::from_utf8_lossy(&output.stderr)))
}

fn microseconds(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.trim().strip_suffix("usecs/op")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::microseconds;

    #[test]
    fn finds_the_time_per_round_trip() {
        let text =
            "# Executed 100 pipe operations\n\n     Total time: 0.001 [sec]\n\n       3.561080 usecs/op\n         280813 ops/sec\n";
        assert_eq!(microseconds(text), Some(3.561_08));
        assert_eq!(microseconds("nothing"), None);
    }
}
