//! The file `LOCK`: one process per folder, and what it says of itself.
//!
//! O1  The system's lock on the open file decides; the content only tells people and commands whom to ask.
//! O2  The lock ends with the process, however it ends. A file that is left behind locks nothing.
//! O3  Reading takes the same lock. Where nothing can be written, the lock is taken without a word in the file; where
//!     there is no such file either, there is nobody to keep out.

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
    file: LockFile,
}

/// The file that bears the lock.
#[derive(Debug)]
enum LockFile {
    /// It says who holds it.
    Writable(File),
    /// It cannot be written.
    Fixed(File),
    /// There is none and there can be none.
    Absent,
}

/// Who has a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process, as it wrote it into the file.
    pub pid: String,
    /// Where it answers, if it said so.
    pub url: Option<String>,
}

/// Whether the files of a folder can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// They can.
    Writable,
    /// They cannot: a read-only medium, or somebody else's folder.
    ReadOnly,
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
        try_lock(&file, folder)?;
        let lock = Self { folder: folder.to_owned(), file: LockFile::Writable(file) };
        lock.announce(None, None)?;
        Ok(lock)
    }

    /// Locks a folder that exists, to read what is in it. Nothing but the file `LOCK` is written, and that only where
    /// writing is possible.
    pub fn take_to_read(folder: &Path, network: NetworkFolder) -> Result<Self, Error> {
        let locking = |source: io::Error| Error::Unavailable {
            doing: "locking the data folder",
            source: source.into(),
        };
        check_file_system(folder, network).map_err(locking)??;
        let path = folder.join(NAME);
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = match opened {
            Ok(file) => LockFile::Writable(file),
            Err(error) if is_unwritable(&error) => match File::open(&path) {
                Ok(file) => LockFile::Fixed(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => LockFile::Absent,
                Err(error) => return Err(locking(error)),
            },
            Err(error) => return Err(locking(error)),
        };
        if let LockFile::Writable(file) | LockFile::Fixed(file) = &file {
            try_lock(file, folder)?;
        }
        let lock = Self { folder: folder.to_owned(), file };
        lock.announce(None, None)?;
        Ok(lock)
    }

    /// Who has the folder, if anyone does. Looking takes the lock for an instant when nobody has it.
    pub fn holder(folder: &Path) -> Option<Holder> {
        let path = folder.join(NAME);
        let file = File::open(&path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_holder(&path)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    /// Whether the files of the folder can be written.
    pub(crate) fn medium(&self) -> Medium {
        match self.file {
            LockFile::Writable(_) => Medium::Writable,
            LockFile::Fixed(_) | LockFile::Absent => Medium::ReadOnly,
        }
    }

    /// Tells those who find the folder locked how this process can be reached.
    pub fn announce(&self, epoch: Option<u64>, url: Option<&str>) -> Result<(), Error> {
        let LockFile::Writable(file) = &self.file else { return Ok(()) };
        let mut text = format!("pid={}\n", std::process::id());
        text.extend(epoch.map(|epoch| format!("epoch={epoch}\n")));
        text.extend(url.map(|url| format!("url={url}\n")));
        let written =
            file.write_at(text.as_bytes(), 0).and_then(|()| file.set_len(text.len() as u64));
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

fn try_lock(file: &File, folder: &Path) -> Result<(), Error> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let Holder { pid, url } = read_holder(&folder.join(NAME));
            Err(Error::InUse { folder: folder.to_owned(), pid, url })
        }
        Err(TryLockError::Error(error)) => {
            Err(Error::Unavailable { doing: "locking the data folder", source: error.into() })
        }
    }
}

fn is_unwritable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

fn read_holder(path: &Path) -> Holder {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
    };
    Holder {
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
    fn whoever_looks_learns_who_has_the_folder_and_that_nobody_has() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(FolderLock::holder(folder.path()), None, "there is no file");
        let lock = FolderLock::take(folder.path(), NetworkFolder::Refuse).unwrap();
        lock.announce(Some(1), Some("http://127.0.0.1:7071")).unwrap();
        let pid = std::process::id().to_string();
        let url = Some("http://127.0.0.1:7071".to_owned());
        assert_eq!(FolderLock::holder(folder.path()), Some(Holder { pid, url }));
        drop(lock);
        assert_eq!(FolderLock::holder(folder.path()), None, "what a file says locks nothing");
    }

    #[test]
    fn a_reader_keeps_others_out_like_a_host() {
        let folder = tempfile::tempdir().unwrap();
        let reader = FolderLock::take_to_read(folder.path(), NetworkFolder::Refuse).unwrap();
        assert_eq!(reader.medium(), Medium::Writable);
        let refused = FolderLock::take(folder.path(), NetworkFolder::Refuse).unwrap_err();
        assert!(matches!(refused, Error::InUse { .. }), "{refused}");
        drop(reader);
        let host = FolderLock::take(folder.path(), NetworkFolder::Refuse).unwrap();
        let refused = FolderLock::take_to_read(folder.path(), NetworkFolder::Refuse).unwrap_err();
        assert!(matches!(refused, Error::InUse { .. }), "{refused}");
        drop(host);
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
