//! The command line: the host by default, and what people do by hand.

mod ask;
mod bench;
mod once;

use std::{
    fmt,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use everstep_host::StartArgs;

/// The file in the hub's folder.
const FILE: &str = "inventory.db";

/// Scans file shares and folders, keeps a copy to query, sends rows to Azure Monitor.
#[derive(Debug, Parser)]
#[command(name = "inventory", version, args_conflicts_with_subcommands = true)]
struct Command {
    #[command(flatten)]
    start: StartArgs,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Scan folders of this machine, to the end; the same command goes on with a scan that was stopped
    Scan(once::Args),
    /// Ask the local copy, in KQL or SQL
    Query(ask::Query),
    /// Write rows of the local copy to a file
    Export(ask::Export),
    /// Print a page with charts of the latest scan, as HTML
    Report(ask::Report),
    /// Measure scans beside `find` and `md5sum`
    Bench(bench::Args),
}

/// Where the hub is.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Hub {
    /// The folder of the app: where host.json lies, if there is one
    #[arg(long, value_name = "FOLDER")]
    script_root: Option<PathBuf>,
    /// The folder for the hub's data [default: .everstep in the app's folder]
    #[arg(long, value_name = "FOLDER", env = "EVERSTEP_DATA")]
    data: Option<PathBuf>,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let command = Command::parse();
    match command.what {
        None => serve(&command.start),
        Some(What::Scan(args)) => once::run(&args),
        Some(What::Query(args)) => end(ask::query(&args)),
        Some(What::Export(args)) => end(ask::export(&args)),
        Some(What::Report(args)) => end(ask::report(&args)),
        Some(What::Bench(args)) => end(bench::run(&args)),
    }
}

fn end(ended: Result<(), impl fmt::Display>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn serve(args: &StartArgs) -> ExitCode {
    match everstep_host::hub_folder(&args.into()) {
        Ok(folder) => everstep_host::run(args, |services| crate::app(services, folder.join(FILE))),
        Err(error) => complain(&error),
    }
}

fn complain(error: &dyn fmt::Display) -> ExitCode {
    drop(writeln!(io::stderr().lock(), "error: {error}"));
    ExitCode::FAILURE
}

/// Prints a line that is data.
fn print(line: impl fmt::Display) {
    // Whoever reads it may have seen enough.
    drop(writeln!(io::stdout().lock(), "{line}"));
}
