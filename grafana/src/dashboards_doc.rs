//! `docs/dashboards.md`: what every panel shows and how to read it.

use std::fmt::Write as _;

use crate::{dashboards, variables::marks};

/// The text of `docs/dashboards.md`.
pub fn dashboards_markdown() -> String {
    let mut text = String::from(
        "# Dashboards\n\n\
         <!-- Generated from grafana/src/dashboards by `cargo xtask generate`. -->\n\n\
         How to get them into Grafana is in [grafana/README.md](../grafana/README.md). The same text is behind the (i) of each panel.\n\
         C is the mean number of a workload's threads on a CPU, D that of its threads on a CPU or waiting for one.\n",
    );
    for dashboard in dashboards::all() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## {}\n\n{}\n", dashboard.title, dashboard.description);
        for row in &dashboard.rows {
            let folded = if row.collapsed { " (folded)" } else { "" };
            let _ =
                write!(text, "\n**{}**{folded}\n\n| panel | how to read it | what to look at next |\n|---|---|---|\n", row.title);
            for panel in &row.panels {
                let _ = writeln!(text, "| {} | {} | {} |", panel.text.title, panel.text.read, panel.text.next);
            }
        }
    }
    let _ = write!(text, "\n## Marks over time\n\nEach can be turned on and off at the top of a dashboard.\n\n");
    for mark in marks() {
        let _ = writeln!(text, "- {}: `{}`", mark.name, mark.expr);
    }
    text
}
