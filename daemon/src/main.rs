//! The `schedscope` program: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use schedscope::{
    args::{Args, Command},
    commands,
    spawn::SpawnError,
};

/// Our own failure under `run`, told apart from the command's codes as env(1) and timeout(1) do.
const OWN_FAILURE: i32 = 125;

fn main() -> ExitCode {
    let args = Args::parse();
    let own_failure = if matches!(args.command, Command::Run(_)) { OWN_FAILURE } else { 1 };
    let result = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            match args.command {
                Command::Run(run) => commands::run::run(run).await,
                Command::Attach(attach) => commands::attach::attach(attach).await,
                Command::Doctor => commands::doctor::doctor(),
            }
        })
    });
    let code = result.unwrap_or_else(|error| {
        eprintln!("schedscope: {error:#}");
        error.downcast_ref::<SpawnError>().map_or(own_failure, SpawnError::exit_code)
    });
    // Codes above 255 do not exist; those of commands fit.
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
