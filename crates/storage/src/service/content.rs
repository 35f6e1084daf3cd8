//! The bytes of blobs: short ones in rows, long ones in files beside the database.
//!
//! F1  A file is complete and flushed, and so is its name in the folder, before a row speaks of it.
//! F2  A file that no row speaks of is deleted: at once when its write failed, on opening when the process died.
//! F3  Nothing is held in memory beyond [`INLINE_MAX`] per request that writes and a few pieces per request that reads.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    ops::Range,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use rusqlite::Connection;
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::spawn_blocking,
};

use super::{OpenError, fault::Fault};
use crate::client::random_id;

/// The longest content that is kept in a row.
const INLINE_MAX: usize = 1 << 20;
/// What is read from a file at once.
const PIECE: usize = 256 << 10;

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the table of contents.
    Row(i64),
    /// In the file of that name.
    File(String),
}

/// Bytes on their way into the database.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) length: u64,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Memory(Vec<u8>),
    File(NewFile),
}

/// A file that goes away unless a row comes to speak of it.
#[derive(Debug)]
struct NewFile {
    path: PathBuf,
    name: String,
    is_kept: bool,
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be deleted is found when the service is opened next.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Arrived {
    /// Makes the bytes part of the running transaction.
    pub(super) fn keep(self, db: &Connection) -> Result<Place, Fault> {
        match self.kept {
            Kept::Memory(bytes) => {
                db.prepare_cached("INSERT INTO contents (data) VALUES (?)")?.execute([bytes])?;
                Ok(Place::Row(db.last_insert_rowid()))
            }
            Kept::File(mut file) => {
                file.is_kept = true;
                Ok(Place::File(file.name.clone()))
            }
        }
    }
}

/// Takes bytes and turns to a file when they become many.
pub(super) struct Sink {
    folder: PathBuf,
    buffer: BytesMut,
    file: Option<(File, NewFile)>,
    length: u64,
}

impl Sink {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), buffer: BytesMut::new(), file: None, length: 0 }
    }

    pub(super) async fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.length += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > INLINE_MAX { self.spill().await } else { Ok(()) }
    }

    async fn spill(&mut self) -> Result<(), Fault> {
        let (file, buffer) = (self.file.take(), self.buffer.split());
        let folder = self.folder.clone();
        let write = move || {
            let (mut file, kept) = match file {
                Some(file) => file,
                None => create(&folder)?,
            };
            file.write_all(&buffer)?;
            Ok::<_, io::Error>((file, kept))
        };
        self.file = Some(blocking(write).await?);
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<Arrived, Fault> {
        if self.file.is_some() {
            self.spill().await?;
        }
        let length = self.length;
        let Some((file, kept)) = self.file else {
            return Ok(Arrived { length, kept: Kept::Memory(self.buffer.to_vec()) });
        };
        let flush = move || {
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()?;
            Ok(kept)
        };
        Ok(Arrived { length, kept: Kept::File(blocking(flush).await?) })
    }
}

fn create(folder: &Path) -> io::Result<(File, NewFile)> {
    let name = random_id();
    let path = folder.join(&name);
    let file = File::create_new(&path)?;
    Ok((file, NewFile { path, name, is_kept: false }))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let ended = spawn_blocking(work).await;
    Ok(ended.map_err(|_| Fault::internal())??)
}

/// The body of a request, up to a limit. A body that is cut off leaves nothing.
pub(super) async fn receive(mut body: Body, folder: &Path, limit: u64) -> Result<Arrived, Fault> {
    let mut sink = Sink::new(folder);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Fault::incomplete_body())?;
        if let Ok(bytes) = frame.into_data() {
            sink.push(&bytes).await?;
        }
        if sink.length > limit {
            return Err(Fault::too_large(limit));
        }
    }
    sink.finish().await
}

/// The bytes of a row.
pub(super) fn row(db: &Connection, id: i64) -> Result<Bytes, Fault> {
    let mut found = db.prepare_cached("SELECT data FROM contents WHERE id = ?")?;
    let data: Vec<u8> = found.query_row([id], |row| row.get(0))?;
    Ok(data.into())
}

/// Opens a file at a place; nothing if it was replaced in between.
pub(super) async fn open(folder: &Path, name: &str, start: u64) -> Result<Option<File>, Fault> {
    let path = folder.join(name);
    blocking(move || match File::open(path) {
        Ok(mut file) => {
            file.seek(SeekFrom::Start(start))?;
            Ok(Some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    })
    .await
}

/// The part of a file as a body, read while it is sent.
pub(super) fn file_body(file: File, range: &Range<u64>) -> Body {
    Body::new(Pieces { pieces: pieces(file, range.end - range.start) })
}

/// Copies a part of a file.
pub(super) async fn copy(file: File, length: u64, sink: &mut Sink) -> Result<(), Fault> {
    let mut pieces = pieces(file, length);
    while let Some(piece) = pieces.recv().await {
        sink.push(&piece?).await?;
    }
    Ok(())
}

fn pieces(mut file: File, mut left: u64) -> Receiver<io::Result<Bytes>> {
    let (sender, receiver) = channel(2);
    spawn_blocking(move || {
        while left > 0 {
            let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
            let read = file.read_exact(&mut piece);
            left -= piece.len() as u64;
            let failed = read.is_err();
            // Whoever does not listen any more needs no more.
            if sender.blocking_send(read.map(|()| piece.into())).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

struct Pieces {
    pieces: Receiver<io::Result<Bytes>>,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = self.pieces.poll_recv(context);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Deletes the files that no row speaks of.
pub(super) fn sweep(database: &Path, folder: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Database { path: database.to_owned(), source };
    let known = known_files(database).map_err(failed)?;
    let failed = |source| OpenError::Io { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn known_files(database: &Path) -> rusqlite::Result<HashSet<String>> {
    let db = Connection::open(database)?;
    let sql = "SELECT file FROM blobs WHERE file IS NOT NULL
               UNION ALL SELECT file FROM blocks WHERE file IS NOT NULL";
    let mut rows = db.prepare(sql)?;
    rows.query_map([], |row| row.get(0))?.collect()
}
