//! The dashboards.

mod cores_and_workloads;

use crate::dashboard::Dashboard;

/// Every dashboard.
pub fn all() -> Vec<Dashboard> {
    vec![cores_and_workloads::dashboard()]
}
