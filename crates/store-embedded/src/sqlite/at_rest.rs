//! Connections that read a database while no host runs, and write nothing.
//!
//! An ordinary connection in WAL mode makes the files `-wal` and `-shm`, also when it only reads. These do not:
//!
//! B1  Without a `-wal`, the database is complete and is opened as one that never changes.
//! B2  With a `-wal`, its index is built in the memory of the connection. That asks for exclusive use, which here is a
//!     word and no lock on the file: the folder's `LOCK` keeps hosts away. Nothing keeps a person away who changes the
//!     database meanwhile with a tool of the database's own.
//! B3  Nothing is copied from the `-wal` when the connection closes.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

/// The layer under the database that takes no locks on files.
const NO_LOCKS: &str = if cfg!(windows) { "win32-none" } else { "unix-none" };

/// Opens a database of which the caller knows that no process writes to it.
pub fn connect_at_rest(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !wal_of(file).exists() {
        let name = format!("file:{}?immutable=1", encoded(file));
        return Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_URI);
    }
    let conn = Connection::open_with_flags_and_vfs(file, flags, NO_LOCKS)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.execute_batch("pragma locking_mode = exclusive")?;
    Ok(conn)
}

/// The write-ahead log of a database.
pub(crate) fn wal_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// A path as part of a URI.
fn encoded(file: &Path) -> String {
    let path = file.to_string_lossy();
    let path =
        if cfg!(windows) { format!("/{}", path.replace('\\', "/")) } else { path.into_owned() };
    path.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a string takes all text");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_characters_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a b?c#d%20é.db");
        Connection::open(&file).unwrap().execute_batch("create table t (x)").unwrap();
        let conn = connect_at_rest(&file).unwrap();
        conn.query_row("select count(*) from t", [], |_| Ok(())).unwrap();
    }
}
