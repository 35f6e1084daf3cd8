//! The Code42 log pipeline. Without a sub-command it serves, as `everstep start apps/code42` does.

use std::process::ExitCode;

fn main() -> ExitCode {
    code42::command::main()
}
