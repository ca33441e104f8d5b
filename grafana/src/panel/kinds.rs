//! The kinds of panels. A table joins several queries by the labels that they share.

use serde_json::{Value, json};

use super::{Panel, Query, Unit, letter, states};

/// Labels whose values are long; columns of equal width would cut them off.
const NAMES: [&str; 2] = ["workload", "instance"];
/// In pixels.
const NAME_WIDTH: u32 = 200;

/// Lines over time.
pub(crate) fn lines(title: &'static str, unit: Unit) -> Panel {
    time_series(title, unit, 0, "none")
}

/// Areas over time that add up.
pub(crate) fn stacked(title: &'static str, unit: Unit) -> Panel {
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

pub(crate) fn stat(title: &'static str, unit: Unit) -> Panel {
    Panel::new("stat", title, unit, json!({ "decimals": 2 }), stat_options("none")).sized(4, 4)
}

/// One whole number.
pub(crate) fn whole_number(title: &'static str) -> Panel {
    Panel::new("stat", title, Unit::Short, json!({ "decimals": 0 }), stat_options("none")).sized(4, 4)
}

/// One number that should be 0 and is red if it is not.
pub(crate) fn alarm(title: &'static str, unit: Unit) -> Panel {
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
pub(crate) fn share_heatmap(title: &'static str) -> Panel {
    let mut panel = heatmap(title, Unit::Share, "short");
    panel.options["color"]["min"] = 0.into();
    panel.options["color"]["max"] = 1.into();
    panel
}

/// A histogram over time: rows are buckets in seconds, the colour is the number of observations.
pub(crate) fn latency_heatmap(title: &'static str) -> Panel {
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
pub(crate) fn owners(title: &'static str, rows: &str, state: &str) -> Panel {
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
pub(crate) fn share_matrix(title: &'static str, rows: &str, heading: &str, columns: &str) -> Panel {
    let custom = json!({ "align": "right", "cellOptions": { "type": "color-background", "mode": "gradient" }, "inspect": false });
    let defaults = json!({ "decimals": 2, "min": 0, "max": 1, "color": { "mode": "continuous-BlPu" }, "custom": custom });
    let panel = Panel::new("table", title, Unit::Share, defaults, table_options(None)).sized(12, 9);
    // The names are not shares.
    let names =
        [("custom.cellOptions", json!({ "type": "auto" })), ("custom.align", "left".into()), ("displayName", heading.into())];
    Panel {
        format: "table",
        transformations: json!([matrix(columns, rows, "Value")]),
        ..panel.set(&format!("{rows}\\{columns}"), &names)
    }
}

/// Bars for the last value of each series. Of shares a full bar is 1, of other numbers the longest is full.
pub(crate) fn bars(title: &'static str, unit: Unit) -> Panel {
    let mut defaults = json!({ "min": 0, "color": { "mode": "continuous-BlPu" } });
    if unit == Unit::Share {
        defaults["max"] = 1.into();
    }
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

/// A table whose rows are the combinations of `labels`, given with their headings.
pub(crate) fn table(title: &'static str, labels: &[(&str, &'static str)]) -> Panel {
    let custom = json!({ "align": "auto", "cellOptions": { "type": "auto" }, "inspect": false, "filterable": true });
    let mut panel = Panel::new("table", title, Unit::Short, json!({ "custom": custom }), table_options(None)).sized(24, 9);
    panel.format = "table";
    for (label, heading) in labels {
        panel = panel.attribute(label, heading);
        if NAMES.contains(label) {
            panel = panel.set(heading, &[("custom.width", NAME_WIDTH.into())]);
        }
    }
    panel
}

/// What only tables have.
impl Panel {
    /// Adds a column for a label that one of the queries has.
    pub(crate) fn attribute(mut self, label: &str, heading: &'static str) -> Panel {
        self.columns.push((label.to_owned(), heading));
        self
    }

    pub(crate) fn column(mut self, heading: &'static str, unit: Unit, expr: String) -> Panel {
        self.columns.push((format!("Value #{}", letter(self.queries.len())), heading));
        self.queries.push(Query { expr, legend: "", unit, heading: Some(heading) });
        let panel = self.set(heading, &[("unit", unit.id().into())]);
        // Grafana's own choice of digits suits small figures too, but whole percents are easier to compare.
        if unit == Unit::Share { panel.set(heading, &[("decimals", 0.into())]) } else { panel }
    }

    /// Adds a column of means, such as C, whose second digit still counts.
    pub(crate) fn mean(self, heading: &'static str, expr: String) -> Panel {
        self.column(heading, Unit::Short, expr).set(heading, &[("decimals", 2.into())])
    }

    /// Adds a column of shares from 0 to 1, coloured.
    pub(crate) fn share(self, heading: &'static str, expr: String) -> Panel {
        let cell = json!({ "type": "color-background", "mode": "gradient" });
        let colour = json!({ "mode": "continuous-BlPu" });
        self.column(heading, Unit::Share, expr)
            .set(heading, &[("min", 0.into()), ("max", 1.into()), ("color", colour), ("custom.cellOptions", cell)])
    }

    /// Lists the labels of one query, without its values.
    pub(crate) fn listing(self, expr: String) -> Panel {
        let first = self.columns.first().map(|(_, heading)| (*heading, false));
        Panel { options: table_options(first), ..self.query(expr, "") }
    }

    /// Sorts the rows by a column, largest first.
    pub(crate) fn sorted_by(self, heading: &str) -> Panel {
        Panel { options: table_options(Some((heading, true))), ..self }
    }

    /// Makes the cells of a column links to another dashboard, `variable` set to the cell's value.
    pub(crate) fn linked(self, heading: &str, title: &str, uid: &str, variable: &str) -> Panel {
        let cell = format!("var-{variable}=${{__value.text:percentencode}}");
        // The reader's other choices go along.
        let others = ["job", "instance", "workload"].into_iter().filter(|name| *name != variable);
        let kept = others.fold(String::new(), |kept, name| kept + "&${" + name + ":queryparam}");
        let url = format!("/d/{uid}?{cell}{kept}&var-datasource=${{datasource}}&${{__url_time_range}}");
        self.set(heading, &[("links", json!([{ "title": title, "url": url, "targetBlank": false }]))])
    }
}

fn table_options(sorted_by: Option<(&str, bool)>) -> Value {
    let sort_by: Vec<Value> =
        sorted_by.into_iter().map(|(heading, is_descending)| json!({ "displayName": heading, "desc": is_descending })).collect();
    json!({ "showHeader": true, "cellHeight": "sm", "enablePagination": false, "frameIndex": 0, "sortBy": sort_by })
}
