//! `docs/alerts.md`, from the alerts.

use std::fmt::Write as _;

use schedscope_ebpf::loss::{Harm, Loss};

use crate::rules::{
    alerts::{self, Alert},
    losses::remedy,
    recordings,
};

/// The text of `docs/alerts.md`.
pub fn alerts_markdown() -> String {
    let mut text = String::from(
        "# Alerts and recorded series\n\n\
         <!-- Generated from grafana/src/rules by `cargo xtask generate`. -->\n\n\
         The rules are in [grafana/prometheus/rules](../grafana/prometheus/rules). An alert's `runbook` annotation leads to its\n\
         heading here.\n\n## Alerts\n\n",
    );
    for alert in alerts::all() {
        text.push_str(&section(&alert));
        if alert.name == "SchedscopeObservationsMissing" {
            text.push_str(&losses());
        }
    }
    text.push_str(&recorded());
    text
}

fn section(alert: &Alert) -> String {
    let mut text = format!("### {}\n\n", alert.name);
    let severity = alert.severity.name();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "*{severity}, after {}.* {}\n\n```promql\n{}\n```\n", alert.hold, alert.meaning, alert.expr);
    for (number, step) in (1..).zip(alert.steps) {
        let _ = writeln!(text, "{number}. {step}");
    }
    text.push('\n');
    text
}

fn losses() -> String {
    let mut text = String::from("| reason | the figures | what to do |\n|---|---|---|\n");
    for loss in Loss::ALL {
        let harm = match loss.harm() {
            Harm::Missing => "lack something",
            Harm::Repaired => "are right, by the kernel's own accounting",
            Harm::Details => "are right; details of single threads are missing",
        };
        let _ = writeln!(text, "| `{}` | {harm} | {} |", loss.name(), remedy(loss));
    }
    text.push('\n');
    text
}

fn recorded() -> String {
    let mut text = String::from(
        "## Recorded series\n\n\
         To keep these and drop the raw ones in a central store, forward `{__name__=~\"instance.*:schedscope_.*\"}` only.\n\
         Rates are over five minutes, or ten for the cost of tracing, so that scrapes a minute apart are enough. A series has no\n\
         sample where there is no answer: no quantile of no observations, no effective CPUs of a workload that did not run.\n\n\
         | series | labels |\n|---|---|\n",
    );
    for recording in recordings::all() {
        let labels: Vec<String> = recording.expr.labels().iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(text, "| `{}` | {} |", recording.name, labels.join(", "));
    }
    text
}
