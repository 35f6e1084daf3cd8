//! What a host promises, over the embedded store: each file asks one question, all are linked once.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; what is unwrapped is what the test is about"
)]

mod bulk;
mod copies;
mod golden;
mod hold;
mod import;
mod jobs;
mod later;
mod lifecycle;
mod limits;
mod memory;
mod parked;
mod payloads;
mod pressure;
mod restart;
mod stop;
mod support;
mod unfolded;
mod watch;
mod why;
