//! The terminal: keys and figures come, and each time the view is drawn. However this ends, the terminal is as it was.

use std::io::{self, Stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use crossterm::event::{self, KeyEvent, KeyEventKind};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::controls::{Controls, Then};
use super::draw::draw;
use super::history::History;
use super::source::Source;
use super::view::{State, View};
use super::wire::Answer;
use crate::report::Options;
use crate::serve::history::Position;

/// The daemon takes a sample a second.
const INTERVAL: Duration = Duration::from_secs(1);

/// Seconds without a new reading that are worth a word.
const STALE: u32 = 4;

enum Event {
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    Told(Box<Answer>),
    /// Nobody answers, and why.
    Gone(anyhow::Error),
    /// It has to end: by a signal, or because one of the threads that bring events has ended.
    End(Result<()>),
}

/// Shows what `source` tells until the user has seen enough, or until a signal ends it.
pub(super) fn show(source: Box<dyn Source>) -> Result<()> {
    let (sender, events) = channel();
    let name = source.name();
    // Before the terminal is changed: a signal from here on has it changed back.
    watch_signals(sender.clone())?;
    let mut screen = Screen::open()?;
    follow(source, sender.clone())?;
    read_keys(sender)?;
    run(&mut screen, &events, &name)
}

fn run(screen: &mut Screen, events: &Receiver<Event>, origin: &str) -> Result<()> {
    let colour = Options::detect(&io::stdout()).colour;
    let (mut history, mut controls, mut state) = (History::default(), Controls::default(), State::default());
    let mut paused: Option<History> = None;
    // Answers with the same reading, one a second.
    let mut same = 0;
    loop {
        let view = View::of(paused.as_ref().unwrap_or(&history), &controls, origin, state.clone(), colour);
        screen.terminal.draw(|frame| draw(frame, &view)).context("cannot draw on the terminal")?;
        let (order, chosen) = (view.order(), view.chosen);
        match events.recv().context("nothing is left to wait for")? {
            Event::Key(key) => {
                if controls.press(key, &order, chosen) == Then::Quit {
                    return Ok(());
                }
                if controls.is_paused != paused.is_some() {
                    paused = controls.is_paused.then(|| history.clone());
                }
            }
            Event::Resized => {}
            Event::Told(answer) => {
                // A daemon that cannot read its counters answers on.
                same = if answer.taken_ns == history.taken_ns { same + 1 } else { 0 };
                history.take(*answer);
                state = if same < STALE { State::Live } else { State::Stale(same) };
            }
            Event::Gone(error) => state = State::Gone(format!("{error:#}")),
            Event::End(how) => return how,
        }
    }
}

/// Asks once a second. One that does not answer is asked on, if it may come back.
fn follow(source: Box<dyn Source>, sender: Sender<Event>) -> Result<()> {
    spawn("figures", sender, move |sender| {
        let mut position = Position::default();
        loop {
            let event = match source.ask(position) {
                Ok(answer) => {
                    position = Position { epoch: answer.epoch, next: answer.next };
                    Event::Told(Box::new(answer))
                }
                Err(error) if source.may_come_back() => Event::Gone(error),
                Err(error) => return Err(error),
            };
            if sender.send(event).is_err() {
                return Ok(());
            }
            thread::sleep(INTERVAL);
        }
    })
}

fn read_keys(sender: Sender<Event>) -> Result<()> {
    spawn("keys", sender, |sender| {
        loop {
            let event = match event::read().context("cannot read the keys")? {
                event::Event::Key(key) if key.kind != KeyEventKind::Release => Event::Key(key),
                event::Event::Resize(..) => Event::Resized,
                _ => continue,
            };
            if sender.send(event).is_err() {
                return Ok(());
            }
        }
    })
}

fn watch_signals(sender: Sender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).context("cannot handle signals")?;
    spawn("signals", sender, move |_| {
        signals.forever().next();
        Ok(())
    })
}

/// Starts a thread; its end is the end of all.
fn spawn(name: &str, sender: Sender<Event>, body: impl FnOnce(&Sender<Event>) -> Result<()> + Send + 'static) -> Result<()> {
    let ending = Ending(sender);
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        let how = body(&ending.0);
        // Nobody waits for it if all has ended already.
        let _ = ending.0.send(Event::End(how));
    })?;
    Ok(())
}

/// Tells of a thread that has panicked.
struct Ending(Sender<Event>);

impl Drop for Ending {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Event::End(Err(anyhow::anyhow!("a thread has failed"))));
        }
    }
}

/// Whether the terminal is ours now.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// The terminal while it is ours.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    fn open() -> Result<Screen> {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // What it says must not go where nobody sees it.
            restore();
            hook(panic);
        }));
        IS_OPEN.store(true, Ordering::SeqCst);
        let opened = enable_raw_mode().and_then(|()| execute!(io::stdout(), EnterAlternateScreen, cursor::Hide));
        let opened = opened.and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match opened {
            Ok(terminal) => Ok(Screen { terminal }),
            Err(error) => {
                restore();
                Err(error).context("cannot use the terminal; --once prints a table")
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, once. It may be gone.
fn restore() {
    if IS_OPEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}
