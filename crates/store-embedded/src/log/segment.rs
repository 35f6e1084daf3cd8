//! Segment files outside the sequence of frames: making, recycling and removing them.
//!
//! G1  A file becomes a spare segment only when all its bytes are zero-filled and synced and its name is durable.
//! G2  What fails for want of space leaves no file behind. Here a flush may fail so too: no group waits for it.

use std::{
    io,
    path::{Path, PathBuf},
};

use everstep_model::GroupNo;
use everstep_store::Error;

use super::{
    frame::{PAGE, Stamp},
    head::Head,
};
use crate::disk::{Disk, DiskFile, is_full};

/// After how many bytes of zeros they are synced, so that a flush of the log never waits for all of them.
const FILL_STEP: u64 = 1 << 20;

/// A segment file.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    pub(crate) file: F,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
}

/// A segment that holds frames.
#[derive(Debug)]
pub(crate) struct Used<F> {
    pub(crate) segment: Segment<F>,
    pub(crate) head: Head,
    /// Where its frames end.
    pub(crate) end: u64,
    /// Per partition, the highest group in it.
    pub(crate) tops: Vec<GroupNo>,
}

impl<F> Used<F> {
    pub(crate) fn new(segment: Segment<F>, head: Head, partitions: u16) -> Self {
        Self { segment, head, end: PAGE as u64, tops: vec![GroupNo(0); usize::from(partitions)] }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { hub: self.head.hub, salt: self.head.salt }
    }

    pub(crate) fn room(&self) -> u64 {
        self.segment.size - self.end
    }

    /// Whether the tables hold all that is in it.
    pub(crate) fn is_folded(&self, applied: &[GroupNo]) -> bool {
        self.tops.iter().zip(applied).all(|(top, applied)| top <= applied)
    }
}

/// Work on files that no frame waits for, done without holding the log.
#[derive(Debug)]
pub(crate) enum Chore<F> {
    /// Make a spare segment of the size in the head.
    Make { path: PathBuf, head: Head },
    /// Turn a segment that is not needed any more into a spare one.
    Recycle { segment: Segment<F>, head: Head },
    /// Give the space of a segment back.
    Remove { segment: Segment<F> },
}

impl<F: DiskFile> Chore<F> {
    /// Does it; the spare segment that came of it, if one did. Making one is given up when it should not go on.
    pub(crate) fn run<D: Disk<File = F>>(
        self,
        disk: &D,
        folder: &Path,
        goes_on: impl Fn() -> bool,
    ) -> Result<Option<Segment<F>>, Error> {
        match self {
            Self::Make { path, head } => make(disk, folder, path, &head, goes_on),
            Self::Recycle { segment, head } => {
                segment
                    .write_head(&head)
                    .map_err(|error| failed(folder, "recycling a segment of the log", error))?;
                Ok(Some(segment))
            }
            Self::Remove { segment } => {
                let removed = disk.remove(&segment.path).and_then(|()| disk.sync_folder(folder));
                removed.map_err(|error| failed(folder, "removing a segment of the log", error))?;
                Ok(None)
            }
        }
    }
}

impl<F: DiskFile> Segment<F> {
    pub(crate) fn write_head(&self, head: &Head) -> io::Result<()> {
        self.file.write_at(&head.encode(), 0)?;
        self.file.sync_data().map_err(unflushed)
    }
}

fn make<D: Disk>(
    disk: &D,
    folder: &Path,
    path: PathBuf,
    head: &Head,
    goes_on: impl Fn() -> bool,
) -> Result<Option<Segment<D::File>>, Error> {
    let filled = fill(disk, folder, &path, head, goes_on);
    let filled = filled.map_err(|error| failed(folder, "making a segment of the log", error));
    if matches!(filled, Ok(None) | Err(Error::DiskFull { .. }))
        && let Err(error) = disk.remove(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "an unfinished segment stays until the next start");
    }
    Ok(filled?.map(|file| Segment { file, path, size: head.size }))
}

/// `None` if it was given up.
fn fill<D: Disk>(
    disk: &D,
    folder: &Path,
    path: &Path,
    head: &Head,
    goes_on: impl Fn() -> bool,
) -> io::Result<Option<D::File>> {
    let file = disk.create(path)?;
    let mut filled = 0;
    while filled < head.size {
        if !goes_on() {
            return Ok(None);
        }
        let end = head.size.min(filled + FILL_STEP);
        file.zero_fill(filled, end)?;
        file.sync_data()?;
        filled = end;
    }
    file.write_at(&head.encode(), 0)?;
    file.sync_data()?;
    disk.sync_folder(folder)?;
    Ok(Some(file))
}

/// An error of a flush is final even if it names a lack of space: the system may have dropped what was to be written.
pub(crate) fn unflushed(error: io::Error) -> io::Error {
    if is_full(&error) { io::Error::other(error) } else { error }
}

pub(crate) fn failed(folder: &Path, doing: &'static str, error: io::Error) -> Error {
    if is_full(&error) {
        Error::DiskFull { folder: folder.to_owned(), doing }
    } else {
        Error::WriteFailed { folder: folder.to_owned(), doing, source: error.into() }
    }
}
