//! A model that does not change with every window.

use crate::diagnose::ModelName;

/// Windows in a row in which a model must have been shown before it is told instead of another. A program on the border between two shows
/// now this one and now that.
const HOLDS: u32 = 3;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Steady {
    told: Option<ModelName>,
    /// What is told has been shown in two windows in a row. Until then it gives way at once: a program may begin with another phase.
    has_held: bool,
    /// What was shown last, and in how many windows in a row.
    shown: Option<(ModelName, u32)>,
}

impl Steady {
    /// Takes in what one more window shows.
    pub(super) fn show(&mut self, model: ModelName) {
        let windows = match self.shown {
            // The very first window has the program's start in it, and tells nothing.
            None => 0,
            Some((last, windows)) if last == model => windows + 1,
            Some(_) => 1,
        };
        let is_open = !self.has_held && self.shown.is_some();
        if windows >= HOLDS || is_open {
            self.told = Some(model);
            self.has_held = windows > 1;
        }
        self.shown = Some((model, windows));
    }

    /// Takes in a window in which there was nothing.
    pub(super) fn rest(&mut self) {
        if self.told.is_some() {
            // An end is no other phase.
            self.has_held = true;
            self.show(ModelName::Idle);
        } else {
            self.shown = None;
        }
    }

    /// Idle before anything can be told.
    pub(super) fn told(self) -> ModelName {
        self.told.unwrap_or(ModelName::Idle)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: ModelName = ModelName::Serial;
    const B: ModelName = ModelName::Processes;

    fn told(shown: &[ModelName]) -> Vec<ModelName> {
        let mut steady = Steady::default();
        let tell = |model: &ModelName| {
            steady.show(*model);
            steady.told()
        };
        shown.iter().map(tell).collect()
    }

    #[test]
    fn a_model_is_told_once_it_has_held_for_three_windows() {
        assert_eq!(told(&[A, A, A, B, B, B, A, A, B, A, A, A]), [ModelName::Idle, A, A, A, A, B, B, B, B, B, B, A]);
    }

    #[test]
    fn a_model_that_has_not_held_gives_way_at_once() {
        assert_eq!(told(&[A, B, A, A, B, B, A]), [ModelName::Idle, B, A, A, A, A, A]);
    }

    #[test]
    fn the_first_model_is_that_of_the_first_whole_window() {
        assert_eq!(told(&[A, B, B, B]), [ModelName::Idle, B, B, B]);
        assert_eq!(told(&[A, A, B, B]), [ModelName::Idle, A, B, B], "a start that goes on into it has not held");
    }

    #[test]
    fn a_program_that_ends_is_idle_after_three_windows_and_one_that_was_never_told_all_the_time() {
        let mut steady = Steady::default();
        steady.show(A);
        steady.rest();
        steady.show(B);
        assert_eq!(steady.told(), ModelName::Idle, "only a part of a window of each");
        steady.show(B);
        for expected in [B, B, ModelName::Idle] {
            steady.rest();
            assert_eq!(steady.told(), expected);
        }
    }

    proptest! {
        /// Whatever is shown: until a model has been shown twice in a row, it is told as it comes; from then on what is told has just held
        /// for as long as it must whenever it changes.
        #[test]
        fn what_is_told_changes_only_to_what_has_held(shown in prop::collection::vec(0_usize..3, 2..60)) {
            let shown: Vec<ModelName> = shown.into_iter().map(|index| [A, B, ModelName::Asyncio][index]).collect();
            let told = told(&shown);
            let first_held = (2..shown.len()).find(|at| shown[*at] == shown[at - 1]).unwrap_or(shown.len());
            for at in 1..shown.len() {
                if at <= first_held {
                    prop_assert_eq!(told[at], shown[at]);
                    continue;
                }
                let held = shown[at.saturating_sub(HOLDS as usize - 1)..=at].iter().all(|model| *model == shown[at]);
                prop_assert_eq!(told[at], if held && at + 1 >= HOLDS as usize { shown[at] } else { told[at - 1] }, "{}", at);
            }
        }
    }
}
