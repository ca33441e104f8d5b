//! A panel in Grafana's JSON model. [`kinds`] makes the different kinds; [`states`] colours names.

pub mod kinds;
mod states;

use serde_json::{Map, Value, json};
pub(crate) use states::NOBODY;

/// Reference to the data source that the reader chose.
pub(crate) fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// How values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    #[default]
    Short,
    /// 0 to 1, shown as 0 to 100 %.
    Share,
    /// Seconds.
    Seconds,
    /// Things per second.
    PerSecond,
    /// Bytes, in powers of 1024.
    Bytes,
}

impl Unit {
    /// Grafana's id of the unit.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Unit::Short => "short",
            Unit::Share => "percentunit",
            Unit::Seconds => "s",
            Unit::PerSecond => "cps",
            Unit::Bytes => "bytes",
        }
    }
}

/// One query of a panel.
#[derive(Clone, Debug)]
pub struct Query {
    /// PromQL with Grafana's variables.
    pub expr: String,
    /// How its series are named, with labels in braces; nothing in a table.
    pub(crate) legend: &'static str,
    /// How its values are written.
    pub unit: Unit,
    /// The column of a table that it fills.
    pub heading: Option<&'static str>,
}

/// A panel under construction.
#[must_use]
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// Title.
    pub title: &'static str,
    /// How to read it, as one or two sentences.
    pub(crate) how_to_read: &'static str,
    /// Where to look next, as a sentence.
    pub(crate) next: &'static str,
    /// What it asks.
    pub queries: Vec<Query>,
    /// Of a table: the fields as Grafana names them, and the headings that the reader sees.
    pub(crate) columns: Vec<(String, &'static str)>,
    kind: &'static str,
    /// How Grafana reads the answers: as series, as a table or as the buckets of a heat map.
    pub(crate) format: &'static str,
    unit: Unit,
    width: u32,
    height: u32,
    defaults: Value,
    overrides: Vec<Value>,
    options: Value,
    /// Transformations of the answers before they are drawn, a list.
    transformations: Value,
    repeat: Option<&'static str>,
}

impl Panel {
    /// `defaults` are those of its fields, `options` those of the kind.
    fn new(kind: &'static str, title: &'static str, unit: Unit, mut defaults: Value, options: Value) -> Panel {
        defaults["unit"] = unit.id().into();
        let transformations = json!([]);
        Panel {
            title,
            kind,
            format: "time_series",
            unit,
            width: 12,
            height: 8,
            defaults,
            options,
            transformations,
            ..Panel::default()
        }
    }

    pub(crate) fn read(self, how_to_read: &'static str) -> Panel {
        Panel { how_to_read, ..self }
    }

    pub(crate) fn look_next(self, next: &'static str) -> Panel {
        Panel { next, ..self }
    }

    /// Adds a query whose series are named by `legend`.
    pub(crate) fn query(mut self, expr: String, legend: &'static str) -> Panel {
        self.queries.push(Query { expr, legend, unit: self.unit, heading: None });
        self
    }

    /// Overrides properties of the fields that are shown under a name.
    fn set(mut self, name: &str, properties: &[(&str, Value)]) -> Panel {
        let properties = properties.iter().map(|(id, value)| json!({ "id": id, "value": value }));
        let existing = self.overrides.iter_mut().find(|known| known["matcher"]["options"] == name);
        if let Some(list) = existing.and_then(|known| known["properties"].as_array_mut()) {
            list.extend(properties);
        } else {
            let matcher = json!({ "id": "byName", "options": name });
            self.overrides.push(json!({ "matcher": matcher, "properties": properties.collect::<Vec<_>>() }));
        }
        self
    }

    /// Says this where nothing is to be drawn.
    pub(crate) fn where_empty(mut self, text: String) -> Panel {
        self.defaults["noValue"] = text.into();
        self
    }

    /// Sets the size in columns of 24 and rows of 30 pixels.
    pub(crate) fn sized(self, width: u32, height: u32) -> Panel {
        Panel { width, height, ..self }
    }

    /// Once for each chosen value of a variable, side by side.
    pub(crate) fn repeated_by(self, variable: &'static str) -> Panel {
        Panel { repeat: Some(variable), ..self }
    }

    /// Columns of 24 and rows that it takes.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Shows the last value only.
    fn is_instant(&self) -> bool {
        matches!(self.kind, "table" | "bargauge" | "stat")
    }

    /// The panel's JSON at a place of the grid.
    pub(crate) fn json(&self, id: usize, x: u32, y: u32) -> Value {
        let targets: Vec<Value> = self.queries.iter().enumerate().map(|(place, query)| self.target(place, query)).collect();
        let mut panel = json!({
            "id": id,
            "type": self.kind,
            "title": self.title,
            "description": format!("{}\n\nNext: {}", self.how_to_read, self.next),
            "datasource": datasource(),
            "gridPos": { "h": self.height, "w": self.width, "x": x, "y": y },
            "fieldConfig": { "defaults": self.defaults, "overrides": self.overrides },
            "options": self.options,
            "targets": targets,
            "transformations": if self.columns.is_empty() { self.transformations.clone() } else { joined(&self.columns) },
            "transparent": false,
        });
        if self.kind == "state-timeline" {
            // A step is then half a percent of the width, which the eye can tell apart.
            panel["maxDataPoints"] = 200.into();
        } else if self.is_instant() {
            // Grafana widens the rate interval to the distance between points. With this many points it stays at four scrapes, so
            // that "the last interval" means the same at every zoom.
            panel["maxDataPoints"] = 100_000.into();
        }
        if let Some(variable) = self.repeat {
            panel["repeat"] = variable.into();
            panel["repeatDirection"] = "h".into();
            panel["maxPerRow"] = 3.into();
        }
        panel
    }

    fn target(&self, place: usize, query: &Query) -> Value {
        json!({
            "datasource": datasource(),
            "editorMode": "code",
            "expr": query.expr,
            "format": self.format,
            "hide": false,
            "instant": self.is_instant(),
            "range": !self.is_instant(),
            "legendFormat": query.legend,
            "refId": letter(place),
        })
    }
}

/// Grafana's id of a query, which also names the column of its values in a table.
fn letter(place: usize) -> String {
    char::from(b'A' + u8::try_from(place % 26).unwrap_or(0)).to_string()
}

/// Merges the answers to all queries into one table, its columns in order and under their headings.
fn joined(columns: &[(String, &str)]) -> Value {
    let renamed: Map<String, Value> = columns.iter().map(|(field, heading)| (field.clone(), (*heading).into())).collect();
    let order: Map<String, Value> = columns.iter().enumerate().map(|(place, (field, _))| (field.clone(), place.into())).collect();
    json!([
        { "id": "merge", "options": {} },
        {
            "id": "organize",
            "options": {
                "excludeByName": { "Time": true, "Value": true }, "includeByName": {}, "indexByName": order, "renameByName": renamed,
            },
        },
    ])
}
