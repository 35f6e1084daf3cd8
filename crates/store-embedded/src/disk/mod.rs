//! The file layer under the log: the few calls it makes, so that a test can stand in for the machine.
//!
//! K1  A write is in memory until [`DiskFile::sync_data`] returned `Ok`; before that, any part of it may survive a crash.
//! K2  A new or removed name is in memory until [`Disk::sync_folder`] returned `Ok`.
//! K3  512 aligned bytes survive whole or not at all.
//! K4  After an error of a sync nobody knows what is on the medium; asking again proves nothing.
//!
//! Absent on purpose: renaming and appending. The log writes in place into files whose size never changes.

mod reading;
mod real;
mod simulated;

pub(crate) use reading::ReadingDisk;
pub use real::RealDisk;
pub use simulated::{Fault, SimulatedDisk, SimulatedFile};

use std::{io, path::Path};

/// How many bytes of zeros are written at once.
const FILL_STEP: usize = 1 << 20;
static ZEROS: [u8; FILL_STEP] = [0; FILL_STEP];

/// A place with folders and files.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Makes an empty file; one of that name must not exist.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Makes names that were added or removed durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// How many bytes may still be written there.
    fn free_space(&self, folder: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync + 'static {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills the buffer from the file; an error if the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all the bytes, or fails after writing any part of them.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes content and length durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Writes zeros over a range, so that its blocks exist and later writes change no metadata. The caller syncs.
    fn zero_fill(&self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let step = (to - at).min(FILL_STEP as u64);
            self.write_at(&ZEROS[..step as usize], at)?;
            at += step;
        }
        Ok(())
    }
}

/// Whether an error says that there is no space, or no more for this user.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
