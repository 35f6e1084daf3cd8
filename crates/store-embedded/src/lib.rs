#![doc = include_str!("../README.md")]

pub mod disk;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod lock;
mod log;
mod logged;
mod read_only;
pub mod sqlite;

pub use lock::{FolderLock, Holder, NetworkFolder};
pub use log::LogOptions;
pub use logged::{BackupReport, Embedded, Logged, LoggedOptions, open_embedded};
pub use read_only::{ReadOnly, open_read_only};
