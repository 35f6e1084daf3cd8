//! The file-inventory scanner. Without a sub-command it serves, as `everstep start apps/inventory` does.

use std::process::ExitCode;

fn main() -> ExitCode {
    inventory::command::main()
}
