//! Queries over rows of the catalog. Each selects by the dashboard's variables, and reads counters only through a rate.

use std::fmt;

use schedscope_ebpf::catalog::{Bound, Kind, Metric};

/// The interval that Grafana fits to the scrape interval and the zoom.
const INTERVAL: &str = "$__rate_interval";

/// A PromQL expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expr(String);

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Per-second rate of a counter.
///
/// # Panics
/// If the metric is no counter; dashboards are made by tests, so that shows at once.
pub fn rate(metric: &'static Metric) -> Series {
    rate_over(metric, INTERVAL)
}

/// The same over a fixed time, for counters that move more rarely than every scrape.
///
/// # Panics
/// If the metric is no counter.
pub fn rate_over(metric: &'static Metric, interval: &str) -> Series {
    assert_eq!(metric.kind, Kind::Counter, "{} is no counter", metric.name);
    Series { metric, expr: format!("rate({}{}[{interval}])", metric.name, selector(metric)) }
}

/// Value of a gauge.
///
/// # Panics
/// If the metric is no gauge.
pub fn value(metric: &'static Metric) -> Series {
    assert_eq!(metric.kind, Kind::Gauge, "{} is no gauge", metric.name);
    Series { metric, expr: format!("{}{}", metric.name, selector(metric)) }
}

/// Quantile `q` of a histogram, by `labels`.
pub fn quantile(q: f64, metric: &'static Metric, labels: &[&str]) -> Expr {
    assert_labels(metric, labels);
    let by = [labels, &["le"]].concat().join(", ");
    Expr(format!("histogram_quantile({q}, sum by ({by}) ({}))", bucket_rate(metric, "rate")))
}

/// Observations per bucket in each step, for a heat map.
pub fn bucket_increase(metric: &'static Metric) -> Expr {
    Expr(format!("sum by (le) ({})", bucket_rate(metric, "increase")))
}

/// Series of one metric before aggregation.
#[derive(Clone, Debug)]
pub struct Series {
    metric: &'static Metric,
    expr: String,
}

impl Series {
    /// Sum, keeping `labels`.
    #[must_use]
    pub fn sum_by(&self, labels: &[&str]) -> Expr {
        self.aggregate("sum", labels)
    }

    /// Mean, keeping `labels`.
    #[must_use]
    pub fn mean_by(&self, labels: &[&str]) -> Expr {
        self.aggregate("avg", labels)
    }

    /// Largest, keeping `labels`.
    #[must_use]
    pub fn max_by(&self, labels: &[&str]) -> Expr {
        self.aggregate("max", labels)
    }

    /// Sum of the squares, keeping `labels`.
    #[must_use]
    pub fn sum_of_squares_by(&self, labels: &[&str]) -> Expr {
        assert_labels(self.metric, labels);
        Expr(format!("sum by ({}) ({}^2)", labels.join(", "), self.expr))
    }

    fn aggregate(&self, operator: &str, labels: &[&str]) -> Expr {
        assert_labels(self.metric, labels);
        if labels.is_empty() {
            Expr(format!("{operator}({})", self.expr))
        } else {
            Expr(format!("{operator} by ({}) ({})", labels.join(", "), self.expr))
        }
    }
}

impl Expr {
    /// Sum of two expressions with the same labels.
    #[must_use]
    pub fn plus(&self, other: &Expr) -> Expr {
        Expr(format!("{self} + {other}"))
    }

    /// Quotient of two expressions with the same labels.
    #[must_use]
    pub fn over(&self, other: &Expr) -> Expr {
        Expr(format!("{} / {}", self.grouped(), other.grouped()))
    }

    /// The square.
    #[must_use]
    pub fn squared(&self) -> Expr {
        Expr(format!("({self})^2"))
    }

    /// What is missing to 1.
    #[must_use]
    pub fn complement(&self) -> Expr {
        Expr(format!("1 - {self}"))
    }

    /// Only what is above `threshold`.
    #[must_use]
    pub fn above(&self, threshold: f64) -> Expr {
        Expr(format!("{self} > {threshold}"))
    }

    /// The largest series of each value of `label`.
    #[must_use]
    pub fn largest_of_each(&self, label: &str) -> Expr {
        Expr(format!("topk by ({label}) (1, {self})"))
    }

    /// The label `cpu` in three digits, so that 10 does not come before 2.
    #[must_use]
    pub fn with_sortable_cpu(&self) -> Expr {
        let one = format!(r#"label_replace({self}, "cpu", "00$1", "cpu", "(\\d)")"#);
        Expr(format!(r#"label_replace({one}, "cpu", "0$1", "cpu", "(\\d\\d)")"#))
    }

    fn grouped(&self) -> String {
        if self.0.contains(" + ") || self.0.contains(" / ") { format!("({self})") } else { self.0.clone() }
    }
}

fn bucket_rate(metric: &'static Metric, function: &str) -> String {
    assert_eq!(metric.kind, Kind::Histogram, "{} is no histogram", metric.name);
    format!("{function}({}_bucket{}[{INTERVAL}])", metric.name, selector(metric))
}

/// Every query is limited to the chosen job and host; those on workloads to the chosen workloads as well.
fn selector(metric: &Metric) -> String {
    let by_workload = metric.labels.iter().any(|label| label.bound == Bound::Workloads);
    let workload = if by_workload { r#", workload=~"$workload""# } else { "" };
    format!(r#"{{job=~"$job", instance=~"$instance"{workload}}}"#)
}

fn assert_labels(metric: &Metric, labels: &[&str]) {
    for label in labels {
        // Prometheus adds these two to whatever it scrapes.
        let from_scrape = ["job", "instance"].contains(label);
        assert!(from_scrape || metric.labels.iter().any(|known| known.name == *label), "{} has no label {label}", metric.name);
    }
}
