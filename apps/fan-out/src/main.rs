//! Fan-out and fan-in. `everstep start apps/fan-out`, or run it directly.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_host::main(fan_out::app)
}
