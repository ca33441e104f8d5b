//! The kinds of panels, as Grafana's JSON model wants them.

use serde_json::{Value, json};

use crate::promql::Expr;

/// Reference to the data source that the reader chose.
pub fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// A panel.
#[derive(Clone, Debug)]
pub struct Panel {
    title: &'static str,
    description: &'static str,
    kind: &'static str,
    /// Columns of 24.
    pub width: u32,
    /// Rows of 30 pixels.
    pub height: u32,
    targets: Vec<Value>,
    field_config: Value,
    options: Value,
    transformations: Vec<Value>,
}

impl Panel {
    fn new(kind: &'static str, title: &'static str, description: &'static str, field_config: Value, options: Value) -> Panel {
        Panel {
            title,
            description,
            kind,
            width: 12,
            height: 8,
            targets: Vec::new(),
            field_config,
            options,
            transformations: Vec::new(),
        }
    }

    /// Adds a query whose series are named by `legend`.
    #[must_use]
    pub fn query(mut self, expr: &Expr, legend: &str) -> Panel {
        let letter = char::from(b'A' + u8::try_from(self.targets.len() % 26).unwrap_or(0));
        let format = match self.kind {
            "table" | "state-timeline" => "table",
            "heatmap" if legend == "{{le}}" => "heatmap",
            _ => "time_series",
        };
        // These show the last value only.
        let instant = matches!(self.kind, "table" | "bargauge" | "stat");
        self.targets.push(json!({
            "datasource": datasource(),
            "editorMode": "code",
            "expr": expr.to_string(),
            "format": format,
            "instant": instant,
            "range": !instant,
            "legendFormat": legend,
            "refId": letter.to_string(),
        }));
        self
    }

    /// Sets the size in columns of 24 and rows.
    #[must_use]
    pub fn sized(mut self, width: u32, height: u32) -> Panel {
        (self.width, self.height) = (width, height);
        self
    }

    /// The panel's JSON at a place of the grid.
    pub fn json(&self, id: usize, x: u32, y: u32) -> Value {
        json!({
            "id": id,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": datasource(),
            "gridPos": { "h": self.height, "w": self.width, "x": x, "y": y },
            "fieldConfig": self.field_config,
            "options": self.options,
            "targets": self.targets,
            "transformations": self.transformations,
            "transparent": false,
        })
    }
}

/// Lines over time, in `unit` of Grafana.
pub fn lines(title: &'static str, unit: &'static str, description: &'static str) -> Panel {
    time_series(title, unit, description, 0, "none")
}

/// Areas over time that add up.
pub fn stacked(title: &'static str, unit: &'static str, description: &'static str) -> Panel {
    time_series(title, unit, description, 40, "normal")
}

fn time_series(title: &'static str, unit: &'static str, description: &'static str, fill: u32, stacking: &str) -> Panel {
    let custom = json!({
        "drawStyle": "line", "lineWidth": 1, "fillOpacity": fill, "showPoints": "never", "spanNulls": false,
        "stacking": { "group": "A", "mode": stacking },
    });
    let config = json!({ "defaults": { "unit": unit, "min": 0, "custom": custom }, "overrides": [] });
    let options = json!({
        "legend": { "calcs": ["mean", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true },
        "tooltip": { "mode": "multi", "sort": "desc" },
    });
    Panel::new("timeseries", title, description, config, options)
}

/// One number.
pub fn stat(title: &'static str, unit: &'static str, description: &'static str) -> Panel {
    let config = json!({ "defaults": { "unit": unit, "decimals": 2 }, "overrides": [] });
    Panel::new("stat", title, description, config, stat_options("none")).sized(4, 4)
}

/// One number that should be 0 and is red if it is not.
pub fn alarm(title: &'static str, unit: &'static str, description: &'static str) -> Panel {
    let thresholds =
        json!({ "mode": "absolute", "steps": [{ "color": "green", "value": null }, { "color": "red", "value": 0.000_001 }] });
    let config = json!({ "defaults": { "unit": unit, "thresholds": thresholds }, "overrides": [] });
    Panel::new("stat", title, description, config, stat_options("background")).sized(4, 4)
}

fn stat_options(colour: &str) -> Value {
    json!({
        "colorMode": colour, "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
        "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
    })
}

/// Rows of cells over time: one row per series, the colour is the share of a CPU.
pub fn core_heatmap(title: &'static str, description: &'static str) -> Panel {
    heatmap(title, description, "percentunit", &json!({ "unit": "short" }), &json!({ "min": 0, "max": 1 }))
}

/// A histogram over time: rows are buckets, the colour is the number of observations.
pub fn latency_heatmap(title: &'static str, description: &'static str) -> Panel {
    heatmap(title, description, "short", &json!({ "unit": "s" }), &json!({}))
}

fn heatmap(title: &'static str, description: &'static str, value_unit: &str, y_axis: &Value, range: &Value) -> Panel {
    let mut color =
        json!({ "mode": "scheme", "scheme": "Viridis", "steps": 64, "reverse": false, "exponent": 0.5, "fill": "dark-orange" });
    for bound in ["min", "max"] {
        if let Some(value) = range.get(bound) {
            color[bound] = value.clone();
        }
    }
    let mut axis = json!({ "axisPlacement": "left", "reverse": false });
    axis["unit"] = y_axis["unit"].clone();
    let options = json!({
        "calculate": false, "cellGap": 0, "color": color, "yAxis": axis,
        "cellValues": { "unit": value_unit },
        // Idle cells are drawn too: an idle core is an answer.
        "filterValues": { "le": -1 },
        "rowsFrame": { "layout": "auto" },
        "legend": { "show": true },
        "exemplars": { "color": "rgba(255,0,255,0.7)" },
        "showValue": "never",
        "tooltip": { "mode": "single", "yHistogram": false, "showColorScale": true },
    });
    let config = json!({ "defaults": { "custom": { "scaleDistribution": { "type": "linear" } } }, "overrides": [] });
    Panel::new("heatmap", title, description, config, options)
}

/// Bars of states over time: one row per value of the label `rows`, the state is the value of the label `state`.
pub fn owners(title: &'static str, description: &'static str, rows: &str, state: &str) -> Panel {
    let config = json!({
        "defaults": { "color": { "mode": "palette-classic-by-name" }, "custom": { "fillOpacity": 80, "lineWidth": 0, "spanNulls": false } },
        "overrides": [],
    });
    let options = json!({
        "mergeValues": true, "showValue": "auto", "alignValue": "left", "rowHeight": 0.9, "perPage": 32,
        "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
        "tooltip": { "mode": "single", "sort": "none" },
    });
    let mut panel = Panel::new("state-timeline", title, description, config, options);
    panel.transformations = vec![matrix(rows, "Time", state)];
    panel
}

/// A table with the values of one label as rows and of another as columns.
pub fn table_matrix(title: &'static str, unit: &'static str, description: &'static str, rows: &str, columns: &str) -> Panel {
    let custom = json!({ "align": "right", "cellOptions": { "type": "color-background", "mode": "gradient" } });
    let config = json!({
        "defaults": { "unit": unit, "decimals": 2, "min": 0, "max": 1, "color": { "mode": "continuous-BlPu" }, "custom": custom },
        "overrides": [],
    });
    let options = json!({ "showHeader": true, "cellHeight": "sm", "sortBy": [] });
    let mut panel = Panel::new("table", title, description, config, options);
    panel.transformations = vec![matrix(columns, rows, "Value")];
    panel
}

/// Bars for the last value of each series, a full bar is 1.
pub fn shares_now(title: &'static str, description: &'static str) -> Panel {
    let config = json!({
        "defaults": { "unit": "percentunit", "min": 0, "max": 1, "color": { "mode": "continuous-BlPu" } },
        "overrides": [],
    });
    let options = json!({
        "displayMode": "gradient", "orientation": "horizontal", "valueMode": "color", "showUnfilled": true,
        "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
    });
    Panel::new("bargauge", title, description, config, options)
}

fn matrix(column_field: &str, row_field: &str, value_field: &str) -> Value {
    json!({
        "id": "groupingToMatrix",
        "options": { "columnField": column_field, "rowField": row_field, "valueField": value_field, "emptyValue": "null" },
    })
}
