//! When a helper is asked, killed, given up and replaced. Pure: told what happened and when.

use crate::capture::snapshot::Tgid;
use crate::values::values;

/// Time for one process, which takes 50 ms of CPU time at most. A host whose CPUs are all busy, or a cold disk, makes it longer.
pub(super) const DEADLINE_NS: u64 = 2_000_000_000;
/// Time in which a killed helper ends, unless it sleeps uninterruptibly.
pub(super) const GRACE_NS: u64 = 1_000_000_000;
/// Killed helpers that do not end. With more of them, nothing is read until one ends: each holds its memory.
pub(super) const LEFT_BEHIND_MAX: usize = 4;
/// Pause before a helper is replaced; doubled by each further one within [`CALM_NS`].
const PAUSE_MIN_NS: u64 = 100_000_000;
const PAUSE_MAX_NS: u64 = 10_000_000_000;
/// After this time without a failure the pauses begin anew.
const CALM_NS: u64 = 60_000_000_000;

values! {
    /// Why a helper was replaced.
    pub enum Restart {
        /// It did not answer in time, and was killed.
        Deadline = "deadline",
        /// It exceeded its CPU time.
        CpuTime = "cpu_time",
        /// It made a system call that the filter forbids.
        ForbiddenCall = "forbidden_call",
        /// What it sent was no answer to what it was asked, and it was killed.
        BadAnswer = "bad_answer",
        /// It ended: for lack of memory, by a fault, or killed by somebody else.
        Ended = "ended",
        /// It could not be started.
        NotStarted = "not_started",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is none, and there must be none before this time.
    Absent {
        until_ns: u64,
    },
    Idle,
    Asked {
        process: Tgid,
        since_ns: u64,
    },
    /// It was sent the signal to end.
    Killed {
        since_ns: u64,
    },
}

/// The current helper, and those that were left behind.
#[derive(Debug)]
pub(super) struct Policy {
    state: State,
    /// Failures since the last calm time, and when the last one was.
    failures: u32,
    failed_ns: u64,
    left_behind: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { state: State::Absent { until_ns: 0 }, failures: 0, failed_ns: 0, left_behind: 0 }
    }
}

impl Policy {
    pub(super) fn left_behind(&self) -> usize {
        self.left_behind
    }

    /// Whether a helper has to be started before anything can be asked, and may be.
    pub(super) fn may_start(&self, now_ns: u64) -> bool {
        matches!(self.state, State::Absent { until_ns } if until_ns <= now_ns) && self.left_behind < LEFT_BEHIND_MAX
    }

    pub(super) fn started(&mut self) {
        self.state = State::Idle;
    }

    pub(super) fn not_started(&mut self, now_ns: u64) {
        self.pause(now_ns);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    pub(super) fn asked(&mut self, process: Tgid, now_ns: u64) {
        debug_assert!(self.is_idle());
        self.state = State::Asked { process, since_ns: now_ns };
    }

    /// An answer about a process came. Whether that is what was asked.
    pub(super) fn answered(&mut self, about: Tgid) -> bool {
        let is_right = matches!(self.state, State::Asked { process, .. } if process == about);
        if is_right {
            self.state = State::Idle;
        }
        is_right
    }

    /// Whether it has not answered in time.
    pub(super) fn is_overdue(&self, now_ns: u64) -> bool {
        matches!(self.state, State::Asked { since_ns, .. } if now_ns.saturating_sub(since_ns) > DEADLINE_NS)
    }

    /// It was killed, or found to have gone. Returns the process that it was looking at.
    pub(super) fn killed(&mut self, now_ns: u64) -> Option<Tgid> {
        let at = match self.state {
            State::Asked { process, .. } => Some(process),
            _ => None,
        };
        self.state = State::Killed { since_ns: now_ns };
        at
    }

    #[cfg(test)]
    fn is_ending(&self) -> bool {
        matches!(self.state, State::Killed { .. })
    }

    /// The one that was killed has ended.
    pub(super) fn ended(&mut self, now_ns: u64) {
        self.pause(now_ns);
    }

    /// Whether the one that was killed has not ended in time.
    pub(super) fn is_stuck(&self, now_ns: u64) -> bool {
        matches!(self.state, State::Killed { since_ns } if now_ns.saturating_sub(since_ns) > GRACE_NS)
    }

    /// It is left behind: there may be another.
    pub(super) fn leave_behind(&mut self, now_ns: u64) {
        self.left_behind += 1;
        self.pause(now_ns);
    }

    /// One that was left behind has ended.
    pub(super) fn left_ended(&mut self) {
        self.left_behind -= 1;
    }

    fn pause(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.failed_ns) > CALM_NS {
            self.failures = 0;
        }
        let pause_ns = PAUSE_MAX_NS.min(PAUSE_MIN_NS << self.failures.min(16));
        self.failures += 1;
        self.failed_ns = now_ns;
        self.state = State::Absent { until_ns: now_ns + pause_ns };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the world does in a step, and how much time passes before.
    #[derive(Clone, Copy, Debug)]
    enum World {
        /// Nothing is heard.
        Silence,
        Answers,
        AnswersAboutAnother,
        /// The helper ends by itself.
        Dies,
        /// A killed one ends.
        Ends,
        /// One that was left behind ends.
        LeftEnds,
        CannotStart,
    }

    fn worlds() -> impl Strategy<Value = (World, u64)> {
        use World::{Answers, AnswersAboutAnother, CannotStart, Dies, Ends, LeftEnds, Silence};
        let kinds = [Silence, Silence, Silence, Answers, AnswersAboutAnother, Dies, Ends, LeftEnds, CannotStart];
        (prop::sample::select(kinds.to_vec()), prop_oneof![Just(0), 0..DEADLINE_NS * 2, Just(CALM_NS * 2)])
    }

    proptest! {
        /// Driven as the client does it, whatever happens: no more helpers than are allowed, one question at a time and one outcome for
        /// each, and never a helper before its time.
        #[test]
        fn helpers_are_bounded_and_every_question_has_one_outcome(steps in prop::collection::vec(worlds(), 0..400)) {
            let mut policy = Policy::default();
            let (mut now_ns, mut next) = (0, 0);
            let (mut alive, mut left) = (false, 0_usize);
            let mut pending: Option<Tgid> = None;
            let mut last_failure_ns: Option<u64> = None;
            for (world, passed_ns) in steps {
                now_ns += passed_ns;
                if matches!(world, World::LeftEnds) && left > 0 {
                    left -= 1;
                    policy.left_ended();
                }
                let mut is_to_be_killed = policy.is_overdue(now_ns);
                match world {
                    World::Answers if pending.is_some() => {
                        prop_assert!(policy.answered(pending.take().unwrap()));
                        is_to_be_killed = false;
                    }
                    World::AnswersAboutAnother if alive && !policy.is_ending() => {
                        prop_assert!(!policy.answered(Tgid(u32::MAX)));
                        is_to_be_killed = true;
                    }
                    World::Dies if alive && !policy.is_ending() => is_to_be_killed = true,
                    _ => {}
                }
                if is_to_be_killed {
                    prop_assert_eq!(policy.killed(now_ns), pending.take());
                }
                if policy.is_ending() {
                    prop_assert!(alive);
                    if matches!(world, World::Ends | World::Dies) {
                        (alive, last_failure_ns) = (false, Some(now_ns));
                        policy.ended(now_ns);
                    } else if policy.is_stuck(now_ns) {
                        (alive, left, last_failure_ns) = (false, left + 1, Some(now_ns));
                        policy.leave_behind(now_ns);
                    }
                }
                if policy.may_start(now_ns) {
                    prop_assert!(!alive && left < LEFT_BEHIND_MAX);
                    prop_assert!(last_failure_ns.is_none_or(|failed_ns| now_ns - failed_ns >= PAUSE_MIN_NS));
                    if matches!(world, World::CannotStart) {
                        last_failure_ns = Some(now_ns);
                        policy.not_started(now_ns);
                    } else {
                        alive = true;
                        policy.started();
                    }
                }
                if policy.is_idle() {
                    prop_assert!(alive && pending.is_none());
                    next += 1;
                    pending = Some(Tgid(next));
                    policy.asked(Tgid(next), now_ns);
                }
                prop_assert_eq!(policy.left_behind(), left);
                prop_assert!(left <= LEFT_BEHIND_MAX);
            }
            // As long as there is room, a quiet time is always enough to be able to ask again.
            now_ns += PAUSE_MAX_NS;
            prop_assert!(alive || left == LEFT_BEHIND_MAX || policy.may_start(now_ns));
        }
    }

    #[test]
    fn pauses_grow_to_a_limit_and_begin_anew_after_a_calm_time() {
        let mut policy = Policy::default();
        let mut pauses = Vec::new();
        let mut now_ns = CALM_NS;
        for _ in 0..9 {
            policy.not_started(now_ns);
            let begin_ns = now_ns;
            while !policy.may_start(now_ns) {
                now_ns += PAUSE_MIN_NS;
            }
            pauses.push((now_ns - begin_ns) / PAUSE_MIN_NS);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
        now_ns += CALM_NS + 1;
        policy.not_started(now_ns);
        assert!(policy.may_start(now_ns + PAUSE_MIN_NS));
    }
}
