//! The machine's own disk, for reading only: the log is read through it where nothing may change.

use std::{fs::File, io, path::Path};

use super::{Disk, RealDisk};

/// The machine's own disk, on which every attempt to change something fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadingDisk;

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadingDisk {
    type File = File;

    fn create(&self, _path: &Path) -> io::Result<File> {
        refused()
    }

    /// The system refuses writes to a file that was opened so.
    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(folder)
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        refused()
    }

    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        RealDisk.free_space(folder)
    }
}
