//! `schedscope check`: traces a process tree of its own and compares with what the kernel kept.

use std::process::Command;

use comfy_table::{CellAlignment, Table, presets};

use super::{allowed_cpus, require_host};
use crate::{
    report::{RunReport, schema::Exit},
    session::Session,
    spawn::Gated,
};

mod load;

pub use load::{Part, run as run_load};

/// On-CPU time may differ by this share.
const TIME_BOUND: f64 = 0.001;

/// Arguments of the hidden subcommand that is the traced tree.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// Which part of the tree to be
    #[arg(value_enum)]
    pub part: Part,
}

/// One line of the comparison.
struct Line {
    what: String,
    ours: String,
    kernel: String,
    difference: String,
    verdict: Option<bool>,
}

/// Prints ours, the kernel's and the difference; 1 if any is out of bounds.
pub fn check() -> anyhow::Result<i32> {
    let topology = require_host()?;
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    let command: Vec<String> = [program.as_str(), "check-load", "tree"].map(str::to_owned).to_vec();
    let mut session = Session::start(topology)?;
    let gated = Gated::fork(&command)?;
    let leader = gated.tgid();
    session.begin(&[leader])?;
    let mut child = gated.release()?;
    while child.try_wait()?.is_none() {
        std::thread::sleep(session.sample()?);
    }
    // The last thread may still be on its way out of its last switch.
    for _ in 0..100 {
        session.sample()?;
        if session.alive() == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let report = session.finish(Some(leader), "check".to_owned(), command, Exit::default(), allowed_cpus())?;
    let lines = compare(&report);
    print(&report, &lines);
    Ok(i32::from(lines.iter().any(|line| line.verdict == Some(false))))
}

/// Every quantity with its bound: counts equal, on-CPU time within 0.1 %, the ledger whole.
fn compare(report: &RunReport) -> Vec<Line> {
    let mut lines: Vec<Line> = report
        .check
        .residuals
        .iter()
        .map(|residual| {
            let is_count = !residual.quantity.ends_with("_seconds");
            let digits = if is_count { 0 } else { 6 };
            let verdict = match residual.quantity.as_str() {
                // Ours begins at the waking, the kernel's when the thread is queued.
                "run_delay_seconds" => None,
                _ if is_count => Some(residual.difference == 0.0),
                _ => Some(residual.difference.abs() <= TIME_BOUND * residual.kernel),
            };
            Line {
                what: residual.quantity.clone(),
                ours: format!("{:.digits$}", residual.ours),
                kernel: format!("{:.digits$}", residual.kernel),
                difference: format!("{:+.digits$}", residual.difference),
                verdict,
            }
        })
        .collect();
    lines.push(Line {
        what: "threads with any other count".to_owned(),
        ours: report.check.threads_differing.to_string(),
        kernel: "0".to_owned(),
        difference: format!("{:+}", report.check.threads_differing),
        verdict: Some(report.check.threads_differing == 0),
    });
    let charged: f64 =
        report.threads.iter().map(|thread| thread.on_cpu_seconds + thread.runnable_seconds + thread.blocked_seconds).sum();
    let lived: f64 = report.threads.iter().map(|thread| thread.lifetime_seconds).sum();
    lines.push(Line {
        what: "running + runnable + blocked".to_owned(),
        ours: format!("{charged:.6}"),
        kernel: format!("{lived:.6} lived"),
        difference: format!("{:+.6}", charged - lived),
        verdict: Some((charged - lived).abs() <= TIME_BOUND * lived),
    });
    lines.push(Line {
        what: "observations missing".to_owned(),
        ours: report.loss.total.to_string(),
        kernel: "0".to_owned(),
        difference: format!("{:+}", report.loss.total),
        verdict: Some(report.loss.total == 0),
    });
    lines
}

fn print(report: &RunReport, lines: &[Line]) {
    println!("{} threads of {} processes on Linux {}\n", report.tasks.threads, report.tasks.processes, report.host.kernel);
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["", "ours", "the kernel's", "difference", ""]);
    for line in lines {
        let verdict = match line.verdict {
            Some(true) => "ok",
            Some(false) => "OUT OF BOUNDS",
            None => "for information",
        };
        table.add_row([&line.what, &line.ours, &line.kernel, &line.difference, verdict]);
    }
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{}", table.trim_fmt());
    if lines.iter().any(|line| line.verdict == Some(false)) {
        println!("\nThe figures of this host cannot be trusted. Please report it with the output of 'schedscope doctor'.");
    }
}

/// The traced tree itself.
pub fn check_load(args: &LoadArgs) -> anyhow::Result<i32> {
    load::run(args.part)?;
    Ok(0)
}

/// A command that runs a part of the tree as a process of its own.
fn part_command(part: &str) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["check-load", part]);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::schema::{Check, Residual, ThreadReport};

    fn report(counts_differ_by: f64, time_differs_by: f64) -> RunReport {
        let residual = |quantity: &str, kernel: f64, difference: f64| Residual {
            quantity: quantity.to_owned(),
            ours: kernel + difference,
            kernel,
            difference,
        };
        RunReport {
            check: Check {
                threads: 1,
                threads_differing: 0,
                residuals: vec![
                    residual("nvcsw", 100.0, counts_differ_by),
                    residual("sum_exec_runtime_seconds", 1.0, time_differs_by),
                    residual("run_delay_seconds", 1.0, 0.5),
                ],
            },
            threads: vec![ThreadReport {
                on_cpu_seconds: 1.0,
                blocked_seconds: 1.0,
                lifetime_seconds: 2.0,
                ..ThreadReport::default()
            }],
            ..RunReport::default()
        }
    }

    #[test]
    fn counts_must_be_equal_and_times_close() {
        let passes = |report: RunReport| compare(&report).iter().all(|line| line.verdict != Some(false));
        assert!(passes(report(0.0, 0.0009)));
        assert!(!passes(report(1.0, 0.0)));
        assert!(!passes(report(0.0, -0.002)));
        let mut unbalanced = report(0.0, 0.0);
        unbalanced.threads[0].lifetime_seconds = 2.1;
        assert!(!passes(unbalanced));
    }
}
