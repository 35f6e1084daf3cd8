#![doc = include_str!("../README.md")]

pub mod account;
pub mod client;
mod date;
mod name;
pub mod service;
mod xml;

use std::{sync::Arc, time::SystemTime};

/// Where the time comes from: the system's clock, or a test's hand.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(SystemTime::now)
}

/// The version of the protocol that the client asks for and the service speaks.
pub(crate) const VERSION: &str = "2021-12-02";
