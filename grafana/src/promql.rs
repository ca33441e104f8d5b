//! PromQL as text: what nearly every query of a dashboard has in common.
//!
//! [`chosen`] adds the reader's choices to a metric, so that no query forgets them; everything around it is plain PromQL. Whether
//! metrics, labels, functions and units fit each other is checked on the finished expressions, by the tests of this crate.

use std::fmt::Display;

use schedscope::metrics::catalog::{self, Bound, Metric};

/// The interval that Grafana fits to the scrape interval and the zoom.
pub const RATE_INTERVAL: &str = "$__rate_interval";
/// The step from one point to the next, which Grafana fits to the zoom.
pub const STEP: &str = "$__interval";
/// The whole time that the reader looks at.
pub const RANGE: &str = "$__range";
/// How long a daemon that stopped answering still counts as one.
const KNOWN_FOR: &str = "1d";

/// The series of a metric that the reader has chosen.
pub(crate) fn chosen(metric: &Metric) -> String {
    select(metric, "", "")
}

/// The same, narrowed by `matchers`.
pub(crate) fn chosen_where(metric: &Metric, matchers: &str) -> String {
    select(metric, "", matchers)
}

/// A metric that every job has, limited to schedscope daemons: the reader may have chosen all jobs.
pub(crate) fn of_daemons(metric: &Metric) -> String {
    format!("{} and on (job, instance) last_over_time({}[{KNOWN_FOR}])", chosen(metric), chosen(&catalog::BUILD_INFO))
}

fn select(metric: &Metric, suffix: &str, matchers: &str) -> String {
    let has_workload = metric.labels.iter().any(|label| label.bound == Bound::Workloads);
    let workload = if has_workload { r#"workload=~"$workload""# } else { "" };
    let all = [r#"job=~"$job""#, r#"instance=~"$instance""#, workload, matchers];
    let all: Vec<&str> = all.into_iter().filter(|matcher| !matcher.is_empty()).collect();
    format!("{}{suffix}{{{}}}", metric.name, all.join(", "))
}

pub(crate) fn rate(counter: &Metric) -> String {
    rate_of(chosen(counter))
}

/// Per-second rate of the counters that a selector selects.
pub(crate) fn rate_of(selector: impl Display) -> String {
    format!("rate({selector}[{RATE_INTERVAL}])")
}

pub(crate) fn increase(counter: &Metric) -> String {
    format!("increase({}[{RATE_INTERVAL}])", chosen(counter))
}

pub(crate) fn observations(histogram: &Metric) -> String {
    rate_of(select(histogram, "_count", ""))
}

/// Observations of a histogram per bucket in each step, for a heat map.
pub(crate) fn bucket_increase(histogram: &Metric) -> String {
    sum("le", format_args!("increase({}[{RATE_INTERVAL}])", select(histogram, "_bucket", "")))
}

/// Quantile `q` of a histogram, by some labels or of all.
pub(crate) fn quantile(q: f64, histogram: &Metric, by: &str) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("{by}, le") };
    let buckets = sum(&by, rate_of(select(histogram, "_bucket", "")));
    // Without observations it is NaN, which charts and tables would show; the comparison drops it.
    format!("histogram_quantile({q}, {buckets}) >= 0")
}

/// Sum by some labels, such as `instance, workload`, or of all.
pub(crate) fn sum(by: &str, series: impl Display) -> String {
    aggregate("sum", by, series)
}

pub(crate) fn mean(by: &str, series: impl Display) -> String {
    aggregate("avg", by, series)
}

pub(crate) fn max(by: &str, series: impl Display) -> String {
    aggregate("max", by, series)
}

pub(crate) fn count(by: &str, series: impl Display) -> String {
    aggregate("count", by, series)
}

fn aggregate(operator: &str, by: &str, series: impl Display) -> String {
    if by.is_empty() { format!("{operator} ({series})") } else { format!("{operator} by ({by}) ({series})") }
}

/// The ten largest series: nobody can tell more lines or bars apart.
pub(crate) fn top_ten(series: impl Display) -> String {
    format!("topk (10, {series})")
}
