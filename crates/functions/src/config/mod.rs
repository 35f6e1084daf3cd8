//! What an app's files and settings say, as values.
//!
//! | File | Module |
//! |---|---|
//! | `host.json` | [`host_json`] |
//! | `local.settings.json` and the environment | [`settings`] |
//! | `{function}/function.json` | [`function_json`], [`binding`] |
//! | `%name%` and `{name}` in their texts | [`expression`] |
//!
//! C1  Nothing here reads the process environment, a clock or a random number. [`read`] and [`function_json::load`] read
//!     files; all else takes texts and maps.
//! C2  A bad value is an error that names the file, the key, the value and what to write. What is merely unknown, or has
//!     no meaning for this host, is a [`Notice`] of one line and never stops an app.
//! C3  All errors of a file are found in one pass.
//! C4  No debug text holds a setting's value. Errors and notices show one only where it overrides a key of `host.json`
//!     or was put into a name or a path.

pub mod binding;
pub mod expression;
pub mod function_json;
pub mod host_json;
pub mod json;
pub mod retry;
mod section;
pub mod settings;
pub mod timespan;

use std::{fmt, io, path::Path};

pub use host_json::HostConfig;
pub use retry::Retry;
pub use settings::Settings;
pub use timespan::TimeSpan;

/// What is wrong with a file or a setting. The text is for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("{file} cannot be read: {problem}")]
    Read {
        /// The file.
        file: String,
        /// What the system says.
        problem: String,
    },
    /// The file is not JSON.
    #[error(transparent)]
    Syntax(#[from] json::Error),
    /// `host.json` is not JSON.
    #[error("Unable to parse host configuration file '{file}': {0}", file = .0.file)]
    HostSyntax(json::Error),
    /// A value does not fit its key.
    #[error("{place}: `{key}` is {found}; {remedy}")]
    Value {
        /// The file, the setting or the function.
        place: String,
        /// The path of the key.
        key: String,
        /// The value, or what kind of value it is where it may be secret.
        found: String,
        /// What to write.
        remedy: String,
    },
    /// A key that must be there is not.
    #[error("{place}: `{key}` is missing; {remedy}")]
    Missing {
        /// The file or the function.
        place: String,
        /// The path of the key.
        key: String,
        /// What to write.
        remedy: String,
    },
    /// Values do not fit together.
    #[error("{place}: {problem}")]
    Rule {
        /// The file or the function.
        place: String,
        /// What is wrong, and what to write.
        problem: String,
    },
}

/// Everything that is wrong with a file; one error a line, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

/// One line about something that does not stop the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What kind of remark it is.
    pub kind: NoticeKind,
    /// The line.
    pub text: String,
}

/// Kinds of notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// Nobody knows this key; it may be mistyped.
    Unknown,
    /// The key has a meaning elsewhere and none here.
    NotApplied,
    /// An old spelling that still works.
    Deprecated,
    /// It works, and perhaps not as meant.
    Warning,
}

impl Notice {
    /// A notice of some kind.
    pub fn new(kind: NoticeKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text of a file; `None` if there is no such file.
pub fn read(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let problem = match error.kind() {
                io::ErrorKind::InvalidData => {
                    "it is not UTF-8; save it in that encoding".to_owned()
                }
                _ => error.to_string(),
            };
            Err(Error::Read { file: path.display().to_string(), problem })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("host.json")), Ok(None));
        std::fs::write(folder.path().join("host.json"), "{}").unwrap();
        assert_eq!(read(&folder.path().join("host.json")), Ok(Some("{}".to_owned())));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("host.json"), [0xff, 0xfe]).unwrap();
        let error = read(&folder.path().join("host.json")).unwrap_err().to_string();
        assert!(
            error.ends_with("host.json cannot be read: it is not UTF-8; save it in that encoding"),
            "{error}"
        );
    }
}
