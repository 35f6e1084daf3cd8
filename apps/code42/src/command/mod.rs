//! The command line: the host by default, and the benchmark.

mod bench;

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use everstep_host::StartArgs;

/// The folder of the spool in the hub's folder.
const SPOOL: &str = "code42";

/// Takes object notices from a queue at AWS and sends the objects' records to Azure Monitor.
#[derive(Debug, Parser)]
#[command(name = "code42", version, args_conflicts_with_subcommands = true)]
struct Command {
    #[command(flatten)]
    start: StartArgs,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure a run with stand-ins of AWS and Azure on loopback
    Bench(bench::Args),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let command = Command::parse();
    match command.what {
        None => serve(&command.start),
        Some(What::Bench(args)) => match bench::run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        },
    }
}

fn serve(args: &StartArgs) -> ExitCode {
    match everstep_host::hub_folder(&args.into()) {
        Ok(hub) => everstep_host::run(args, |services| crate::app(services, hub.join(SPOOL))),
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
