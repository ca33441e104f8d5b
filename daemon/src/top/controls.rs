//! What the keys do; pure.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::wire::WorkloadId;

/// What the table is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SortKey {
    /// On-CPU time.
    #[default]
    Running,
    /// On-CPU time and time in run queues.
    Demand,
    /// Wake-up latency.
    Latency,
    Switches,
    Migrations,
    /// Cores lost to the largest cause.
    Lost,
    /// From A to Z.
    Name,
}

impl SortKey {
    /// In the order in which a key goes through them.
    pub(super) const ALL: [SortKey; 7] =
        [SortKey::Running, SortKey::Demand, SortKey::Latency, SortKey::Switches, SortKey::Migrations, SortKey::Lost, SortKey::Name];
}

/// Characters of a filter; nothing is longer than the names that it is for.
const FILTER_MAX: usize = 120;
/// Rows that the keys for pages move.
const PAGE: usize = 10;

/// What the keys are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Table,
    /// The filter is being typed.
    Filter,
    Help,
}

/// What the user has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Controls {
    pub(super) mode: Mode,
    pub(super) sort: SortKey,
    /// The workload that was moved to; `None` for the first.
    pub(super) selected: Option<WorkloadId>,
    /// Only rows with this text.
    pub(super) filter: String,
    pub(super) is_paused: bool,
}

/// What follows from a key beside what the controls say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Quit,
}

impl Controls {
    /// Takes in a key; `order` are the rows as they are shown, and `chosen` is the place of the one that is.
    pub(super) fn press(&mut self, key: KeyEvent, order: &[WorkloadId], chosen: Option<usize>) -> Then {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Then::Quit } else { Then::GoOn };
        }
        match self.mode {
            Mode::Filter => self.edit(key.code),
            // Any key closes it.
            Mode::Help => self.mode = Mode::Table,
            Mode::Table => return self.command(key.code, order, chosen),
        }
        Then::GoOn
    }

    fn edit(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.mode = Mode::Table,
            KeyCode::Esc => {
                self.mode = Mode::Table;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(typed) if !typed.is_control() && self.filter.chars().count() < FILTER_MAX => self.filter.push(typed),
            _ => {}
        }
    }

    fn command(&mut self, code: KeyCode, order: &[WorkloadId], chosen: Option<usize>) -> Then {
        let last = order.len().saturating_sub(1);
        let at = chosen.unwrap_or(0);
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return Then::Quit,
            KeyCode::Up | KeyCode::Char('k') => self.select(order, at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(order, at + 1),
            KeyCode::PageUp => self.select(order, at.saturating_sub(PAGE)),
            KeyCode::PageDown => self.select(order, at + PAGE),
            KeyCode::Home => self.select(order, 0),
            KeyCode::End => self.select(order, last),
            KeyCode::Char('s') => self.sort = SortKey::ALL[(self.sort as usize + 1) % SortKey::ALL.len()],
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            _ => {}
        }
        Then::GoOn
    }

    fn select(&mut self, order: &[WorkloadId], place: usize) {
        self.selected = order.get(place).or(order.last()).copied();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: [WorkloadId; 3] = [WorkloadId(7), WorkloadId(3), WorkloadId(5)];

    fn press(controls: &mut Controls, code: KeyCode) -> Then {
        let chosen = ORDER.iter().position(|id| Some(*id) == controls.selected);
        controls.press(code.into(), &ORDER, chosen.or(Some(0)))
    }

    #[test]
    fn the_selection_moves_and_stays_inside() {
        let mut controls = Controls::default();
        for (code, expected) in [
            (KeyCode::Down, 3),
            (KeyCode::Char('j'), 5),
            (KeyCode::Down, 5),
            (KeyCode::Char('k'), 3),
            (KeyCode::Home, 7),
            (KeyCode::Up, 7),
            (KeyCode::PageDown, 5),
            (KeyCode::PageUp, 7),
            (KeyCode::End, 5),
        ] {
            press(&mut controls, code);
            assert_eq!(controls.selected, Some(WorkloadId(expected)), "{code:?}");
        }
        controls.press(KeyCode::Down.into(), &[], None);
        assert_eq!(controls.selected, None);
    }

    #[test]
    fn keys_quit_only_where_they_are_not_text() {
        let mut controls = Controls::default();
        assert_eq!([press(&mut controls, KeyCode::Char('q')), press(&mut controls, KeyCode::Esc)], [Then::Quit; 2]);
        press(&mut controls, KeyCode::Char('/'));
        for code in "qx!".chars().map(KeyCode::Char).chain([KeyCode::Backspace]) {
            assert_eq!(press(&mut controls, code), Then::GoOn);
        }
        assert_eq!((controls.filter.as_str(), controls.mode), ("qx", Mode::Filter));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(controls.press(interrupt, &ORDER, None), Then::Quit);
        press(&mut controls, KeyCode::Enter);
        assert_eq!((controls.filter.as_str(), controls.mode), ("qx", Mode::Table));
        press(&mut controls, KeyCode::Char('/'));
        assert_eq!(press(&mut controls, KeyCode::Esc), Then::GoOn);
        assert_eq!((controls.filter.as_str(), controls.mode), ("", Mode::Table));
        press(&mut controls, KeyCode::Char('?'));
        assert_eq!((press(&mut controls, KeyCode::Char('q')), controls.mode), (Then::GoOn, Mode::Table));
    }

    #[test]
    fn sorting_goes_through_all_keys_and_around() {
        let mut controls = Controls::default();
        for key in SortKey::ALL {
            assert_eq!(controls.sort, key);
            press(&mut controls, KeyCode::Char('s'));
        }
        assert_eq!(controls.sort, SortKey::Running);
    }
}
