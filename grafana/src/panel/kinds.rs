//! The kinds of panels, tables apart.

use serde_json::{Value, json};

use super::{Panel, Text, Unit, states};

/// Lines over time.
pub fn lines(unit: Unit, text: Text) -> Panel {
    time_series(unit, text, 0, "none")
}

/// Areas over time that add up.
pub fn stacked(unit: Unit, text: Text) -> Panel {
    time_series(unit, text, 40, "normal")
}

fn time_series(unit: Unit, text: Text, fill: u32, stacking: &str) -> Panel {
    let custom = json!({
        "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": fill, "showPoints": "auto", "spanNulls": false,
        "stacking": { "group": "A", "mode": stacking },
    });
    let options = json!({
        // The largest first: of thirty workloads the legend has room for few.
        "legend": {
            "calcs": ["mean", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true, "sortBy": "Mean", "sortDesc": true,
        },
        "tooltip": { "mode": "multi", "sort": "desc" },
    });
    Panel::new("timeseries", text, unit, json!({ "min": 0, "custom": custom }), options)
}

/// One number.
pub fn stat(unit: Unit, text: Text) -> Panel {
    Panel::new("stat", text, unit, json!({ "decimals": 2 }), stat_options("none")).sized(4, 4)
}

/// A number of things.
pub fn count(text: Text) -> Panel {
    Panel::new("stat", text, Unit::Short, json!({ "decimals": 0 }), stat_options("none")).sized(4, 4)
}

/// One number that should be 0 and is red if it is not.
pub fn alarm(unit: Unit, text: Text) -> Panel {
    let thresholds =
        json!({ "mode": "absolute", "steps": [{ "color": "green", "value": null }, { "color": "red", "value": 1e-6 }] });
    Panel::new("stat", text, unit, json!({ "thresholds": thresholds }), stat_options("background")).sized(4, 4)
}

fn stat_options(colour: &str) -> Value {
    json!({
        "colorMode": colour, "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
        "wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard", "reduceOptions": last_value(),
    })
}

fn last_value() -> Value {
    json!({ "calcs": ["lastNotNull"], "fields": "", "values": false })
}

/// Cells over time: one row per series, the colour is a share from 0 to 1.
pub fn share_heatmap(text: Text) -> Panel {
    heatmap(Unit::Share, text, "short", &json!({ "min": 0, "max": 1 }))
}

/// A histogram over time: rows are buckets in seconds, the colour is the number of observations.
pub fn latency_heatmap(text: Text) -> Panel {
    heatmap(Unit::Short, text, "s", &json!({}))
}

fn heatmap(unit: Unit, text: Text, y_unit: &str, range: &Value) -> Panel {
    let mut color =
        json!({ "mode": "scheme", "scheme": "Viridis", "steps": 64, "reverse": false, "exponent": 0.5, "fill": "dark-orange" });
    for bound in ["min", "max"] {
        if let Some(value) = range.get(bound) {
            color[bound] = value.clone();
        }
    }
    let options = json!({
        "calculate": false, "cellGap": 0, "color": color,
        "yAxis": { "axisPlacement": "left", "reverse": false, "unit": y_unit },
        "cellValues": { "unit": unit.id() },
        // Idle cells are drawn too: an idle core is an answer.
        "filterValues": { "le": -1 },
        "rowsFrame": { "layout": "auto" },
        "legend": { "show": true },
        "exemplars": { "color": "rgba(255,0,255,0.7)" },
        "showValue": "never",
        "selectionMode": "x",
        "tooltip": { "mode": "single", "yHistogram": false, "showColorScale": true },
    });
    let custom =
        json!({ "scaleDistribution": { "type": "linear" }, "hideFrom": { "legend": false, "tooltip": false, "viz": false } });
    Panel::new("heatmap", text, unit, json!({ "custom": custom }), options)
}

/// Bars of states over time: one row per value of the label `rows`, the state is the value of the label `state`.
pub fn owners(text: Text, rows: &str, state: &str) -> Panel {
    let custom = json!({ "fillOpacity": 80, "lineWidth": 0 });
    let defaults = json!({ "mappings": states::mappings(), "custom": custom });
    let options = json!({
        "mergeValues": true, "showValue": "auto", "alignValue": "left", "rowHeight": 0.9, "perPage": 32,
        "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true },
        "tooltip": { "mode": "single", "sort": "none" },
    });
    let mut panel = Panel::new("state-timeline", text, Unit::Short, defaults, options);
    // Versions before 11.6 take the rows in the order in which they come, and make text of their times.
    let time = format!("Time\\{rows}");
    panel.transformations = vec![
        json!({ "id": "sortBy", "options": { "fields": {}, "sort": [{ "field": "Time" }] } }),
        matrix(rows, "Time", state),
        json!({ "id": "convertFieldType", "options": { "fields": {}, "conversions": [{ "targetField": time, "destinationType": "time" }] } }),
    ];
    panel
}

/// A table with the values of one label as rows, under a heading, and of another as columns, each cell a share.
pub fn share_matrix(text: Text, rows: &str, heading: &str, columns: &str) -> Panel {
    let custom = json!({ "align": "right", "cellOptions": { "type": "color-background", "mode": "gradient" }, "inspect": false });
    let defaults = json!({ "decimals": 2, "min": 0, "max": 1, "color": { "mode": "continuous-BlPu" }, "custom": custom });
    let mut panel = Panel::new("table", text, Unit::Share, defaults, super::table::options(None));
    panel.transformations = vec![matrix(columns, rows, "Value")];
    // The names are no shares.
    panel.overrides = vec![json!({
        "matcher": { "id": "byName", "options": format!("{rows}\\{columns}") },
        "properties": [
            { "id": "custom.cellOptions", "value": { "type": "auto" } },
            { "id": "custom.align", "value": "left" },
            { "id": "displayName", "value": heading },
        ],
    })];
    panel
}

/// Bars for the last value of each series, a full bar is 1.
pub fn shares_now(text: Text) -> Panel {
    bars(Unit::Share, text, json!({ "min": 0, "max": 1 }))
}

/// Bars for the last value of each series, the longest is full.
pub fn numbers_now(unit: Unit, text: Text) -> Panel {
    bars(unit, text, json!({ "min": 0 }))
}

fn bars(unit: Unit, text: Text, mut defaults: Value) -> Panel {
    defaults["color"] = json!({ "mode": "continuous-BlPu" });
    let options = json!({
        "displayMode": "gradient", "orientation": "horizontal", "valueMode": "color", "namePlacement": "auto",
        "showUnfilled": true, "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 300,
        "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": false },
        "reduceOptions": last_value(),
    });
    Panel::new("bargauge", text, unit, defaults, options)
}

fn matrix(column_field: &str, row_field: &str, value_field: &str) -> Value {
    json!({
        "id": "groupingToMatrix",
        "options": { "columnField": column_field, "rowField": row_field, "valueField": value_field, "emptyValue": "null" },
    })
}
