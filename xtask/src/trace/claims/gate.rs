//! When the machine is fit to tell. An unfit one gives no verdict, never a wrong one.

use super::view::{Seen, View};

/// Name of the cell that measures what the machine can give: native threads, one per CPU.
pub(crate) const CALIBRATION: &str = "native-spin-per-cpu";
/// Part of the CPUs that they must get before anything is said about speed.
const CALIBRATION_MIN: f64 = 0.92;
/// Part of the CPUs that other programs may take while speed is measured.
const FOREIGN_MAX_SPEED: f64 = 0.05;
/// The same where time goes into waiting.
const FOREIGN_MAX_WAITING: f64 = 0.3;
/// The same for demand and waits for locks, which others' load does not change; above it too little of the cell itself is left.
const FOREIGN_MAX_DEMAND: f64 = 0.97;
/// Part of the CPU time that a hypervisor may give to others.
const STEAL_MAX: f64 = 0.01;

/// What a rule rests on, and so what may not disturb it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Whether something happened at all: nothing disturbs that.
    Event,
    /// Demand, and the part of the time spent waiting for a lock.
    Demand,
    /// Time that mostly goes into waiting, or a large quotient of times.
    Waiting,
    /// Speed.
    Speed,
}

impl Gate {
    /// The gate in words. That a claim does not hold is said on a machine fit to measure speed only, where the rule does not say
    /// otherwise.
    pub(super) fn words(self) -> String {
        let percent = |part: f64| format!("{:.0} %", 100.0 * part);
        match self {
            Gate::Event => "Always, to see that it holds.".to_owned(),
            Gate::Demand => format!(
                "No observation is missing. Load of other programs does not matter up to {} of the CPUs.",
                percent(FOREIGN_MAX_DEMAND)
            ),
            Gate::Waiting => format!(
                "No observation is missing; other programs took at most {} of the CPUs, the hypervisor {}.",
                percent(FOREIGN_MAX_WAITING),
                percent(STEAL_MAX)
            ),
            Gate::Speed => format!(
                "There are at least two CPUs; no observation is missing; native threads, one per CPU, got {} of the CPUs; other programs \
                 took at most {} of them, the hypervisor {}.",
                percent(CALIBRATION_MIN),
                percent(FOREIGN_MAX_SPEED),
                percent(STEAL_MAX)
            ),
        }
    }
}

impl View<'_> {
    /// Why nothing may be said about these cells, if so.
    pub(super) fn obstacle(&self, gate: Gate, cells: &[Seen]) -> Option<String> {
        if gate == Gate::Event {
            return None;
        }
        if let Some(cell) = cells.iter().find(|cell| cell.figures.lost > 0.0) {
            return Some(format!("{:.0} observations are missing in {}", cell.figures.lost, cell.row.cell.id));
        }
        let foreign_max = match gate {
            Gate::Speed => FOREIGN_MAX_SPEED,
            Gate::Waiting => FOREIGN_MAX_WAITING,
            Gate::Event | Gate::Demand => FOREIGN_MAX_DEMAND,
        };
        if let Some(why) = too_much(cells, "other programs", foreign_max, |cell| cell.figures.foreign_share) {
            return Some(why);
        }
        if gate == Gate::Demand {
            return None;
        }
        if let Some(why) = too_much(cells, "the hypervisor", STEAL_MAX, |cell| cell.figures.steal_share) {
            return Some(why);
        }
        if gate == Gate::Speed { self.obstacle_to_speed() } else { None }
    }

    /// True if speed may be told of these cells, where a rule can do without.
    pub(super) fn can_tell_speed(&self, cells: &[Seen]) -> bool {
        self.obstacle(Gate::Speed, cells).is_none()
    }

    fn obstacle_to_speed(&self) -> Option<String> {
        if self.cpus < 2 {
            return Some("with one CPU nothing can run in parallel".to_owned());
        }
        let Some(calibration) = self.native(CALIBRATION) else {
            return Some("the calibration cell did not run".to_owned());
        };
        let got = calibration.figures.running_mean;
        (got < CALIBRATION_MIN * self.cpus as f64).then(|| format!("even native threads got only {got:.2} of {} CPUs", self.cpus))
    }
}

/// Who took more than they may in the worst of the cells.
fn too_much(cells: &[Seen], who: &str, most: f64, share: fn(&Seen) -> f64) -> Option<String> {
    let worst = cells.iter().max_by(|a, b| share(a).total_cmp(&share(b)))?;
    (share(worst) > most).then(|| format!("{who} took {:.0} % of the CPUs during {}", 100.0 * share(worst), worst.row.cell.id))
}
