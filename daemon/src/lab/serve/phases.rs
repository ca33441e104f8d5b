//! What the lab runs now, for Prometheus: one series while a cell runs, none between two cells.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};

use super::background::Background;

/// Name of the series, which the dashboards mark.
pub const METRIC: &str = "schedscope_lab_phase_info";
/// Its labels.
pub const LABELS: [&str; 2] = ["workload", "phase"];
const HELP: &str = "What the lab runs now; absent between two cells.";

/// A phase: what is run, and the part of the lab that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The workload's name.
    pub workload: String,
    /// Section and task.
    pub phase: String,
}

/// A server on the loopback address that says which phase it is.
pub struct Phases {
    now: IntGaugeVec,
    server: Background,
}

impl Phases {
    /// Starts it on any free port.
    pub fn serve() -> Result<Phases> {
        let now = IntGaugeVec::new(Opts::new(METRIC, HELP), &LABELS)?;
        let registry = Registry::new();
        registry.register(Box::new(now.clone()))?;
        let metrics = async move || TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default();
        let router = Router::new().route("/metrics", get(metrics));
        Ok(Phases { now, server: Background::serve(SocketAddr::from(([127, 0, 0, 1], 0)), router)? })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// From now on it is this phase, or none.
    pub fn set(&self, phase: Option<Phase>) {
        self.now.reset();
        if let Some(Phase { workload, phase }) = phase {
            self.now.with_label_values(&[workload, phase]).set(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Http;

    #[test]
    fn a_phase_is_served_while_it_lasts() {
        let phases = Phases::serve().unwrap();
        let served = || Http::new(phases.address()).text("/metrics").unwrap();
        assert_eq!(served(), "");
        let phase = Phase { workload: "native \"hash\"".to_owned(), phase: "CPU-bound: hash".to_owned() };
        phases.set(Some(phase));
        let expected = r#"schedscope_lab_phase_info{phase="CPU-bound: hash",workload="native \"hash\""} 1"#;
        assert_eq!(served().lines().last(), Some(expected));
        phases.set(None);
        assert_eq!(served(), "");
    }
}
