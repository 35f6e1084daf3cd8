//! Everstep's benchmarks and kill loop.
//!
//! `run` measures the workloads and, alternating with them, the limits of the machine: a figure without its limit says
//! nothing about the code. `torture` kills a process under load again and again and checks what it had acknowledged.
//! Start reading at [`bench`] and [`workloads`].

mod bench;
mod folder;
mod limits;
mod report;
mod torture;
mod workloads;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Everstep's benchmarks and kill loop.
#[derive(Debug, Parser)]
#[command(name = "everstep-bench", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures the workloads and the machine's limits, prints a table.
    Run {
        /// Sizes that take about a minute in all.
        #[arg(long)]
        quick: bool,
        /// How often each workload runs; five times if not given, once with `--quick`.
        #[arg(long)]
        runs: Option<usize>,
        /// Writes one JSON object a line as well.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Only these workloads, for example `W1,W4`.
        #[arg(long, value_delimiter = ',', value_name = "NAMES")]
        only: Vec<String>,
        /// Where stores are made; a folder on a real disk.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Kills a process under load again and again and checks what it had acknowledged.
    Torture(torture::Options),
    /// The process that opens a store and says what that took.
    #[command(hide = true)]
    Open {
        #[arg(long)]
        dir: PathBuf,
    },
    /// The process that is killed.
    #[command(hide = true)]
    Victim(torture::VictimOptions),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { quick, runs, json, only, dir } => {
            let size = if quick { bench::Size::Quick } else { bench::Size::Full };
            bench::run(&bench::Options { size, runs, json, only, dir })
        }
        Command::Open { dir } => workloads::open(&dir),
        Command::Torture(options) => torture::run(&options),
        Command::Victim(options) => torture::victim(&options),
    }
}
