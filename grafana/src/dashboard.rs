//! A dashboard: rows of panels, laid out from left to right, and the JSON that Grafana expects around them.

use serde_json::{Value, json};

use crate::panel::{Panel, datasource};
use crate::variables;

/// Tag by which the dashboards link to each other.
pub(crate) const TAG: &str = "schedscope";
/// Version of Grafana's dashboard model.
const SCHEMA_VERSION: u32 = 42;
const COLUMNS: u32 = 24;

/// A dashboard under construction.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// Stable identity, and the name of the file.
    pub uid: &'static str,
    /// Title.
    pub title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) rows: Vec<Row>,
}

#[must_use]
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) title: &'static str,
    /// Folded until the reader opens it.
    pub(crate) collapsed: bool,
    pub(crate) panels: Vec<Panel>,
}

impl Row {
    pub(crate) fn open(title: &'static str, panels: Vec<Panel>) -> Row {
        Row { title, collapsed: false, panels }
    }

    pub(crate) fn folded(title: &'static str, panels: Vec<Panel>) -> Row {
        Row { title, collapsed: true, panels }
    }

    /// Lays the panels out in lines of so many panels. Those of a line are equally wide, and as high as its highest.
    pub(crate) fn in_lines(self, counts: &[u32]) -> Row {
        let mut rest = self.panels.into_iter();
        let mut panels = Vec::new();
        for count in counts {
            let line: Vec<Panel> = rest.by_ref().take(*count as usize).collect();
            let height = line.iter().map(|panel| panel.size().1).max().unwrap_or_default();
            panels.extend(line.into_iter().map(|panel| panel.sized(COLUMNS / count, height)));
        }
        panels.extend(rest);
        Row { panels, ..self }
    }
}

impl Dashboard {
    /// Every panel in reading order.
    pub fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.rows.iter().flat_map(|row| &row.panels)
    }

    /// The JSON model, pretty-printed, with a newline at the end.
    pub(crate) fn json_text(&self) -> String {
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
            "annotations": { "list": variables::annotations().map(|annotation| annotation.json()) },
            "templating": { "list": variables::variables() },
            "panels": self.laid_out(),
        })
    }

    /// Gives the panels their places and ids, in reading order.
    fn laid_out(&self) -> Vec<Value> {
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
            // Grafana expects the panels of a folded row inside it, those of an open row after it.
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
