//! The dashboards, in the order in which a reader needs them.

mod core_map;
mod fleet;
mod health;
mod latency;
pub(crate) mod measures;
mod models;

use crate::dashboard::Dashboard;

/// Every dashboard.
pub fn all() -> Vec<Dashboard> {
    vec![core_map::dashboard(), models::dashboard(), latency::dashboard(), fleet::dashboard(), health::dashboard()]
}
