//! The command: `everstep-sim [--seeds N] [--from S] [--seed X] [--planted]`.

use std::{io::Write as _, process::ExitCode};

use clap::Parser;

/// Random programs on a whole host, with simulated disk, clock, crashes and checks.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds; with `--planted`, how many for each defect at most.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Runs this seed only and prints its transcript.
    #[arg(long)]
    seed: Option<u64>,
    /// Plants defects and shows which check catches each.
    #[arg(long)]
    planted: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic is reported with its seed; where it came from is to be seen with `--seed`.
    if arguments.seed.is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let result = match (arguments.seed, arguments.planted) {
        (Some(seed), _) => everstep_sim::seed(seed),
        (None, true) => everstep_sim::planted(arguments.from, arguments.seeds),
        (None, false) => everstep_sim::seeds(arguments.from, arguments.seeds),
    };
    let (text, code) = match result {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(text) => (text, ExitCode::FAILURE),
    };
    // Nobody reads on: nothing to say.
    drop(writeln!(std::io::stdout(), "{text}"));
    code
}
