//! A table of several queries, joined by the labels that they share.

use serde_json::{Map, Value, json};

use super::{Panel, Text, Unit};
use crate::promql::Expr;

/// Labels whose values are long; columns of equal width would cut them off.
const NAMES: [&str; 2] = ["workload", "instance"];
/// In pixels.
const NAME_WIDTH: u32 = 200;

/// A table under construction.
#[derive(Clone, Debug)]
pub struct Table {
    panel: Panel,
    /// Field names as Grafana makes them, and what the reader sees.
    names: Vec<(String, String)>,
    keys: Vec<&'static str>,
    attributes: Vec<&'static str>,
}

/// A table whose rows are the combinations of `labels`, given with their headings.
pub fn table(text: Text, labels: &[(&'static str, &str)]) -> Table {
    let custom = json!({ "align": "auto", "cellOptions": { "type": "auto" }, "inspect": false, "filterable": true });
    let mut table = Table {
        panel: Panel::new("table", text, Unit::Short, json!({ "custom": custom }), options(None)),
        names: labels.iter().map(|(label, heading)| ((*label).to_owned(), (*heading).to_owned())).collect(),
        keys: labels.iter().map(|(label, _)| *label).collect(),
        attributes: Vec::new(),
    };
    for (_, heading) in labels.iter().filter(|(label, _)| NAMES.contains(label)) {
        table.set(heading, &[("custom.width", NAME_WIDTH.into())]);
    }
    table
}

impl Table {
    /// Adds a column for a label that one of the queries has beside those of the rows.
    #[must_use]
    pub fn attribute(mut self, label: &'static str, heading: &str) -> Table {
        self.names.push((label.to_owned(), heading.to_owned()));
        self.attributes.push(label);
        self
    }

    /// Adds a column of numbers.
    ///
    /// # Panics
    /// If the unit is not that of the expression, or the expression's labels are not those of the rows.
    #[must_use]
    pub fn column(mut self, heading: &str, unit: Unit, expr: &Expr) -> Table {
        assert!(unit.fits(expr.quantity()), "{heading}: {unit:?} is not {expr}");
        let (keys, others): (Vec<_>, Vec<_>) = expr.labels().iter().partition(|label| self.keys.contains(label));
        let is_known = others.iter().all(|label| self.attributes.contains(label));
        assert!(keys.len() == self.keys.len() && is_known, "{heading}: the labels of {expr} are not {:?}", self.keys);
        let letter = char::from(b'A' + u8::try_from(self.panel.targets.len() % 26).unwrap_or(0));
        self.names.push((format!("Value #{letter}"), heading.to_owned()));
        self.panel = self.panel.target(expr, "");
        // Grafana's own choice of digits shows small figures, too; a share in whole percent is easier to compare.
        let decimals = (unit == Unit::Share).then_some(("decimals", 0.into()));
        self.set(heading, &[&[("unit", unit.id().into())][..], decimals.as_slice()].concat());
        self
    }

    /// Adds a column of means, such as C, whose second digit still counts.
    #[must_use]
    pub fn mean(self, heading: &str, expr: &Expr) -> Table {
        let mut table = self.column(heading, Unit::Short, expr);
        table.set(heading, &[("decimals", 2.into())]);
        table
    }

    /// The rows are what there is: of the one query only the labels are shown.
    ///
    /// # Panics
    /// If the expression's labels are not those of the rows.
    #[must_use]
    pub fn listing(mut self, expr: &Expr) -> Panel {
        let is_known = expr.labels().iter().all(|label| self.keys.contains(label));
        assert!(is_known && expr.labels().len() == self.keys.len(), "the labels of {expr} are not {:?}", self.keys);
        self.panel = self.panel.target(expr, "");
        let heading = self.names[0].1.clone();
        self.finished(&heading, false)
    }

    /// A column of shares from 0 to 1, coloured.
    #[must_use]
    pub fn share(self, heading: &str, expr: &Expr) -> Table {
        let mut table = self.column(heading, Unit::Share, expr);
        let cell = json!({ "type": "color-background", "mode": "gradient" });
        table.set(
            heading,
            &[("min", 0.into()), ("max", 1.into()), ("color", json!({ "mode": "continuous-BlPu" })), ("custom.cellOptions", cell)],
        );
        table
    }

    /// Makes the cells of a column links to another dashboard, `variable` set to the cell's value.
    #[must_use]
    pub fn linked(mut self, heading: &str, title: &str, uid: &str, variable: &str) -> Table {
        let cell = format!("var-{variable}=${{__value.text:percentencode}}");
        // What the reader has chosen beside it goes along.
        let others = ["job", "instance", "workload"].into_iter().filter(|name| *name != variable);
        let kept = others.fold(String::new(), |kept, name| kept + "&${" + name + ":queryparam}");
        let url = format!("/d/{uid}?{cell}{kept}&var-datasource=${{datasource}}&${{__url_time_range}}");
        let link = json!([{ "title": title, "url": url, "targetBlank": false }]);
        self.set(heading, &[("links", link)]);
        self
    }

    /// The panel, the rows sorted by a column, largest first.
    ///
    /// # Panics
    /// If there is no such column.
    #[must_use]
    pub fn sorted_by(self, heading: &str) -> Panel {
        self.finished(heading, true)
    }

    fn finished(mut self, heading: &str, is_descending: bool) -> Panel {
        assert!(self.names.iter().any(|(_, name)| name == heading), "no column {heading}");
        self.panel.options = options(Some((heading, is_descending)));
        let renamed: Map<String, Value> =
            self.names.iter().map(|(field, heading)| (field.clone(), heading.clone().into())).collect();
        let order: Map<String, Value> =
            self.names.iter().enumerate().map(|(place, (field, _))| (field.clone(), place.into())).collect();
        self.panel.transformations = vec![
            json!({ "id": "merge", "options": {} }),
            json!({
                "id": "organize",
                "options": {
                    "excludeByName": { "Time": true, "Value": true }, "includeByName": {}, "indexByName": order, "renameByName": renamed,
                },
            }),
        ];
        self.panel
    }

    /// Overrides properties of the fields of a column.
    fn set(&mut self, heading: &str, properties: &[(&str, Value)]) {
        let properties = properties.iter().map(|(id, value)| json!({ "id": id, "value": value }));
        let existing = self.panel.overrides.iter_mut().find(|known| known["matcher"]["options"] == heading);
        if let Some(list) = existing.and_then(|known| known["properties"].as_array_mut()) {
            list.extend(properties);
            return;
        }
        let matcher = json!({ "id": "byName", "options": heading });
        self.panel.overrides.push(json!({ "matcher": matcher, "properties": properties.collect::<Vec<_>>() }));
    }
}

/// Options of every table.
pub(super) fn options(sorted_by: Option<(&str, bool)>) -> Value {
    let sort_by: Vec<Value> =
        sorted_by.into_iter().map(|(heading, is_descending)| json!({ "displayName": heading, "desc": is_descending })).collect();
    json!({ "showHeader": true, "cellHeight": "sm", "enablePagination": false, "frameIndex": 0, "sortBy": sort_by })
}
