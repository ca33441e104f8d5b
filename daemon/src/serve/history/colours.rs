//! Which workload has which colour. The daemon decides, so all pages show the same colours, also after a reload.

/// Samples on the page: five minutes of seconds.
pub(super) const SAMPLES: usize = 300;
/// Colours of the palette that stand for workloads.
pub(super) const COLOURS: usize = 12;
/// Percent of a CPU in one sample that earns a colour while half of them are free, and that keeps it.
const EARNED: u64 = 1;
/// The price while a quarter is free, and after that: early small workloads leave colours for those that are busy later. Somebody
/// wants to see the workloads that the configuration names, so they never pay more.
const EARNED_LATER: [u64; 2] = [5, 20];

/// What a workload did in a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    pub(crate) id: u64,
    pub(crate) is_named: bool,
    pub(crate) on_cpu_ns: u64,
}

/// The workload that has a colour.
#[derive(Clone, Copy, Debug)]
struct Owner {
    id: u64,
    /// The last sample in which it had earned it.
    last: u64,
}

/// Owners by colour. A colour once given is kept while its owner is anywhere on the page.
#[derive(Debug, Default)]
pub(super) struct Colours([Option<Owner>; COLOURS]);

impl Colours {
    /// Gives colours to those that used enough in sample `number`. Workload 0 is `other` and has none.
    pub(super) fn update(&mut self, number: u64, wall_ns: u64, uses: impl Iterator<Item = Use>) {
        for Use { id, is_named, on_cpu_ns } in uses {
            let own = self.of(id);
            let needed = if own.is_some() || is_named { EARNED } else { self.price(number) };
            if id == 0 || on_cpu_ns * 100 < wall_ns * needed {
                continue;
            }
            if let Some(colour) = own.or_else(|| self.free(number)) {
                self.0[colour] = Some(Owner { id, last: number });
            }
        }
    }

    pub(super) fn of(&self, id: u64) -> Option<usize> {
        self.0.iter().position(|owner| owner.is_some_and(|owner| owner.id == id))
    }

    /// One that nobody has, else one whose owner's samples are gone.
    fn free(&self, number: u64) -> Option<usize> {
        let is_gone = |owner: &Option<Owner>| owner.is_some_and(|owner| is_gone(owner, number));
        self.0.iter().position(Option::is_none).or_else(|| self.0.iter().position(is_gone))
    }

    fn price(&self, number: u64) -> u64 {
        let taken = self.0.iter().flatten().filter(|owner| !is_gone(**owner, number)).count();
        match taken * 4 / COLOURS {
            0 | 1 => EARNED,
            2 => EARNED_LATER[0],
            _ => EARNED_LATER[1],
        }
    }
}

/// Its colour is in no sample on the page any more.
fn is_gone(owner: Owner, number: u64) -> bool {
    number - owner.last > SAMPLES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// Each of these has used so many percent of a CPU.
    fn uses(ids: impl Iterator<Item = u64>, is_named: bool, percent: u64) -> impl Iterator<Item = Use> {
        ids.map(move |id| Use { id, is_named, on_cpu_ns: SECOND_NS / 100 * percent })
    }

    #[test]
    fn a_colour_is_earned_kept_and_given_on_when_its_owner_has_left_the_page() {
        let mut colours = Colours::default();
        colours.update(0, SECOND_NS, uses([0, 5].into_iter(), false, 1));
        colours.update(0, SECOND_NS, [Use { id: 3, is_named: true, on_cpu_ns: SECOND_NS / 100 - 1 }].into_iter());
        assert_eq!([colours.of(0), colours.of(3), colours.of(5)], [None, None, Some(0)]);
        colours.update(1, SECOND_NS, uses(20..20 + COLOURS as u64, true, 1));
        assert_eq!([colours.of(5), colours.of(20), colours.of(20 + COLOURS as u64 - 1)], [Some(0), Some(1), None]);
        // The first has been idle since sample 0: its samples are still on the page, and then not.
        colours.update(SAMPLES as u64, SECOND_NS, uses(40..41, false, 100));
        assert_eq!(colours.of(40), None);
        colours.update(SAMPLES as u64 + 1, SECOND_NS, uses(40..41, false, 100));
        assert_eq!([colours.of(5), colours.of(40)], [None, Some(0)]);
    }

    #[test]
    fn the_last_colours_cost_more_unless_the_configuration_names_the_workload() {
        let mut colours = Colours::default();
        for (taken, percent) in [1, 1, 1, 1, 1, 1, 5, 5, 5, 20, 20].into_iter().enumerate() {
            let id = taken as u64 + 1;
            colours.update(0, SECOND_NS, uses(id..=id, false, percent - 1));
            assert_eq!(colours.of(id), None, "{taken} taken");
            colours.update(0, SECOND_NS, uses(id..=id, false, percent));
            assert_eq!(colours.of(id), Some(taken), "{taken} taken");
        }
        colours.update(0, SECOND_NS, uses(50..51, true, 1));
        assert_eq!(colours.of(50), Some(COLOURS - 1));
    }
}
