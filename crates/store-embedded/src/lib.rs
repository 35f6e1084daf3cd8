#![doc = include_str!("../README.md")]

pub mod disk;
mod lock;
mod log;
mod logged;
pub mod sqlite;

pub use lock::{FolderLock, NetworkFolder};
pub use log::LogOptions;
pub use logged::{Embedded, Logged, LoggedOptions, open_embedded};
