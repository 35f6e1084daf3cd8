//! The file `LOCK`: one process per folder, and what it says of itself.
//!
//! O1  The system's lock on the open file decides; the content only tells people and commands whom to ask.
//! O2  The lock ends with the process, however it ends. A file that is left behind locks nothing.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use everstep_store::Error;

use crate::disk::{Disk, DiskFile, RealDisk};

const NAME: &str = "LOCK";
/// The option that [`Error::UnfitFileSystem`] names.
const NETWORK_FLAG: &str = "--allow-network-folder";

/// Whether a folder on a network file system is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkFolder {
    /// It is refused: such systems differ in what a lock and a flush mean.
    #[default]
    Refuse,
    /// Someone who knows that file system wants it.
    Allow,
}

/// A folder that belongs to this process until the value is dropped.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    file: File,
}

impl FolderLock {
    /// Makes the folder if need be, and locks it.
    pub fn take(folder: &Path, network: NetworkFolder) -> Result<Self, Error> {
        let locking = |source: io::Error| Error::Unavailable {
            doing: "locking the data folder",
            source: source.into(),
        };
        make_folder(folder).map_err(locking)?;
        check_file_system(folder, network).map_err(locking)??;
        let path = folder.join(NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(locking)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(folder, &path)),
            Err(TryLockError::Error(error)) => return Err(locking(error)),
        }
        let lock = Self { folder: folder.to_owned(), file };
        lock.announce(None, None)?;
        Ok(lock)
    }

    /// Tells those who find the folder locked how this process can be reached.
    pub fn announce(&self, epoch: Option<u64>, url: Option<&str>) -> Result<(), Error> {
        let mut text = format!("pid={}\n", std::process::id());
        text.extend(epoch.map(|epoch| format!("epoch={epoch}\n")));
        text.extend(url.map(|url| format!("url={url}\n")));
        let written = self
            .file
            .write_at(text.as_bytes(), 0)
            .and_then(|()| self.file.set_len(text.len() as u64));
        written.map_err(|error| Error::Unavailable {
            doing: "writing the file LOCK",
            source: error.into(),
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many bytes may still be written in the folder.
    pub fn free_space(&self) -> Result<u64, Error> {
        let free = RealDisk.free_space(&self.folder);
        free.map_err(|error| Error::Unavailable {
            doing: "asking for the free space",
            source: error.into(),
        })
    }
}

/// Makes the folder and those above it, and their names durable: what is in it is promised to be found again.
fn make_folder(folder: &Path) -> io::Result<()> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<_> = folder.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(folder)?;
    for path in missing {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        RealDisk.sync_folder(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn in_use(folder: &Path, path: &Path) -> Error {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
    };
    Error::InUse {
        folder: folder.to_owned(),
        pid: value("pid").unwrap_or_else(|| "of unknown number".to_owned()),
        url: value("url"),
    }
}

/// What a file system promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileSystem {
    Local,
    Network(&'static str),
    Memory(&'static str),
}

fn check_file_system(folder: &Path, network: NetworkFolder) -> io::Result<Result<(), Error>> {
    match file_system(folder)? {
        FileSystem::Network(kind) if network == NetworkFolder::Refuse => {
            return Ok(Err(Error::UnfitFileSystem {
                folder: folder.to_owned(),
                kind: format!("a network file system ({kind})"),
                why: "may lose what was flushed and lets two hosts write at once",
                flag: NETWORK_FLAG,
            }));
        }
        FileSystem::Memory(kind) => {
            tracing::warn!(folder = %folder.display(), kind, "the data folder lies in memory: nothing in it survives a restart of the machine");
        }
        FileSystem::Local | FileSystem::Network(_) => {}
    }
    Ok(Ok(()))
}

#[cfg(target_os = "linux")]
fn file_system(folder: &Path) -> io::Result<FileSystem> {
    let stat = rustix::fs::statfs(folder)?;
    #[allow(
        clippy::cast_sign_loss,
        reason = "the magic number is 32 bits wide; its type differs by platform"
    )]
    let magic = stat.f_type as u32;
    Ok(classify(magic))
}

/// Elsewhere the system gives no number that could be trusted.
#[cfg(not(target_os = "linux"))]
fn file_system(_folder: &Path) -> io::Result<FileSystem> {
    Ok(FileSystem::Local)
}

#[cfg(target_os = "linux")]
fn classify(magic: u32) -> FileSystem {
    match magic {
        0x6969 => FileSystem::Network("NFS"),
        0x517b | 0xfe53_4d42 | 0xff53_4d42 => FileSystem::Network("SMB"),
        0x0102_1997 => FileSystem::Network("9p"),
        0x00c3_6400 => FileSystem::Network("Ceph"),
        0x5346_414f | 0x6b41_4653 => FileSystem::Network("AFS"),
        0x7375_7245 => FileSystem::Network("Coda"),
        0x0102_1994 => FileSystem::Memory("tmpfs"),
        0x8584_58f6 => FileSystem::Memory("ramfs"),
        _ => FileSystem::Local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_learns_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path(), NetworkFolder::Refuse).unwrap();
        let (path, pid) = (folder.path().display(), std::process::id());
        let text =
            || FolderLock::take(folder.path(), NetworkFolder::Refuse).unwrap_err().to_string();
        let advice = "stop that process or choose another folder";
        assert_eq!(
            text(),
            format!("the data folder `{path}` is in use by process {pid}; {advice}")
        );
        first.announce(Some(3), Some("http://127.0.0.1:7071")).unwrap();
        assert_eq!(
            text(),
            format!(
                "the data folder `{path}` is in use by process {pid} (http://127.0.0.1:7071); {advice}"
            )
        );
        drop(first);
        FolderLock::take(folder.path(), NetworkFolder::Refuse).unwrap();
    }

    #[test]
    fn a_folder_is_made_with_all_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("data").join("hub");
        let lock = FolderLock::take(&deep, NetworkFolder::Refuse).unwrap();
        assert!(lock.free_space().unwrap() > 0);
        assert_eq!(lock.folder(), deep);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        let found =
            [0x6969, 0xff53_4d42, 0x0102_1994, 0xef53, 0x5846_5342, 0x9123_683e, 0x6573_5546]
                .map(classify);
        let expected = [
            FileSystem::Network("NFS"),
            FileSystem::Network("SMB"),
            FileSystem::Memory("tmpfs"),
            FileSystem::Local,
            FileSystem::Local,
            FileSystem::Local,
            FileSystem::Local,
        ];
        assert_eq!(found, expected, "ext4, XFS, Btrfs and FUSE count as local");
    }
}
