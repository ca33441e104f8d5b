//! The dashboards, in the order in which a reader needs them.

mod core_map;
mod fleet;
mod health;
mod latency;
pub(crate) mod measures;
mod models;

use crate::dashboard::Dashboard;
use crate::variables::annotations;

/// Every dashboard.
pub fn all() -> Vec<Dashboard> {
    vec![core_map::dashboard(), models::dashboard(), latency::dashboard(), fleet::dashboard(), health::dashboard()]
}

/// Every expression of an annotation or a panel, with its place.
pub fn expressions() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = annotations().map(|annotation| (annotation.name.to_owned(), annotation.expr)).into();
    for dashboard in self::all() {
        for panel in dashboard.panels() {
            let place = format!("{} / {}", dashboard.title, panel.title);
            all.extend(panel.queries.iter().map(|query| (place.clone(), query.expr.clone())));
        }
    }
    all
}
