//! A dashboard: rows of panels laid out from left to right, and the frame that Grafana wants around them.

use serde_json::{Value, json};

use crate::{
    panel::{Panel, datasource},
    variables,
};

/// Tag by which the dashboards link to each other.
pub const TAG: &str = "schedscope";
/// Version of Grafana's dashboard model that is written.
pub const SCHEMA_VERSION: u32 = 42;
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

impl Row {
    /// A row that is open.
    pub fn open(title: &'static str, panels: Vec<Panel>) -> Row {
        Row { title, collapsed: false, panels }
    }

    /// A row that is folded.
    pub fn folded(title: &'static str, panels: Vec<Panel>) -> Row {
        Row { title, collapsed: true, panels }
    }
}

impl Dashboard {
    /// The JSON model, pretty-printed, with a newline at the end.
    pub fn json_text(&self) -> String {
        format!("{:#}\n", self.json())
    }

    /// The JSON model.
    pub fn json(&self) -> Value {
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
            "timepicker": { "hidden": false, "refresh_intervals": ["5s", "10s", "30s", "1m", "5m", "15m"] },
            "timezone": "browser",
            "weekStart": "",
            "links": [{
                "type": "dashboards", "title": "schedscope", "tags": [TAG], "icon": "external link", "url": "", "tooltip": "",
                "asDropdown": true, "includeVars": true, "keepTime": true, "targetBlank": false,
            }],
            "annotations": { "list": variables::annotations() },
            "templating": { "list": variables::variables() },
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
                let (width, height) = panel.size();
                if x + width > COLUMNS {
                    (x, y, line_height) = (0, y + line_height, 0);
                }
                id += 1;
                inside.push(panel.json(id, x, y));
                x += width;
                line_height = line_height.max(height);
            }
            y += line_height;
            // Grafana keeps the panels of a folded row inside it, those of an open one after it.
            let (folded, open) = if row.collapsed { (inside, Vec::new()) } else { (Vec::new(), inside) };
            panels.push(json!({
                "id": row_id, "type": "row", "title": row.title, "collapsed": row.collapsed, "panels": folded,
                "gridPos": { "h": 1, "w": COLUMNS, "x": 0, "y": row_y }, "datasource": datasource(),
            }));
            panels.extend(open);
        }
        panels
    }
}
