//! The model, what it rests on, and Python's global lock.

use super::{
    super::{
        Options, RunReport,
        words::{clean, counted, duration, grouped, harmless, percent},
    },
    Block,
};
use crate::capture::python::GilKind;

/// What follows from the model: the advice and what it would bring. Empty if there is no advice.
pub(in super::super) fn advice(report: &RunReport) -> Vec<String> {
    if report.model.advice.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![harmless(&report.model.advice)];
    if let Some(estimate) = report.model.estimate.as_ref().filter(|estimate| estimate.processes_wall_seconds < report.wall_seconds)
    {
        lines.push(format!(
            "By the threads' own time, {} would take about {} instead of {}, and the same threads without a GIL {}.",
            counted(estimate.workers, "process"),
            duration(estimate.processes_wall_seconds),
            duration(report.wall_seconds),
            duration(estimate.without_gil_wall_seconds),
        ));
    }
    lines
}

/// The model with its evidence, and the lock's figures.
pub(super) fn lines(report: &RunReport, options: &Options) -> Block {
    let model = &report.model;
    if model.name.is_empty() {
        return Block::new();
    }
    let mut lines =
        vec![format!("{} {}, confidence {}", options.colour.strong("Model:"), clean(&model.name), percent(model.confidence))];
    lines.extend(model.evidence.iter().map(|sentence| format!("  {}", harmless(sentence))));
    lines.extend(gil(report));
    lines
}

fn gil(report: &RunReport) -> Vec<String> {
    let gil = &report.gil;
    let mut lines: Vec<String> = gil
        .interpreters
        .iter()
        .map(|interpreter| {
            let version = interpreter
                .version
                .as_deref()
                .map_or_else(|| "CPython".to_owned(), |version| format!("CPython {}", clean(version)));
            let sharing = match interpreter.gil.as_str() {
                gil if gil == GilKind::FreeThreaded.name() => "free-threaded".to_owned(),
                gil if gil == GilKind::FreeThreadedButEnabled.name() => "free-threaded, but with its GIL switched on".to_owned(),
                _ if interpreter.gils > 1 => format!("{} interpreters with a GIL each", interpreter.gils),
                _ => "one GIL".to_owned(),
            };
            format!("  {version}, {sharing}, in {} ({})", counted(interpreter.processes, "process"), clean(&interpreter.object))
        })
        .collect();
    if gil.wait_seconds > 0.0 {
        let interval =
            gil.switch_interval_seconds.map_or(String::new(), |interval| format!(", switch interval {}", duration(interval)));
        lines.push(format!(
            "  GIL: {} of waiting, {} forced hand-offs seen ({:.0}/s){interval}{}",
            duration(gil.wait_seconds),
            grouped(gil.handoffs),
            gil.handoffs_per_second,
            hold(report),
        ));
    }
    for (reason, processes) in gil.unresolved.iter().filter(|(_, processes)| **processes > 0) {
        let what = counted(*processes, "Python process");
        lines.push(format!("  The GIL of {what} was not found ({}): waits for it are among the locks.", clean(reason)));
    }
    lines
}

/// The longest that a thread held it on average.
fn hold(report: &RunReport) -> String {
    let holds = report.threads.iter().filter_map(|thread| thread.gil.as_ref()?.hold_seconds);
    holds
        .fold(None, |longest: Option<f64>, hold| Some(longest.map_or(hold, |longest| longest.max(hold))))
        .map_or_else(String::new, |hold| format!(", held for up to {} at a time on average", duration(hold)))
}
