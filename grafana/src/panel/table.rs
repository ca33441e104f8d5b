//! A table of several queries, joined by the labels that they share.

use serde_json::{Map, Value, json};

use super::{Panel, Text, Unit};
use crate::promql::Expr;

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
    Table {
        panel: Panel::new("table", text, Unit::Short, json!({ "custom": custom }), options(None)),
        names: labels.iter().map(|(label, heading)| ((*label).to_owned(), (*heading).to_owned())).collect(),
        keys: labels.iter().map(|(label, _)| *label).collect(),
        attributes: Vec::new(),
    }
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
        let decimals = if unit == Unit::Share { 0 } else { 2 };
        self.set(heading, &[("unit", unit.id().into()), ("decimals", decimals.into())]);
        self
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
        let url = format!("/d/{uid}?var-{variable}=${{__value.text}}&var-datasource=${{datasource}}&${{__url_time_range}}");
        let link = json!([{ "title": title, "url": url, "targetBlank": false }]);
        self.set(heading, &[("links", link)]);
        self
    }

    /// The panel, the rows sorted by a column, largest first.
    ///
    /// # Panics
    /// If there is no such column.
    #[must_use]
    pub fn sorted_by(mut self, heading: &str) -> Panel {
        assert!(self.names.iter().any(|(_, name)| name == heading), "no column {heading}");
        self.panel.options = options(Some(heading));
        let renamed: Map<String, Value> =
            self.names.iter().map(|(field, heading)| (field.clone(), heading.clone().into())).collect();
        let order: Map<String, Value> =
            self.names.iter().enumerate().map(|(place, (field, _))| (field.clone(), place.into())).collect();
        self.panel.transformations = vec![
            json!({ "id": "merge", "options": {} }),
            json!({
                "id": "organize",
                "options": {
                    "excludeByName": { "Time": true }, "includeByName": {}, "indexByName": order, "renameByName": renamed,
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
pub(super) fn options(sorted_by: Option<&str>) -> Value {
    let sort_by: Vec<Value> = sorted_by.into_iter().map(|heading| json!({ "displayName": heading, "desc": true })).collect();
    json!({ "showHeader": true, "cellHeight": "sm", "enablePagination": false, "frameIndex": 0, "sortBy": sort_by })
}
