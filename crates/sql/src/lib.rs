#![doc = include_str!("../README.md")]

mod error;
mod functions;
mod guard;
mod history;
mod live;
mod overlay;
mod session;
mod text;
mod views;

pub use error::Error;
pub use overlay::Overlay;
pub use session::{Answer, Limits, Session};
pub use views::{VIEWS, View};
