//! What every dashboard has besides its panels: variables at the top, and annotations over time.

use schedscope::metrics::catalog;
use serde_json::{Value, json};

use crate::foreign;
use crate::panel::datasource;
use crate::promql::{STEP, chosen, chosen_where, max, of_daemons};

/// Data source, job, instance and workload; each query is limited by the choices before it.
pub(crate) fn variables() -> Vec<Value> {
    let source = json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "regex": "", "hide": 0,
        "refresh": 1, "multi": false, "includeAll": false, "options": [], "skipUrlSync": false, "allowCustomValue": true,
    });
    [source].into_iter().chain(choices().into_iter().map(variable)).collect()
}

/// What the reader chooses: values of the label of that name.
pub struct Choice {
    /// Name of the variable and of the label.
    pub name: &'static str,
    heading: &'static str,
    /// Series that have the label, limited by the choices before it.
    pub series: String,
}

/// Every choice.
pub fn choices() -> [Choice; 3] {
    let (build, workload) = (catalog::BUILD_INFO.name, catalog::WORKLOAD_INFO.name);
    [
        ("job", "Job", build.to_owned()),
        ("instance", "Instance", format!("{build}{{job=~\"$job\"}}")),
        ("workload", "Workload", format!("{workload}{{job=~\"$job\", instance=~\"$instance\"}}")),
    ]
    .map(|(name, heading, series)| Choice { name, heading, series })
}

fn variable(Choice { name, heading, series }: Choice) -> Value {
    json!({
        "name": name, "label": heading, "type": "query", "datasource": datasource(),
        "query": { "query": format!("label_values({series}, {name})"), "refId": format!("variable-{name}"), "qryType": 1 },
        // On every change of the time range, since workloads come and go.
        "refresh": 2,
        "sort": 1, "regex": "", "hide": 0, "multi": true, "includeAll": true, "allValue": ".+", "options": [],
        "current": { "selected": true, "text": ["All"], "value": ["$__all"] }, "skipUrlSync": false, "allowCustomValue": true,
    })
}

/// A query whose results mark moments or periods on every panel.
#[derive(Clone, Debug)]
pub struct Annotation {
    /// Name by which the reader turns it on and off.
    pub name: &'static str,
    /// The query.
    pub expr: String,
    /// Text of each mark, with labels in braces.
    pub(crate) title: &'static str,
    colour: &'static str,
    /// Shown by default.
    enabled: bool,
    /// The value is a time in milliseconds, marked instead of the sample's own time.
    at_value: bool,
}

/// Every annotation.
pub fn annotations() -> [Annotation; 3] {
    // Over the whole step, since a phase can be shorter than one.
    let phase = max("instance, workload, phase", format_args!("max_over_time({}[{STEP}])", chosen(&foreign::LAB_PHASE)));
    let started_at_ms = format!("{} * 1000", max("instance", of_daemons(&foreign::PROCESS_START)));
    // In a lab, workloads that rules name come and go one after another.
    let at_work = max("instance, workload", chosen_where(&catalog::WORKLOAD_INFO, r#"source=~"rule", model!="idle""#));
    [
        Annotation {
            name: "Phases of the lab",
            expr: phase,
            title: "{{phase}}: {{workload}}",
            colour: "purple",
            enabled: true,
            at_value: false,
        },
        Annotation {
            name: "Daemon starts",
            // Counters start at 0 there, which can explain a step in a panel.
            expr: started_at_ms,
            title: "schedscope started on {{instance}}",
            colour: "orange",
            enabled: true,
            at_value: true,
        },
        Annotation {
            name: "Workloads named by rules, while they are not idle",
            expr: at_work,
            title: "{{workload}} on {{instance}}",
            colour: "blue",
            // On a host whose workloads never end it would cover everything.
            enabled: false,
            at_value: false,
        },
    ]
}

impl Annotation {
    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name, "enable": self.enabled, "hide": false, "iconColor": self.colour, "datasource": datasource(),
            "target": { "expr": self.expr, "refId": "Anno", "instant": false, "range": true, "interval": "" },
            // For Grafana 10 and 11, whose default step is 60 s.
            "expr": self.expr, "step": "15s",
            "titleFormat": self.title, "textFormat": "", "tagKeys": "", "useValueForTime": self.at_value,
        })
    }
}
