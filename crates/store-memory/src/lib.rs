#![doc = include_str!("../README.md")]

mod fault;
mod state;
mod store;
mod tables;

pub use fault::Fault;
pub use store::MemoryStore;
pub use tables::MemoryTables;
