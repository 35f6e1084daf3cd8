//! How a command ends: its exit code, and what it says when it fails.
//!
//! F1  The codes are an interface: `docs/cli.md` and the help list them, and none changes its meaning.
//! F2  A fault says what went wrong and, where there is something to do, what.

use std::{fmt, io, process::ExitCode};

/// What a command leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// Something failed.
    Error = 1,
    /// The command cannot be understood.
    Usage = 2,
    /// There is no such instance, key or file.
    NotFound = 3,
    /// The instance that was waited for failed, or was terminated.
    Ended = 4,
    /// It took too long.
    Timeout = 5,
    /// No host answers.
    Unreachable = 6,
    /// The host refuses: a conflict with the state of the instance, or a key.
    Refused = 7,
}

impl Exit {
    /// All codes with their meaning, for the help.
    pub(crate) const TABLE: &'static str = "\
Exit codes:
  0  done
  1  an error
  2  wrong usage
  3  not found
  4  the instance that was waited for failed or was terminated
  5  timeout
  6  no host runs, or it cannot be reached
  7  refused: a conflict with the instance's state, or a missing key";

    /// Its name in errors as JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Usage => "usage",
            Self::NotFound => "notFound",
            Self::Ended => "ended",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The code of the process.
    pub(crate) exit: Exit,
    /// What went wrong.
    pub(crate) text: String,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
}

impl Fault {
    /// A fault with its code.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), remedy: None }
    }

    /// An error that has no code of its own.
    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self::new(Exit::Error, text)
    }

    /// A command that cannot be understood.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// The same, with what to do.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The reader of the output went away; nothing is wrong, and there is nobody to tell.
    pub(crate) fn closed() -> Self {
        Self::new(Exit::Ok, "")
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(doing: &str, path: &std::path::Path, error: &io::Error) -> Self {
        let exit =
            if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Error };
        Self::new(exit, format!("{doing} `{}`: {error}", path.display()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.text)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  {remedy}"),
            None => Ok(()),
        }
    }
}

impl From<io::Error> for Fault {
    /// Of writing to the console, which is the only thing that is written without a name.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::closed(),
            _ => Self::error(format!("cannot write the output: {error}")),
        }
    }
}
