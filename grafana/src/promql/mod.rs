//! Queries over rows of the catalog.
//!
//! A [`Series`] is one metric under a function and selectors; an [`Expr`] is what aggregation makes of it. An expression knows its
//! labels and what quantity it is, so that a legend on a label that is gone, or seconds on an axis of counts, panics while the
//! dashboards are made, which every test run does.

mod expr;

pub use expr::{Expr, Quantity};
use schedscope::metrics::catalog::{self, Bound, Kind, Metric, PREFIX, Unit};

/// The interval that Grafana fits to the scrape interval and the zoom.
pub const RATE_INTERVAL: &str = "$__rate_interval";
/// The step from one point to the next, which Grafana fits to the zoom.
pub const STEP: &str = "$__interval";
/// The whole time that the reader looks at.
pub const RANGE: &str = "$__range";
/// What every query of a dashboard selects by.
const SCOPE: [&str; 2] = [r#"job=~"$job""#, r#"instance=~"$instance""#];
/// Labels that Prometheus adds to whatever it scrapes.
const SCRAPE_LABELS: [&str; 2] = ["job", "instance"];
/// For how long a daemon that no longer answers is still known as one.
const KNOWN_FOR: &str = "1d";

/// Per-second rate of a counter, over Grafana's interval.
///
/// # Panics
/// If the metric is no counter.
pub fn rate(metric: &'static Metric) -> Series {
    assert_eq!(metric.kind, Kind::Counter, "{} is no counter", metric.name);
    // Seconds per second have no unit: a mean number of threads, or CPUs.
    let quantity = if metric.unit == Unit::Seconds { Quantity::Number } else { Quantity::PerSecond };
    Series::new(metric, "", Some("rate"), quantity)
}

/// Growth of a counter.
///
/// # Panics
/// If the metric is no counter.
pub fn increase(metric: &'static Metric) -> Series {
    assert_eq!(metric.kind, Kind::Counter, "{} is no counter", metric.name);
    Series::new(metric, "", Some("increase"), quantity(metric))
}

/// Value of a counter: what it has counted since the program that has it started.
///
/// # Panics
/// If the metric is no counter.
pub fn total(metric: &'static Metric) -> Series {
    assert_eq!(metric.kind, Kind::Counter, "{} is no counter", metric.name);
    Series::new(metric, "", None, quantity(metric))
}

/// Value of a gauge.
///
/// # Panics
/// If the metric is no gauge.
pub fn value(metric: &'static Metric) -> Series {
    assert_eq!(metric.kind, Kind::Gauge, "{} is no gauge", metric.name);
    Series::new(metric, "", None, quantity(metric))
}

/// Largest value of a gauge since the point before, so that what is shorter than a step is not missed.
///
/// # Panics
/// If the metric is no gauge.
pub fn largest_since_last_point(metric: &'static Metric) -> Series {
    assert_eq!(metric.kind, Kind::Gauge, "{} is no gauge", metric.name);
    Series::new(metric, "", Some("max_over_time"), quantity(metric)).over(STEP)
}

/// Observations per second of a histogram.
///
/// # Panics
/// If the metric is no histogram.
pub fn observations(metric: &'static Metric) -> Series {
    assert_eq!(metric.kind, Kind::Histogram, "{} is no histogram", metric.name);
    Series::new(metric, "_count", Some("rate"), Quantity::PerSecond)
}

/// Buckets of a histogram: per second for a quantile, per step for a heat map.
///
/// # Panics
/// If the metric is no histogram.
fn buckets(metric: &'static Metric, function: &'static str) -> Series {
    assert_eq!(metric.kind, Kind::Histogram, "{} is no histogram", metric.name);
    Series::new(metric, "_bucket", Some(function), Quantity::Number)
}

/// Quantile `q` of a histogram, by `labels`, on a dashboard.
pub fn quantile(q: f64, metric: &'static Metric, labels: &[&'static str]) -> Expr {
    buckets(metric, "rate").quantile(q, labels)
}

/// The same for a rule, over a fixed window and without selectors.
pub fn recorded_quantile(q: f64, metric: &'static Metric, labels: &[&'static str], window: &'static str) -> Expr {
    buckets(metric, "rate").over(window).everywhere().quantile(q, labels)
}

/// Observations per bucket in each step, for a heat map.
pub fn bucket_increase(metric: &'static Metric) -> Expr {
    buckets(metric, "increase").sum_by(&["le"])
}

fn quantity(metric: &Metric) -> Quantity {
    match metric.unit {
        // The catalog has no sizes; only the process collector does.
        _ if metric.name.ends_with("_bytes") => Quantity::Bytes,
        Unit::Seconds => Quantity::Seconds,
        Unit::Count | Unit::Info | Unit::Bool => Quantity::Number,
    }
}

/// Series of one metric before aggregation.
#[derive(Clone, Debug)]
pub struct Series {
    metric: &'static Metric,
    suffix: &'static str,
    function: Option<&'static str>,
    window: &'static str,
    is_scoped: bool,
    filters: Vec<String>,
    quantity: Quantity,
}

impl Series {
    fn new(metric: &'static Metric, suffix: &'static str, function: Option<&'static str>, quantity: Quantity) -> Series {
        Series { metric, suffix, function, window: RATE_INTERVAL, is_scoped: true, filters: Vec::new(), quantity }
    }

    /// Over a fixed time: for rules, and for counters that move more rarely than every scrape.
    #[must_use]
    pub fn over(mut self, window: &'static str) -> Series {
        self.window = window;
        self
    }

    /// Without the dashboard's variables, as rules and variables need it.
    #[must_use]
    pub fn everywhere(mut self) -> Series {
        self.is_scoped = false;
        self
    }

    /// Only the series whose `label` has one of `values`.
    ///
    /// # Panics
    /// If the metric has no such label, or the label never has that value.
    #[must_use]
    pub fn only(mut self, label: &'static str, values: &[&str]) -> Series {
        let known = self.metric.labels.iter().find(|known| known.name == label);
        assert!(known.is_some(), "{} has no label {label}", self.metric.name);
        if let Some(Bound::Values(possible)) = known.map(|label| label.bound) {
            assert!(values.iter().all(|value| possible.contains(value)), "{label} of {} is never {values:?}", self.metric.name);
        }
        assert!(!values.is_empty(), "nothing is left of {}", self.metric.name);
        let is_plain = |value: &&str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        assert!(values.iter().all(is_plain), "{values:?} would be read as a pattern");
        self.filters.push(format!(r#"{label}=~"{}""#, values.join("|")));
        self
    }

    /// Only the series whose `label` has another value.
    ///
    /// # Panics
    /// If the metric has no such label.
    #[must_use]
    pub fn except(mut self, label: &'static str, value: &str) -> Series {
        self.check(&[label]);
        self.filters.push(format!(r#"{label}!="{value}""#));
        self
    }

    /// Only the series of jobs whose name matches, for rules that look at what every job has.
    #[must_use]
    pub fn of_job(mut self, pattern: &str) -> Series {
        self.filters.push(format!(r#"job=~"{pattern}""#));
        self
    }

    /// Sum, keeping `labels`.
    #[must_use]
    pub fn sum_by(&self, labels: &[&'static str]) -> Expr {
        self.aggregate("sum", labels)
    }

    /// Mean, keeping `labels`.
    #[must_use]
    pub fn mean_by(&self, labels: &[&'static str]) -> Expr {
        self.aggregate("avg", labels)
    }

    /// Largest, keeping `labels`.
    #[must_use]
    pub fn max_by(&self, labels: &[&'static str]) -> Expr {
        self.aggregate("max", labels)
    }

    /// Number of series, keeping `labels`.
    #[must_use]
    pub fn count_by(&self, labels: &[&'static str]) -> Expr {
        self.check(labels);
        Expr::atom(format!("count{} ({})", by(labels), self.text()), labels, Quantity::Number)
    }

    /// Sum of the squares, keeping `labels`.
    #[must_use]
    pub fn sum_of_squares_by(&self, labels: &[&'static str]) -> Expr {
        self.check(labels);
        Expr::atom(format!("sum{} ({}^2)", by(labels), self.text()), labels, self.quantity)
    }

    fn quantile(&self, q: f64, labels: &[&'static str]) -> Expr {
        let per_bucket = self.sum_by(&[labels, &["le"]].concat());
        // Without an observation it is no number, which charts and tables would show as one; nothing is better.
        Expr::atom(format!("histogram_quantile({q}, {per_bucket})"), labels, quantity(self.metric)).at_least(0.0)
    }

    fn aggregate(&self, operator: &str, labels: &[&'static str]) -> Expr {
        self.check(labels);
        Expr::atom(format!("{operator}{} ({})", by(labels), self.text()), labels, self.quantity)
    }

    /// The selector, under its function; on a dashboard only of what a daemon of ours exposes.
    fn text(&self) -> String {
        let selected = format!("{}{}{}", self.metric.name, self.suffix, self.selector());
        let text = match self.function {
            Some(function) => format!("{function}({selected}[{}])", self.window),
            None => selected,
        };
        if !self.is_scoped || self.metric.name.starts_with(PREFIX) {
            return text;
        }
        // Every job has such metrics, and the reader may have chosen all jobs.
        let [job, instance] = SCOPE;
        let ours = format!("last_over_time({}{{{job}, {instance}}}[{KNOWN_FOR}])", catalog::BUILD_INFO.name);
        format!("{text} and on ({}) {ours}", SCRAPE_LABELS.join(", "))
    }

    fn selector(&self) -> String {
        let mut matchers: Vec<&str> = if self.is_scoped { SCOPE.to_vec() } else { Vec::new() };
        let by_workload = self.metric.labels.iter().any(|label| label.bound == Bound::Workloads);
        if self.is_scoped && by_workload {
            matchers.push(r#"workload=~"$workload""#);
        }
        matchers.extend(self.filters.iter().map(String::as_str));
        if matchers.is_empty() { String::new() } else { format!("{{{}}}", matchers.join(", ")) }
    }

    fn check(&self, labels: &[&str]) {
        for label in labels {
            let of_metric = self.metric.labels.iter().any(|known| known.name == *label);
            let of_bucket = self.suffix == "_bucket" && *label == "le";
            assert!(of_metric || of_bucket || SCRAPE_LABELS.contains(label), "{} has no label {label}", self.metric.name);
        }
    }
}

fn by(labels: &[&str]) -> String {
    if labels.is_empty() { String::new() } else { format!(" by ({})", labels.join(", ")) }
}
