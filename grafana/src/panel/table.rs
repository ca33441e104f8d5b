//! Tables of several queries, joined by the labels that they share.

use serde_json::{Value, json};

use super::{Panel, Query, Unit, letter};

/// Labels whose values are long; columns of equal width would cut them off.
const NAMES: [&str; 2] = ["workload", "instance"];
/// In pixels.
const NAME_WIDTH: u32 = 200;

/// A table whose rows are the combinations of `labels`, given with their headings.
pub fn table(title: &'static str, labels: &[(&str, &'static str)]) -> Panel {
    let custom = json!({ "align": "auto", "cellOptions": { "type": "auto" }, "inspect": false, "filterable": true });
    let mut panel = Panel::new("table", title, Unit::Short, json!({ "custom": custom }), options(None)).sized(24, 9);
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
    #[must_use]
    pub fn attribute(mut self, label: &str, heading: &'static str) -> Panel {
        self.columns.push((label.to_owned(), heading));
        self
    }

    /// Adds a column of numbers.
    #[must_use]
    pub fn column(mut self, heading: &'static str, unit: Unit, expr: String) -> Panel {
        self.columns.push((format!("Value #{}", letter(self.queries.len())), heading));
        self.queries.push(Query { expr, legend: "", unit, heading: Some(heading) });
        let panel = self.set(heading, &[("unit", unit.id().into())]);
        // Grafana's own choice of digits suits small figures too, but whole percents are easier to compare.
        if unit == Unit::Share { panel.set(heading, &[("decimals", 0.into())]) } else { panel }
    }

    /// Adds a column of means, such as C, whose second digit still counts.
    #[must_use]
    pub fn mean(self, heading: &'static str, expr: String) -> Panel {
        self.column(heading, Unit::Short, expr).set(heading, &[("decimals", 2.into())])
    }

    /// Adds a column of shares from 0 to 1, coloured.
    #[must_use]
    pub fn share(self, heading: &'static str, expr: String) -> Panel {
        let cell = json!({ "type": "color-background", "mode": "gradient" });
        let colour = json!({ "mode": "continuous-BlPu" });
        self.column(heading, Unit::Share, expr)
            .set(heading, &[("min", 0.into()), ("max", 1.into()), ("color", colour), ("custom.cellOptions", cell)])
    }

    /// Lists the labels of one query, without its values.
    #[must_use]
    pub fn listing(self, expr: String) -> Panel {
        let first = self.columns.first().map(|(_, heading)| (*heading, false));
        Panel { options: options(first), ..self.query(expr, "") }
    }

    /// Sorts the rows by a column, largest first.
    #[must_use]
    pub fn sorted_by(self, heading: &str) -> Panel {
        Panel { options: options(Some((heading, true))), ..self }
    }

    /// Makes the cells of a column links to another dashboard, `variable` set to the cell's value.
    #[must_use]
    pub fn linked(self, heading: &str, title: &str, uid: &str, variable: &str) -> Panel {
        let cell = format!("var-{variable}=${{__value.text:percentencode}}");
        // The reader's other choices go along.
        let others = ["job", "instance", "workload"].into_iter().filter(|name| *name != variable);
        let kept = others.fold(String::new(), |kept, name| kept + "&${" + name + ":queryparam}");
        let url = format!("/d/{uid}?{cell}{kept}&var-datasource=${{datasource}}&${{__url_time_range}}");
        self.set(heading, &[("links", json!([{ "title": title, "url": url, "targetBlank": false }]))])
    }
}

/// Options of every table.
pub(super) fn options(sorted_by: Option<(&str, bool)>) -> Value {
    let sort_by: Vec<Value> =
        sorted_by.into_iter().map(|(heading, is_descending)| json!({ "displayName": heading, "desc": is_descending })).collect();
    json!({ "showHeader": true, "cellHeight": "sm", "enablePagination": false, "frameIndex": 0, "sortBy": sort_by })
}
