//! What the database's errors mean for the caller.
//!
//! | From below | Reading | Writing |
//! |---|---|---|
//! | not a database, corrupt, a value of the wrong kind | the tables are damaged | the same |
//! | no space | - | the disk is full; the transaction left no trace |
//! | anything else | the store is unavailable | writing failed; the process ends |

use std::path::{Path, PathBuf};

use everstep_store::Error;
use rusqlite::ErrorCode;

/// The name of the database within the folder of a hub.
const FILE: &str = "state.db";

/// Where the tables lie.
#[derive(Debug, Clone)]
pub(super) struct Place {
    folder: PathBuf,
}

impl Place {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    pub(super) fn without_hub(&self) -> Error {
        let why = "holds no task hub; name the folder of a hub, the one with `state.db` in it";
        Error::Refused { folder: self.folder.clone(), why }
    }

    pub(super) fn read_only(&self, doing: &'static str) -> Error {
        Error::ReadOnly { folder: self.folder.clone(), doing }
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> Error {
        Error::DamagedTables { file: self.file(), what: what.into() }
    }

    /// The meaning of an error while opening: what has no schema of ours is damaged, too.
    pub(super) fn opening(&self, error: rusqlite::Error) -> Error {
        match error.sqlite_error_code() {
            Some(ErrorCode::Unknown) => self.damaged(error.to_string()),
            _ => self.writing("opening the tables")(error),
        }
    }

    pub(super) fn reading(&self, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
        move |error| {
            if is_damage(&error) {
                self.damaged(error.to_string())
            } else {
                Error::Unavailable { doing, source: error.into() }
            }
        }
    }

    pub(super) fn writing(&self, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
        move |error| {
            if is_damage(&error) {
                self.damaged(error.to_string())
            } else if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                Error::DiskFull { folder: self.folder.clone(), doing }
            } else {
                Error::WriteFailed { folder: self.folder.clone(), doing, source: error.into() }
            }
        }
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        other => matches!(
            other.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("said below".into()))
    }

    #[test]
    fn each_error_says_what_the_caller_may_do() {
        let place = Place::new(Path::new("hub"));
        let help =
            "Restore the folder from a backup, or keep a copy of it before you try anything else";
        let damaged = format!("the tables in `hub/state.db` are damaged: said below. {help}");
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
            assert_eq!(place.reading("listing")(failure(code)).to_string(), damaged);
            assert_eq!(place.writing("folding")(failure(code)).to_string(), damaged);
        }
        assert_eq!(
            place.reading("listing")(failure(ffi::SQLITE_IOERR)).to_string(),
            "the store is unavailable while listing: said below"
        );
        assert_eq!(
            place.writing("folding")(failure(ffi::SQLITE_FULL)).to_string(),
            "no space is left on the disk of `hub` (folding); free some, everything goes on by itself then"
        );
        assert_eq!(
            place.writing("folding")(failure(ffi::SQLITE_IOERR_WRITE)).to_string(),
            "writing to `hub` failed (folding): said below; the process ends here, and the next start finds out what \
             was written"
        );
    }
}
