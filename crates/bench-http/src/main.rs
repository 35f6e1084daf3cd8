//! The host under load, beside a bare server in the same run.
//!
//! M1  Server and load generator are processes of their own; the CPU time of each is reported apart.
//! M2  Every durable start that was acknowledged is looked for afterwards and must have completed.
//! M3  A ratio is made of neighbours: the bare server runs before and after each measurement, and the mean counts.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod load;
mod machine;
mod measure;
mod python;
mod servers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The host under load, beside a bare server in the same run.
#[derive(Debug, Parser)]
#[command(name = "everstep-bench-http", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures, prints a table.
    Run(measure::Options),
    /// Measures the host with an app in Python, prints a table.
    Python(python::Options),
    /// The host with the app in a folder.
    #[command(hide = true)]
    Folder(everstep_host::StartArgs),
    /// The load generator.
    #[command(hide = true)]
    Load(load::Load),
    /// A server that answers each request with a constant.
    #[command(hide = true)]
    Bare,
    /// The host with an app of one orchestration.
    #[command(hide = true)]
    App(everstep_host::StartArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::App(args) => return everstep_host::run(&args, servers::app),
        Command::Folder(args) => return everstep_host::start_folder(&args),
        Command::Run(options) => measure::run(&options),
        Command::Python(options) => python::run(&options),
        Command::Load(load) => servers::generate(&load),
        Command::Bare => servers::bare(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
