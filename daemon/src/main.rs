//! The `schedscope` program: arguments in, exit code out.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use schedscope::args::{Args, Command};
use schedscope::capture::reader;
use schedscope::capture::spawn::SpawnError;
use schedscope::{commands, lab, top};
use schedscope_workloads::Again;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Our own failure under `run`, told apart from the command's codes as env(1) and timeout(1) do.
const OWN_FAILURE: i32 = 125;

/// Ourselves, even if the file was replaced meanwhile. Only this program knows that it can be started again; a test that is linked with the
/// library does not.
const THIS_PROGRAM: &str = "/proc/self/exe";

fn main() -> ExitCode {
    let args = Args::parse();
    let own_failure = if matches!(args.command, Command::Run(_)) { OWN_FAILURE } else { 1 };
    let result = match args.command {
        Command::Run(args) => block_on(commands::run::run(args)),
        Command::Attach(args) => block_on(commands::attach::attach(args)),
        Command::Daemon(args) => {
            log_to_stderr();
            commands::daemon::run(&args, Path::new(THIS_PROGRAM)).map(|()| 0)
        }
        Command::Top(args) => top::run(args, Path::new(THIS_PROGRAM)).map(|()| 0),
        Command::Config(command) => commands::config::run(&command),
        Command::Check(args) => commands::check::check(&args),
        Command::CheckLoad(args) => commands::check::check_load(&args),
        Command::Lab(arguments) => lab::run(&arguments).map(|()| 0),
        Command::Workload(command) => schedscope_workloads::run(command, Again { prefix: &["workload"] }).map(|()| 0),
        Command::Witness => commands::signals::witness(),
        Command::Reader => reader::serve(),
        Command::Doctor => commands::doctor::doctor(),
    };
    let code = result.unwrap_or_else(|error| {
        eprintln!("schedscope: {error:#}");
        error.downcast_ref::<SpawnError>().map_or(own_failure, SpawnError::exit_code)
    });
    // Codes above 255 do not exist; those of commands fit.
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// One thread: signals, timers and a child to wait for need no more.
fn block_on(future: impl Future<Output = anyhow::Result<i32>>) -> anyhow::Result<i32> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// What the daemon has to say; `RUST_LOG` chooses how much: `debug`, or by module `info,schedscope::label=debug`.
fn log_to_stderr() {
    let chosen = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
    let levels = chosen.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    // Where the log cannot be written, on a full disk for one, saying so cannot be either: it would end the daemon.
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    tracing_subscriber::registry().with(log).with(levels).init();
}
