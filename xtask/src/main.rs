//! Build tasks, in Rust so that they run wherever the workspace builds.
//!
//! `cargo xtask --help` lists them. Tasks about Everstep itself (simulator, benchmarks, kill loop) live in their own
//! packages and are only forwarded to, so that a change to them does not rebuild the checks.

mod ci;
mod cli;
mod counts;
mod outside;
mod process;
mod python;
mod tidy;
mod tree;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
