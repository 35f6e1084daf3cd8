//! The app as a process, beside stand-ins of AWS and Azure: what its README says, each weakness of the original, and kills.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; what is unwrapped is what the test is about"
)]

mod app;
mod kills;
mod moto;
mod runs;
mod services;
