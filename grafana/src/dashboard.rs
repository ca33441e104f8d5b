//! A dashboard: variables, rows of panels laid out from left to right, and the frame that Grafana wants around them.

use schedscope_ebpf::catalog;
use serde_json::{Value, json};

use crate::panel::{Panel, datasource};

/// Tag by which the dashboards link to each other.
const TAG: &str = "schedscope";
/// Version of Grafana's dashboard model that is written.
const SCHEMA_VERSION: u32 = 42;
const COLUMNS: u32 = 24;

/// A dashboard under construction.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// Stable identity, and the name of the file.
    pub uid: &'static str,
    /// Title.
    pub title: &'static str,
    /// What it answers.
    pub description: &'static str,
    /// Rows from top to bottom.
    pub rows: Vec<Row>,
}

/// A titled group of panels.
#[derive(Clone, Debug)]
pub struct Row {
    /// Title.
    pub title: &'static str,
    /// Folded until the reader opens it.
    pub collapsed: bool,
    /// Panels in reading order.
    pub panels: Vec<Panel>,
}

impl Dashboard {
    /// The JSON model, pretty-printed, with a newline at the end.
    pub fn text(&self) -> String {
        format!("{:#}\n", self.json())
    }

    fn json(&self) -> Value {
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "id": null,
            "version": 1,
            "schemaVersion": SCHEMA_VERSION,
            "editable": false,
            "graphTooltip": 1,
            "fiscalYearStartMonth": 0,
            "liveNow": false,
            "preload": false,
            "refresh": "30s",
            "time": { "from": "now-30m", "to": "now" },
            "timepicker": {},
            "timezone": "browser",
            "weekStart": "",
            "links": [{
                "type": "dashboards", "title": "schedscope", "tags": [TAG], "icon": "external link", "url": "", "tooltip": "",
                "asDropdown": true, "includeVars": true, "keepTime": true, "targetBlank": false,
            }],
            "annotations": { "list": [restarts()] },
            "templating": { "list": variables() },
            "panels": self.panels(),
        })
    }

    fn panels(&self) -> Vec<Value> {
        let mut panels = Vec::new();
        let mut id = 0;
        let mut y = 0;
        for row in &self.rows {
            id += 1;
            let row_id = id;
            let row_y = y;
            y += 1;
            let mut inside = Vec::new();
            let (mut x, mut line_height) = (0, 0);
            for panel in &row.panels {
                if x + panel.width > COLUMNS {
                    (x, y, line_height) = (0, y + line_height, 0);
                }
                id += 1;
                inside.push(panel.json(id, x, y));
                x += panel.width;
                line_height = line_height.max(panel.height);
            }
            y += line_height;
            // Grafana keeps the panels of a folded row inside it, those of an open one after it.
            let (folded, open) = if row.collapsed { (inside, Vec::new()) } else { (Vec::new(), inside) };
            panels.push(json!({
                "id": row_id, "type": "row", "title": row.title, "collapsed": row.collapsed, "panels": folded,
                "gridPos": { "h": 1, "w": COLUMNS, "x": 0, "y": row_y },
            }));
            panels.extend(open);
        }
        panels
    }
}

/// Marks on every panel where the daemon restarted, since its counters begin at 0 there.
fn restarts() -> Value {
    json!({
        "name": "Daemon restarts", "enable": true, "hide": false, "iconColor": "orange", "datasource": datasource(),
        "expr": "changes(process_start_time_seconds{job=~\"$job\", instance=~\"$instance\"}[$__rate_interval]) > 0",
        "titleFormat": "schedscope restarted on {{instance}}",
    })
}

fn variables() -> Vec<Value> {
    let workload_info = catalog::WORKLOAD_INFO.name;
    let build_info = catalog::BUILD_INFO.name;
    vec![
        json!({
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "regex": "", "hide": 0,
            "refresh": 1, "multi": false, "includeAll": false, "options": [], "current": {}, "skipUrlSync": false,
        }),
        variable("job", "Job", &format!("label_values({build_info}, job)")),
        variable("instance", "Instance", &format!("label_values({build_info}{{job=~\"$job\"}}, instance)")),
        variable(
            "workload",
            "Workload",
            &format!("label_values({workload_info}{{job=~\"$job\", instance=~\"$instance\"}}, workload)"),
        ),
    ]
}

fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query", "datasource": datasource(), "definition": query,
        "query": { "query": query, "refId": format!("variable-{name}"), "qryType": 1 },
        // On every change of the time range, since workloads come and go.
        "refresh": 2,
        "sort": 1, "regex": "", "hide": 0, "multi": true, "includeAll": true, "allValue": ".+", "options": [],
        "current": { "selected": true, "text": ["All"], "value": ["$__all"] }, "skipUrlSync": false,
    })
}
