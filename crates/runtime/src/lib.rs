//! The loop around the engine.
//!
//! *Take what came in, let instances take their turns, append the group, release what is durable.* A
//! [`partition::Partition`] is that loop as a deterministic machine; a [`Host`] drives all partitions of a hub with
//! threads, a store and a worker; a [`Client`] asks them.
//!
//! Start at [`Host::start`], then [`partition`].

mod builtin;
mod client;
mod dispatcher;
mod host;
pub mod lifecycle;
mod pace;
pub mod partition;
mod row;
pub mod why;

pub use client::{
    Bulk, Client, Error as ClientError, Listed, Raised, Signal, StartOptions, View, Watch,
};
pub use host::{Error, Hold, Host, Options};
pub use pace::Pace;
pub use partition::{Existing, Imported, Unfolded};
