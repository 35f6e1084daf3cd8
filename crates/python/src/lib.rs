#![doc = include_str!("../README.md")]

mod activity;
mod entity;
pub mod environment;
mod failure;
mod frame;
mod history;
mod orchestrator;
mod process;
mod program;
mod rehearsal;
mod turns;
mod values;
mod worker;

pub use program::{App, Error, PythonProgram};
pub use rehearsal::{Difference, Outcome, Place, Rehearsal, Unreadable};
