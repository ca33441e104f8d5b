//! Man pages and completions, made from the command line that the program itself parses.

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use schedscope::args::Args;

const NAME: &str = "schedscope";

/// A shell, and where below a prefix it looks for completions.
pub(crate) struct Completion {
    pub path: &'static str,
    shell: Shell,
}

pub(crate) const COMPLETIONS: [Completion; 3] = [
    Completion { path: "share/bash-completion/completions/schedscope", shell: Shell::Bash },
    Completion { path: "share/zsh/site-functions/_schedscope", shell: Shell::Zsh },
    Completion { path: "share/fish/vendor_completions.d/schedscope.fish", shell: Shell::Fish },
];

impl Completion {
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut shown(), NAME, &mut text);
        text
    }
}

/// Man pages of the program and of each of its subcommands and theirs, by file name.
pub(crate) fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut command = shown();
    // Names the pages of subcommands after the program too.
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    pages.push(page(command)?);
    // clap adds `help` to every command that has subcommands.
    let mut subcommands =
        command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set() && subcommand.get_name() != "help");
    subcommands.try_for_each(|subcommand| add_pages(subcommand, pages))
}

fn page(command: &Command) -> Result<(String, Vec<u8>)> {
    let page = Man::new(command.clone()).manual(NAME);
    let mut text = Vec::new();
    page.render(&mut text).with_context(|| format!("cannot write the man page of {}", command.get_name()))?;
    Ok((page.get_filename(), text))
}

/// The program's command line without hidden subcommands, which completions would offer.
fn shown() -> Command {
    let whole = Args::command();
    let mut command = Command::new(NAME).version(env!("CARGO_PKG_VERSION")).subcommand_required(whole.is_subcommand_required_set());
    if let Some(about) = whole.get_about() {
        command = command.about(about.clone());
    }
    if let Some(about) = whole.get_long_about() {
        command = command.long_about(about.clone());
    }
    command.args(whole.get_arguments()).subcommands(whole.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a user can call.
    const SUBCOMMANDS: [&str; 8] = ["run", "attach", "daemon", "top", "config", "check", "lab", "doctor"];

    #[test]
    fn every_subcommand_that_is_not_hidden_has_a_page_with_its_options() {
        let pages = pages().unwrap();
        let mut names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let mut expected: Vec<String> = SUBCOMMANDS.iter().map(|name| format!("schedscope-{name}.1")).collect();
        expected.extend(["schedscope.1".to_owned(), "schedscope-config-check.1".to_owned()]);
        expected.sort_unstable();
        assert_eq!(names, expected);
        let (_, run) = pages.iter().find(|(name, _)| name == "schedscope-run.1").unwrap();
        let run = String::from_utf8_lossy(run);
        for text in [r"\-\-json", "exit code", ".SH OPTIONS"] {
            assert!(run.contains(text), "{text} is not in\n{run}");
        }
    }

    #[test]
    fn completions_offer_what_a_user_can_call_and_nothing_else() {
        let command = shown();
        assert_eq!(command.get_subcommands().map(Command::get_name).collect::<Vec<_>>(), SUBCOMMANDS);
        for completion in &COMPLETIONS {
            let text = String::from_utf8(completion.text()).unwrap();
            for word in SUBCOMMANDS.into_iter().chain(["json", "web-config"]) {
                assert!(text.contains(word), "{}: no {word}", completion.path);
            }
        }
    }
}
