#![doc = include_str!("../README.md")]

mod bind;
pub mod chart;
mod compile;
mod dashboard;
mod duplicates;
mod error;
pub mod export;
mod format;
mod functions;
mod lexer;
mod names;
mod operators;
mod parser;
mod pattern;
mod schema;
mod syntax;
mod time;

pub use bind::{Render, RenderKind};
pub use compile::{Compiled, compile, compile_at};
pub use dashboard::dashboard;
pub use duplicates::{Duplicates, Group, duplicates};
pub use error::{Error, Span};
pub use functions::register;
pub use schema::{Column, INVENTORY, Schema, Table, Type};
