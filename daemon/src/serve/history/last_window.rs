//! What a workload's last window says.

use std::collections::BTreeMap;

use serde::Serialize;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LastWindow {
    pub(crate) wall_ns: u64,
    /// What keeps it from using more of the CPUs, by the name that it has in the report of a run.
    pub(crate) limit: String,
    pub(crate) sentence: String,
    /// Empty if there is none.
    pub(crate) advice: String,
    /// CPU time that there was for it: what it used and what it lost.
    pub(crate) given_ns: u64,
    pub(crate) used_ns: u64,
    /// By cause; causes without any are left out.
    pub(crate) lost_ns: BTreeMap<&'static str, u64>,
    /// The wake-up latency that 99 of 100 wake-ups stayed below; left out if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wakeup_p99_ns: Option<u64>,
}
