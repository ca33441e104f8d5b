//! `schedscope config`: what the daemon would make of its files, without starting it.

use std::path::PathBuf;

use crate::config::Config;
use crate::serve::web::WebConfig;

/// What to do with configuration files.
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Read the daemon's files as it would, and say what is wrong with them
    ///
    /// The exit code is 1 if the daemon would refuse one. Example: schedscope config check /etc/schedscope.toml
    Check(CheckFilesArgs),
}

/// Arguments of `schedscope config check`.
#[derive(Debug, clap::Args)]
pub struct CheckFilesArgs {
    /// What the daemon gets as --config
    #[arg(required_unless_present = "web_config")]
    config: Option<PathBuf>,
    /// What it gets as --web-config
    #[arg(long, value_name = "FILE")]
    web_config: Option<PathBuf>,
}

/// Reads the files.
///
/// # Errors
///
/// If one cannot be read or is not what the daemon takes: with the file, and the line where there is one.
pub fn run(command: &ConfigCommand) -> anyhow::Result<i32> {
    let ConfigCommand::Check(args) = command;
    if let Some(file) = &args.config {
        let config = Config::read(file)?;
        let rules = config.rules.names().len();
        let named = match rules {
            0 => "no names by rules".to_owned(),
            1 => "1 name by a rule".to_owned(),
            _ => format!("{rules} names by rules"),
        };
        println!("{} is in order: it listens on {}, {named} of {}.", file.display(), config.listen, config.max_workloads);
    }
    if let Some(file) = &args.web_config {
        let web = WebConfig::read(file)?;
        let guard = if web.is_guarded() { "clients prove who they are" } else { "anybody may ask" };
        println!("{} is in order: {}, and {guard}.", file.display(), web.scheme());
    }
    Ok(0)
}
