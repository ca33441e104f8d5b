//! What every dashboard has beside its panels: the choices at its top, and marks over time.

use schedscope::metrics::catalog;
use serde_json::{Value, json};

use crate::{
    foreign,
    panel::datasource,
    promql::{Expr, largest_since_last_point, value},
};

/// Data source, job, instance and workload; each query is limited by the choices before it.
pub(crate) fn variables() -> Vec<Value> {
    let build = catalog::BUILD_INFO.name;
    let workload = catalog::WORKLOAD_INFO.name;
    vec![
        json!({
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "regex": "", "hide": 0,
            "refresh": 1, "multi": false, "includeAll": false, "options": [], "skipUrlSync": false, "allowCustomValue": true,
        }),
        variable("job", "Job", &format!("label_values({build}, job)")),
        variable("instance", "Instance", &format!("label_values({build}{{job=~\"$job\"}}, instance)")),
        variable("workload", "Workload", &format!("label_values({workload}{{job=~\"$job\", instance=~\"$instance\"}}, workload)")),
    ]
}

fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query", "datasource": datasource(),
        "query": { "query": query, "refId": format!("variable-{name}"), "qryType": 1 },
        // On every change of the time range, since workloads come and go.
        "refresh": 2,
        "sort": 1, "regex": "", "hide": 0, "multi": true, "includeAll": true, "allValue": ".+", "options": [],
        "current": { "selected": true, "text": ["All"], "value": ["$__all"] }, "skipUrlSync": false, "allowCustomValue": true,
    })
}

/// A query whose results mark moments or periods on every panel.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Name by which the reader turns it on and off.
    pub name: &'static str,
    /// The query.
    pub expr: Expr,
    title: &'static str,
    colour: &'static str,
    /// Shown without being asked for.
    enabled: bool,
    /// The value is a time in milliseconds: mark that, not the time of the sample.
    at_value: bool,
}

/// Every mark.
pub fn marks() -> [Mark; 3] {
    let started_at_ms = value(&foreign::PROCESS_START).max_by(&["instance"]).times(1000.0);
    // In a lab the workloads that rules name come and go one after the other.
    let [idle, ..] = catalog::MODELS;
    let at_work = value(&catalog::WORKLOAD_INFO).only("source", &[catalog::NAME_SOURCES[1]]).except("model", idle);
    let phase = largest_since_last_point(&foreign::LAB_PHASE).max_by(&["instance", "workload", "phase"]);
    [
        Mark {
            name: "Phases of the lab",
            expr: phase,
            title: "{{phase}}: {{workload}}",
            colour: "purple",
            enabled: true,
            at_value: false,
        },
        Mark {
            name: "Daemon starts",
            // Counters begin at 0 there, so a step in a panel may be no more than that.
            expr: started_at_ms,
            title: "schedscope started on {{instance}}",
            colour: "orange",
            enabled: true,
            at_value: true,
        },
        Mark {
            name: "Workloads that rules name, while they are not idle",
            expr: at_work.max_by(&["instance", "workload"]),
            title: "{{workload}} on {{instance}}",
            colour: "blue",
            // On a host whose workloads never end it would cover everything.
            enabled: false,
            at_value: false,
        },
    ]
}

pub(crate) fn annotations() -> Vec<Value> {
    marks().iter().map(annotation).collect()
}

fn annotation(mark: &Mark) -> Value {
    json!({
        "name": mark.name, "enable": mark.enabled, "hide": false, "iconColor": mark.colour, "datasource": datasource(),
        "target": { "expr": mark.expr.to_string(), "refId": "Anno", "instant": false, "range": true, "interval": "" },
        // Where Grafana 10 and 11 look; the step is 60 s there unless it is said.
        "expr": mark.expr.to_string(), "step": "15s",
        "titleFormat": mark.title, "textFormat": "", "tagKeys": "", "useValueForTime": mark.at_value,
    })
}
