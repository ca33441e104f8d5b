//! `schedscope top`: its table as text, and what becomes of the terminal.

use std::io::Write;
use std::process::{ChildStdin, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use schedscope::lab::daemon::free_address;
use tempfile::TempDir;

use super::host::{self, Guarded, assert_gone, comes_true, installed, privileged, shell_called, wait_for_programs};
use super::policies::policy;
use super::served::{Daemon, rule};

/// What switches to a screen of one's own and back.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

fn once(arguments: &[&str]) -> Output {
    Command::new(host::schedscope()).args(["top", "--once"]).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Cells of the row of this workload, by the titles of their columns, none of which has a blank in it where they are words of their own.
fn row<'a>(table: &'a str, workload: &str) -> Option<Vec<&'a str>> {
    let cells = |line: &'a str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>();
    table.lines().map(cells).find(|cells| cells.first() == Some(&workload))
}

#[test]
fn the_table_of_a_daemon_has_what_spins_with_one_core() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let shell = shell_called("spinner-of-top", dir.path());
    // What else runs on this host gives way to it, but for the twentieth that the kernel keeps for others.
    let Some(words) = policy("chrt --fifo 1") else { return };
    let command = [&words[1..], &[shell.to_str().unwrap(), "-c", "while :; do :; done"]].concat();
    let _spinner = Guarded::start(words[0], &command);
    let daemon = Daemon::start(&rule("spins", "spinner-of-top"));
    let url = format!("http://{}", daemon.address);
    let mut text = String::new();
    let is_shown = comes_true(30, || {
        let output = once(&["--connect", &url]);
        assert!(output.status.success(), "{output:?}");
        text = String::from_utf8(output.stdout).unwrap();
        let titles = row(&text, "workload").unwrap();
        let place = |title: &str| titles.iter().position(|found| *found == title).unwrap();
        let Some(cells) = row(&text, "spins") else { return false };
        let figure = |title: &str| cells[place(title)].parse::<f64>().unwrap();
        cells[place("named by")] == "rule"
            && cells[place("model")] == "serial"
            && cells[place("threads")] == "1"
            && (0.9..=1.05).contains(&figure("C"))
            && (0.95..=1.05).contains(&figure("D"))
    });
    assert!(is_shown, "{text}");
    assert!(text.lines().next().unwrap().ends_with(&format!("daemon at {}", daemon.address)), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn a_daemon_that_is_not_there_is_said() {
    let address = free_address().unwrap().to_string();
    let output = once(&["--connect", &address]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("schedscope: cannot ask") && text.contains(&address), "{text}");
}

/// Runs `top` on a terminal of its own until `end` has it end, which is given the keyboard and the process; returns what it wrote, with the
/// terminal's settings before and after.
fn on_a_terminal(end: impl FnOnce(&mut ChildStdin, u32)) -> Option<(String, [String; 2])> {
    installed(&["script"], "bsdutils")?;
    let dir = TempDir::new().unwrap();
    let [before, after, id] = ["before", "after", "id"].map(|name| dir.path().join(name).display().to_string());
    let program = host::schedscope().display().to_string();
    // Nobody listens where its configuration says, so that it traces by itself.
    let config = dir.path().join("top.toml");
    std::fs::write(&config, format!("listen = \"{}\"\n", free_address().unwrap())).unwrap();
    let top = format!("{program} top --config {}", config.display());
    let shell =
        format!("stty rows 24 cols 80; stty -g > {before}; sh -c 'echo $$ > {id}; exec {top}'; echo code=$?; stty -g > {after}");
    let mut command = Command::new("script");
    command.args(["--quiet", "--command", &shell, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = Guarded(command.env("TERM", "xterm-256color").env_remove("NO_COLOR").spawn().unwrap());
    let mut stdout = terminal.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut stdout, &mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let process = || std::fs::read_to_string(&id).ok()?.trim().parse().ok();
    assert!(comes_true(10, || process().is_some()));
    // Kept until the end: that of its input would hang the terminal up.
    let mut keyboard = terminal.stdin.take().unwrap();
    end(&mut keyboard, process().unwrap());
    assert!(comes_true(20, || matches!(terminal.try_wait(), Ok(Some(_)))), "it does not end");
    Some((reader.join().unwrap(), [before, after].map(|file| std::fs::read_to_string(file).unwrap())))
}

fn assert_restored(text: &str, [before, after]: &[String; 2]) {
    assert!(text.contains("code=0"), "{text:?}");
    assert_eq!(before, after, "the settings of the terminal");
    assert_eq!((text.matches(ENTER).count(), text.matches(LEAVE).count()), (1, 1), "{text:?}");
    assert!(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is hidden: {text:?}");
}

#[test]
fn the_terminal_is_as_it_was_after_q() {
    let Some(()) = privileged() else { return };
    let mut programs = None;
    let shown = on_a_terminal(|keyboard, id| {
        programs = Some(wait_for_programs(id));
        sleep(Duration::from_secs(4));
        keyboard.write_all(b"js/x\r?xpp").unwrap();
        sleep(Duration::from_millis(500));
        keyboard.write_all(b"q").unwrap();
    });
    let Some((text, settings)) = shown else { return };
    assert!(text.contains("CPUs in use") && text.contains("Core map"), "{text:?}");
    assert_restored(&text, &settings);
    assert_gone(&programs.unwrap());
}

#[test]
fn the_terminal_is_as_it_was_after_a_signal() {
    let Some(()) = privileged() else { return };
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        let shown = on_a_terminal(|_, id| {
            wait_for_programs(id);
            sleep(Duration::from_secs(2));
            host::send(id, signal);
        });
        let Some((text, settings)) = shown else { return };
        assert_restored(&text, &settings);
    }
}
