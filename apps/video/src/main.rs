//! The video-processing orchestrator. `everstep start apps/video`, or run it directly.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_host::main(video::app)
}
