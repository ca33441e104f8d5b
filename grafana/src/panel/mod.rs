//! A panel as Grafana's JSON model wants it. [`kinds`] and [`table`] make the different kinds; [`states`] colours names.

pub mod kinds;
mod states;
pub mod table;

use serde_json::{Value, json};

pub(crate) use states::NOBODY;

use crate::promql::{Expr, Quantity};

/// Reference to the data source that the reader chose.
pub fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// How values are written. Grafana's own ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
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
    pub fn id(self) -> &'static str {
        match self {
            Unit::Short => "short",
            Unit::Share => "percentunit",
            Unit::Seconds => "s",
            Unit::PerSecond => "cps",
            Unit::Bytes => "bytes",
        }
    }

    /// Whether values of this quantity may be written so.
    fn fits(self, quantity: Quantity) -> bool {
        match self {
            Unit::Short | Unit::Share => quantity == Quantity::Number,
            Unit::Seconds => quantity == Quantity::Seconds,
            Unit::PerSecond => quantity == Quantity::PerSecond,
            Unit::Bytes => quantity == Quantity::Bytes,
        }
    }
}

/// What a reader must know of a panel.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// Title.
    pub title: &'static str,
    /// How to read it, as one or two sentences.
    pub read: &'static str,
    /// Where to look next, as a sentence.
    pub next: &'static str,
}

/// A panel under construction.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Title and explanation.
    pub text: Text,
    kind: &'static str,
    unit: Unit,
    width: u32,
    height: u32,
    targets: Vec<Value>,
    defaults: Value,
    overrides: Vec<Value>,
    options: Value,
    transformations: Vec<Value>,
    repeat: Option<&'static str>,
}

impl Panel {
    /// `defaults` are those of its fields, `options` those of the kind.
    fn new(kind: &'static str, text: Text, unit: Unit, mut defaults: Value, options: Value) -> Panel {
        defaults["unit"] = unit.id().into();
        Panel {
            text,
            kind,
            unit,
            width: 12,
            height: 8,
            targets: Vec::new(),
            defaults,
            overrides: Vec::new(),
            options,
            transformations: Vec::new(),
            repeat: None,
        }
    }

    /// Adds a query whose series are named by `legend`.
    ///
    /// # Panics
    /// If the panel's unit is not that of the expression, or the legend names a label that the result does not have.
    #[must_use]
    pub fn query(self, expr: &Expr, legend: &str) -> Panel {
        assert!(self.unit.fits(expr.quantity()), "{}: {:?} is not {expr}", self.text.title, self.unit);
        self.target(expr, legend)
    }

    /// Adds a query; the caller has checked the unit.
    fn target(mut self, expr: &Expr, legend: &str) -> Panel {
        for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            assert!(expr.labels().contains(&label), "{}: no label {label} on {expr}", self.text.title);
        }
        let letter = char::from(b'A' + u8::try_from(self.targets.len() % 26).unwrap_or(0));
        let format = match self.kind {
            "table" | "state-timeline" => "table",
            "heatmap" if expr.labels() == ["le"] => "heatmap",
            _ => "time_series",
        };
        let instant = self.is_instant();
        self.targets.push(json!({
            "datasource": datasource(),
            "editorMode": "code",
            "expr": expr.to_string(),
            "format": format,
            "hide": false,
            "instant": instant,
            "range": !instant,
            "legendFormat": legend,
            "refId": letter.to_string(),
        }));
        self
    }

    /// Shows the last value only.
    fn is_instant(&self) -> bool {
        matches!(self.kind, "table" | "bargauge" | "stat")
    }

    /// Sets the size in columns of 24 and rows of 30 pixels.
    #[must_use]
    pub fn sized(mut self, width: u32, height: u32) -> Panel {
        (self.width, self.height) = (width, height);
        self
    }

    /// Once for each chosen value of a variable, side by side.
    #[must_use]
    pub fn repeated_by(mut self, variable: &'static str) -> Panel {
        self.repeat = Some(variable);
        self
    }

    /// Columns of 24 and rows that it takes.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The panel's JSON at a place of the grid.
    pub fn json(&self, id: usize, x: u32, y: u32) -> Value {
        let mut panel = json!({
            "id": id,
            "type": self.kind,
            "title": self.text.title,
            "description": format!("{}\n\nNext: {}", self.text.read, self.text.next),
            "datasource": datasource(),
            "gridPos": { "h": self.height, "w": self.width, "x": x, "y": y },
            "fieldConfig": { "defaults": self.defaults, "overrides": self.overrides },
            "options": self.options,
            "targets": self.targets,
            "transformations": self.transformations,
            "transparent": false,
        });
        if self.kind == "state-timeline" {
            // A step is then half a percent of the width, which the eye can tell apart.
            panel["maxDataPoints"] = 200.into();
        } else if self.is_instant() {
            // Grafana widens the interval of rates to a point of what would be a curve; with so many points it stays at four
            // scrapes, and "the last interval" means the same whatever time is shown.
            panel["maxDataPoints"] = 100_000.into();
        }
        if let Some(variable) = self.repeat {
            panel["repeat"] = variable.into();
            panel["repeatDirection"] = "h".into();
            panel["maxPerRow"] = 3.into();
        }
        panel
    }
}
