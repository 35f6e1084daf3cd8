#![doc = include_str!("../README.md")]

mod client;
mod coverage;
mod defect;
mod host;
mod interpreter;
mod program;
mod random;
mod runs;
mod shadow;
mod worker;
mod world;

pub use runs::{planted, seed, seeds};
