//! The hello world that says where it runs. `everstep start apps/hello`, or run it directly.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_host::main(hello::app)
}
