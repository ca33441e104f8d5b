//! Which workload has which colour. The daemon says so, not the page, so that every page shows the same, also after a reload.

use super::SAMPLES;

/// Colours of the palette that mean a workload.
pub(super) const COLOURS: usize = 12;
/// Parts of a CPU that earn a colour in one sample: a hundredth.
const EARNED: u64 = 100;

/// A colour and the workload that has it.
#[derive(Clone, Copy, Debug)]
struct Owner {
    id: usize,
    /// The last sample in which it had earned it.
    last: u64,
}

/// Owners by colour. A colour once given is kept while its owner is anywhere on the page.
#[derive(Debug, Default)]
pub(super) struct Colours([Option<Owner>; COLOURS]);

impl Colours {
    /// Gives colours to those that used enough in sample `number`. Workload 0 is `other` and has none.
    pub(super) fn update(&mut self, number: u64, wall_ns: u64, used: impl Iterator<Item = (usize, u64)>) {
        for (id, on_cpu_ns) in used {
            if id == 0 || on_cpu_ns * EARNED < wall_ns {
                continue;
            }
            let own = self.of(id).or_else(|| self.free(number));
            if let Some(colour) = own {
                self.0[colour] = Some(Owner { id, last: number });
            }
        }
    }

    /// The colour of a workload.
    pub(super) fn of(&self, id: usize) -> Option<usize> {
        self.0.iter().position(|owner| owner.is_some_and(|owner| owner.id == id))
    }

    /// One that nobody has, else one whose owner's samples are gone.
    fn free(&self, number: u64) -> Option<usize> {
        let is_gone = |owner: &Owner| number - owner.last > SAMPLES as u64;
        self.0.iter().position(Option::is_none).or_else(|| self.0.iter().position(|owner| owner.as_ref().is_some_and(is_gone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_colour_is_earned_kept_and_given_on_when_its_owner_has_left_the_page() {
        let mut colours = Colours::default();
        let used = |ids: std::ops::Range<usize>| ids.map(|id| (id, SECOND_NS / EARNED));
        colours.update(0, SECOND_NS, [(0, SECOND_NS), (3, SECOND_NS / EARNED - 1), (5, SECOND_NS / EARNED)].into_iter());
        assert_eq!([colours.of(0), colours.of(3), colours.of(5)], [None, None, Some(0)]);
        colours.update(1, SECOND_NS, used(20..20 + COLOURS));
        assert_eq!([colours.of(5), colours.of(20), colours.of(20 + COLOURS - 1)], [Some(0), Some(1), None]);
        // The first has been idle since sample 0: its samples are still on the page, and then not.
        colours.update(SAMPLES as u64, SECOND_NS, used(40..41));
        assert_eq!(colours.of(40), None);
        colours.update(SAMPLES as u64 + 1, SECOND_NS, used(40..41));
        assert_eq!([colours.of(5), colours.of(40)], [None, Some(0)]);
    }
}
