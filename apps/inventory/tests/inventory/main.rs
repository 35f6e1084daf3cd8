//! The app as a process: what its README says, with folders, with stand-ins of Azure, and through kills.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; what is unwrapped is what the test is about"
)]

mod app;
mod azure;
mod local;
