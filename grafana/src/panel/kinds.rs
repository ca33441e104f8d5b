//! The kinds of panels, tables apart.

use serde_json::{Value, json};

use super::{Panel, Unit, states};

/// Lines over time.
pub fn lines(title: &'static str, unit: Unit) -> Panel {
    time_series(title, unit, 0, "none")
}

/// Areas over time that add up.
pub fn stacked(title: &'static str, unit: Unit) -> Panel {
    time_series(title, unit, 40, "normal")
}

fn time_series(title: &'static str, unit: Unit, fill: u32, stacking: &str) -> Panel {
    let custom = json!({
        "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": fill, "showPoints": "auto", "spanNulls": false,
        "stacking": { "group": "A", "mode": stacking },
    });
    let options = json!({
        // Largest first: the legend has room for few of thirty workloads.
        "legend": {
            "calcs": ["mean", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true, "sortBy": "Mean", "sortDesc": true,
        },
        "tooltip": { "mode": "multi", "sort": "desc" },
    });
    Panel::new("timeseries", title, unit, json!({ "min": 0, "custom": custom }), options)
}

/// One number.
pub fn stat(title: &'static str, unit: Unit) -> Panel {
    Panel::new("stat", title, unit, json!({ "decimals": 2 }), stat_options("none")).sized(4, 4)
}

/// One whole number.
pub fn whole_number(title: &'static str) -> Panel {
    Panel::new("stat", title, Unit::Short, json!({ "decimals": 0 }), stat_options("none")).sized(4, 4)
}

/// One number that should be 0 and is red if it is not.
pub fn alarm(title: &'static str, unit: Unit) -> Panel {
    let thresholds =
        json!({ "mode": "absolute", "steps": [{ "color": "green", "value": null }, { "color": "red", "value": 1e-6 }] });
    Panel::new("stat", title, unit, json!({ "thresholds": thresholds }), stat_options("background")).sized(4, 4)
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
pub fn share_heatmap(title: &'static str) -> Panel {
    let mut panel = heatmap(title, Unit::Share, "short");
    panel.options["color"]["min"] = 0.into();
    panel.options["color"]["max"] = 1.into();
    panel
}

/// A histogram over time: rows are buckets in seconds, the colour is the number of observations.
pub fn latency_heatmap(title: &'static str) -> Panel {
    Panel { format: "heatmap", ..heatmap(title, Unit::Short, "s").sized(12, 9) }
}

fn heatmap(title: &'static str, unit: Unit, y_unit: &str) -> Panel {
    let options = json!({
        "calculate": false, "cellGap": 0,
        "color": { "mode": "scheme", "scheme": "Viridis", "steps": 64, "reverse": false, "exponent": 0.5, "fill": "dark-orange" },
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
    Panel::new("heatmap", title, unit, json!({ "custom": custom }), options)
}

/// Bars of states over time: one row per value of the label `rows`, the state is the value of the label `state`.
pub fn owners(title: &'static str, rows: &str, state: &str) -> Panel {
    let defaults = json!({ "mappings": states::mappings(), "custom": { "fillOpacity": 80, "lineWidth": 0 } });
    let options = json!({
        "mergeValues": true, "showValue": "auto", "alignValue": "left", "rowHeight": 0.9, "perPage": 32,
        "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true },
        "tooltip": { "mode": "single", "sort": "none" },
    });
    // Grafana before 11.6 keeps the rows in the order in which they come and turns their times into text.
    let time = json!([{ "targetField": format!("Time\\{rows}"), "destinationType": "time" }]);
    let transformations = json!([
        { "id": "sortBy", "options": { "fields": {}, "sort": [{ "field": "Time" }] } },
        matrix(rows, "Time", state),
        { "id": "convertFieldType", "options": { "fields": {}, "conversions": time } },
    ]);
    Panel { format: "table", transformations, ..Panel::new("state-timeline", title, Unit::Short, defaults, options).sized(24, 9) }
}

/// A table with the values of one label as rows, under a heading, and of another as columns, each cell a share.
pub fn share_matrix(title: &'static str, rows: &str, heading: &str, columns: &str) -> Panel {
    let custom = json!({ "align": "right", "cellOptions": { "type": "color-background", "mode": "gradient" }, "inspect": false });
    let defaults = json!({ "decimals": 2, "min": 0, "max": 1, "color": { "mode": "continuous-BlPu" }, "custom": custom });
    let panel = Panel::new("table", title, Unit::Share, defaults, super::table::options(None)).sized(12, 9);
    // The names are not shares.
    let names =
        [("custom.cellOptions", json!({ "type": "auto" })), ("custom.align", "left".into()), ("displayName", heading.into())];
    Panel {
        format: "table",
        transformations: json!([matrix(columns, rows, "Value")]),
        ..panel.set(&format!("{rows}\\{columns}"), &names)
    }
}

/// Bars for the last value of each series, a full bar is 1.
pub fn shares_now(title: &'static str) -> Panel {
    bars(title, Unit::Share, json!({ "min": 0, "max": 1 }))
}

/// Bars for the last value of each series, the longest is full.
pub fn numbers_now(title: &'static str, unit: Unit) -> Panel {
    bars(title, unit, json!({ "min": 0 }))
}

fn bars(title: &'static str, unit: Unit, mut defaults: Value) -> Panel {
    defaults["color"] = json!({ "mode": "continuous-BlPu" });
    let options = json!({
        "displayMode": "gradient", "orientation": "horizontal", "valueMode": "color", "namePlacement": "auto",
        "showUnfilled": true, "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 300,
        "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": false },
        "reduceOptions": last_value(),
    });
    Panel::new("bargauge", title, unit, defaults, options)
}

fn matrix(column_field: &str, row_field: &str, value_field: &str) -> Value {
    json!({
        "id": "groupingToMatrix",
        "options": { "columnField": column_field, "rowField": row_field, "valueField": value_field, "emptyValue": "null" },
    })
}
