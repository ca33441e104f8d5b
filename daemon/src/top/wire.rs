//! What a daemon tells, `schedscope.history/1`, as far as it is drawn. It may be another version: what is missing is nothing, what is not
//! known is left out. Texts are harmless once they are here.

use std::collections::BTreeMap;

use serde::de::value::{Error, StrDeserializer};
use serde::de::{Deserialize, Deserializer, IntoDeserializer};

use crate::diagnose::{LostCause, ModelName};
use crate::label::NameSource;
use crate::report::words::clean;
use crate::untrusted::harmless;

/// The format that this reads.
pub(super) const SCHEMA: &str = "schedscope.history/1";

/// Number of a workload, for as long as the daemon runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct WorkloadId(pub(super) u64);

/// What has no name of its own.
pub(super) const OTHER: WorkloadId = WorkloadId(0);

#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub(super) schema: String,
    /// Different for every start of the daemon.
    pub(super) epoch: u64,
    /// Number of the next sample.
    pub(super) next: u64,
    pub(super) taken_ns: u64,
    /// By CPU; the values are of no interest here.
    pub(super) idle_ns: BTreeMap<u32, u64>,
    pub(super) workloads: Vec<Workload>,
    /// Observations that were missed and leave a gap in the figures, by reason.
    pub(super) missing: BTreeMap<String, u64>,
    pub(super) samples: Vec<Sample>,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
pub(super) struct Workload {
    pub(super) id: WorkloadId,
    /// Its colour in the palette.
    pub(super) colour: Option<usize>,
    #[serde(deserialize_with = "name")]
    pub(super) name: String,
    #[serde(deserialize_with = "if_known")]
    pub(super) source: Option<NameSource>,
    #[serde(deserialize_with = "if_known")]
    pub(super) model: Option<ModelName>,
    /// None if it had no threads then.
    pub(super) last_window: Option<LastWindow>,
}

/// The last two seconds that were judged.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
pub(super) struct LastWindow {
    pub(super) wall_ns: u64,
    #[serde(deserialize_with = "text")]
    pub(super) sentence: String,
    #[serde(deserialize_with = "text")]
    pub(super) advice: String,
    pub(super) used_ns: u64,
    #[serde(deserialize_with = "by_cause")]
    pub(super) lost_ns: Vec<(LostCause, u64)>,
    /// None if nothing was woken, or the daemon does not tell.
    pub(super) wakeup_p99_ns: Option<u64>,
}

/// What the totals grew by between two readings, a second apart.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
pub(super) struct Sample {
    pub(super) number: u64,
    pub(super) wall_ns: u64,
    pub(super) idle_ns: BTreeMap<u32, u64>,
    pub(super) workloads: BTreeMap<u64, Figures>,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    pub(super) on_cpu_ns: BTreeMap<u32, u64>,
    pub(super) wakeup_wait_ns: u64,
    pub(super) preempt_wait_ns: u64,
    pub(super) voluntary: u64,
    pub(super) preempted: u64,
    pub(super) yielded: u64,
    pub(super) migrations: u64,
    pub(super) threads: u64,
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(clean(&String::deserialize(deserializer)?))
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(harmless(&String::deserialize(deserializer)?))
}

fn if_known<'de, D: Deserializer<'de>, T: for<'a> Deserialize<'a>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(known(&String::deserialize(deserializer)?))
}

/// The value of this name; `None` if a later version has added it.
fn known<T: for<'a> Deserialize<'a>>(name: &str) -> Option<T> {
    let deserializer: StrDeserializer<'_, Error> = name.into_deserializer();
    T::deserialize(deserializer).ok()
}

fn by_cause<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(LostCause, u64)>, D::Error> {
    let by_name: BTreeMap<String, u64> = BTreeMap::deserialize(deserializer)?;
    Ok(by_name.into_iter().filter_map(|(name, ns)| Some((known(&name)?, ns))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let answer: Answer = serde_json::from_str(
            r#"{"schema": "schedscope.history/1", "news": 1, "idle_ns": {"3": 5}, "workloads": [{"id": 4, "name": "a\u001b[31m\nb",
                "model": "serial", "source": "oracle", "totals": {"threads": 3},
                "last_window": {"lost_ns": {"wait_gil": 7, "wait_magic": 8}, "sentence": "\u202eno"}}]}"#,
        )
        .unwrap();
        let workload = &answer.workloads[0];
        assert_eq!((workload.name.as_str(), workload.id), ("a?[31m?b", WorkloadId(4)));
        assert_eq!((workload.model, workload.source), (Some(ModelName::Serial), None));
        let last = workload.last_window.as_ref().unwrap();
        assert_eq!((last.sentence.as_str(), last.lost_ns.as_slice()), ("?no", [(LostCause::WaitGil, 7)].as_slice()));
        assert_eq!(last.wakeup_p99_ns, None);
    }
}
