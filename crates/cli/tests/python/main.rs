//! Apps in Python under `everstep start`, with the SDKs that apps have: what they see and what outlives a crash.
//!
//! The apps are those of `crates/python/tests/apps`. `cargo xtask test python` makes the environments and runs this;
//! they stand in `EVERSTEP_PYTHON_ENVIRONMENTS`, folders in the form of `PATH`, each called as the version of its SDK.
//! Each test runs with each of them.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; what is unwrapped is what the test is about"
)]
#![expect(clippy::print_stdout, reason = "a failure is read beside the SDK that it came with")]

mod clients;
mod crashes;
mod entities;
mod events;
mod failures;
mod lifecycle;
mod patterns;
mod processes;
mod refusals;
mod replays;
mod streams;
mod support;
mod tasks;
mod triggers;
mod walks;
mod watch;
