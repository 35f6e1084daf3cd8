#![doc = include_str!("../README.md")]

mod faults;
pub mod files;
pub mod identity;
pub mod logs;
mod server;
mod tls;
pub mod tokens;
pub mod tree;

pub use faults::{Fault, Faults, Rule};
pub use tls::Transport;
