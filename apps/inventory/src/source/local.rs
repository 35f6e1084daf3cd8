//! Folders of this machine as shares.
//!
//! L1  A folder that has more than a page stays open between its pages, and the next page is read while this one is
//!     written. After a restart the listing begins anew and leaves out what pages before have taken, so the order in
//!     which a file system lists does not matter.
//! L2  Links are not followed: a scan ends, and stays below its root. They, sockets and the like are counted as skipped.
//! L3  A name that is no UTF-8 is shown with replacement characters and opened as it is.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::UNIX_EPOCH,
};

use everstep::Failure;
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::xxh3_64;

use super::{PAGE, hash, lost};
use crate::{
    moment,
    pattern::Patterns,
    record::{File, Hash},
    run::Scanned,
    spool::{
        self, Spool,
        queue::{self, Directory, Lane, Share, Step, Trouble},
    },
};

/// Directories of one lane: small ones share a transaction.
pub(crate) const LENGTH: usize = 500;
/// Lanes that are read at the same time. Others wait without a thread, as each thread keeps memory of its own.
const LANES_AT_ONCE: usize = 4;
/// Folders that stay open between their pages.
const OPEN_MAX: usize = 32;
/// A page has at most so many bytes to hash, so that an activity ends in reasonable time.
const HASH_BYTES_OF_PAGE: u64 = 1 << 30;

/// The folders that are open. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    ahead: Arc<Mutex<BTreeMap<i64, Ahead>>>,
    room: Arc<Semaphore>,
}

impl Default for Local {
    fn default() -> Self {
        Self { ahead: Arc::default(), room: Arc::new(Semaphore::new(LANES_AT_ONCE)) }
    }
}

/// A page that is read ahead.
#[derive(Debug)]
struct Ahead {
    page: i64,
    reading: JoinHandle<(Reader, Listing)>,
}

/// The folders that are shares, under their names.
pub(crate) fn shares(paths: &[String], names: &[String]) -> Vec<(String, PathBuf)> {
    let roots = named(paths);
    if names.is_empty() {
        return roots;
    }
    let find = |name: &String| {
        let root = roots.iter().find(|(root, _)| root == name).map(|(_, path)| path.clone());
        // A name that is nowhere is the share's failure, not the scan's.
        let first = roots.first().map(|(_, path)| path.join(name));
        let below = || roots.iter().map(|(_, path)| path.join(name)).find(|path| path.is_dir());
        let is_plain = !name.contains(['/', '\\']) && name != "..";
        root.or_else(|| below().or(first).filter(|_| is_plain)).map(|path| (name.clone(), path))
    };
    names.iter().map(|name| find(name).unwrap_or_else(|| (name.clone(), PathBuf::new()))).collect()
}

/// The last element of each path; the whole path where two would have the same name.
fn named(paths: &[String]) -> Vec<(String, PathBuf)> {
    let name = |path: &String| {
        let whole = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
        whole.file_name().map(|name| name.to_string_lossy().into_owned())
    };
    let names: Vec<_> = paths.iter().map(name).collect();
    let is_single =
        |name: &String| names.iter().flatten().filter(|other| *other == name).count() == 1;
    paths
        .iter()
        .zip(&names)
        .map(|(path, name)| {
            let name = name.clone().filter(is_single).unwrap_or_else(|| path.clone());
            (name, PathBuf::from(path))
        })
        .collect()
}

/// What of a folder counts, and what is done with it.
#[derive(Debug, Clone)]
struct Wants {
    patterns: Arc<Patterns>,
    hash_bytes_max: Option<u64>,
}

impl Local {
    /// Takes a page of entries from the directories of a lane.
    pub(crate) async fn scan(
        &self,
        spool: &Spool,
        share: Arc<Share>,
        lane: Lane,
    ) -> Result<Scanned, Failure> {
        let (local, spool) = (self.clone(), spool.clone());
        let _permit = self.room.acquire().await.map_err(everstep::failure)?;
        let done = tokio::task::spawn_blocking(move || local.scan_here(&spool, &share, lane));
        done.await.map_err(everstep::failure)?
    }

    fn scan_here(&self, spool: &Spool, share: &Share, lane: Lane) -> Result<Scanned, Failure> {
        let wants = Wants {
            patterns: Arc::new(Patterns::new(
                share.scan.exclude_patterns.iter().map(String::as_str),
            )),
            hash_bytes_max: share.scan.hash_bytes_max(),
        };
        let waiting = spool.write_here(|db| queue::waiting(db, share.id, lane))?;
        let (mut steps, mut room, mut open) = (Vec::new(), PAGE, Vec::new());
        for directory in waiting {
            if room == 0 {
                break;
            }
            let folder = path(&share.root, &directory.path);
            let (reader, listing) = self.list(spool, share, &directory, &folder, &wants, room)?;
            room = room.saturating_sub(listing.entries);
            let next = reader.map(|reader| {
                let page = directory.page + 1;
                open.push((directory.id, Ahead { page, reading: reader.read_ahead(&wants) }));
                page.to_string()
            });
            steps.push(step(directory, next, listing, &folder, &wants));
        }
        let has_more = spool.write_here(|db| {
            queue::commit(db, share, &steps)?;
            queue::is_waiting(db, share.id, lane)
        })?;
        self.keep(open);
        Ok(Scanned { has_more })
    }

    /// A page of a folder; with the folder, if there is more.
    fn list(
        &self,
        spool: &Spool,
        share: &Share,
        directory: &Directory,
        folder: &Path,
        wants: &Wants,
        room: usize,
    ) -> Result<(Option<Reader>, Listing), Failure> {
        if let Some(read) = self.take(directory) {
            return Ok(read);
        }
        let mut reader = match Reader::open(folder) {
            Ok(reader) => reader,
            Err(error) => {
                let root = path(&share.root, b"");
                if directory.path.is_empty() || !root.is_dir() {
                    return Err(lost(&share.name, format!("{}: {error}", root.display())));
                }
                return Ok((None, Listing::failed(&directory.path, &error)));
            }
        };
        if directory.page > 0 {
            let db = spool::open_to_read(spool.path())?;
            reader.seen = queue::taken(&db, share, directory)?;
        }
        let listing = reader.read(wants, room, &directory.path);
        Ok((listing.has_more.then_some(reader), listing))
    }

    /// The page that was read ahead, if it is the one that is wanted.
    fn take(&self, directory: &Directory) -> Option<(Option<Reader>, Listing)> {
        let ahead = self.open().remove(&directory.id)?;
        if ahead.page != directory.page {
            return None;
        }
        let (reader, listing) = ahead.reading.join().ok()?;
        Some((listing.has_more.then_some(reader), listing))
    }

    fn keep(&self, open: Vec<(i64, Ahead)>) {
        let mut kept = self.open();
        kept.extend(open);
        while kept.len() > OPEN_MAX {
            kept.pop_first();
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<i64, Ahead>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder that is being listed.
#[derive(Debug)]
struct Reader {
    entries: fs::ReadDir,
    /// Hashes of names that were taken before.
    seen: HashSet<u64>,
    path: Vec<u8>,
}

/// A page of a folder, before contents are read.
#[derive(Debug)]
struct Listing {
    moment: i64,
    /// Entries of every kind.
    entries: usize,
    /// With what a file is opened by, where that is not its name.
    files: Vec<(Option<OsString>, File)>,
    subdirectories: Vec<Vec<u8>>,
    errors: Vec<Trouble>,
    skipped: u64,
    has_more: bool,
}

impl Listing {
    fn new() -> Self {
        Self {
            moment: moment::now(),
            entries: 0,
            files: Vec::new(),
            subdirectories: Vec::new(),
            errors: Vec::new(),
            skipped: 0,
            has_more: false,
        }
    }

    fn failed(path: &[u8], error: &io::Error) -> Self {
        let text = queue::directory_trouble(path, &error.to_string());
        let errors = vec![Trouble { name: None, text }];
        Self { entries: 1, errors, ..Self::new() }
    }
}

impl Reader {
    fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { entries: fs::read_dir(folder)?, seen: HashSet::new(), path: Vec::new() })
    }

    fn read_ahead(mut self, wants: &Wants) -> JoinHandle<(Self, Listing)> {
        let wants = wants.clone();
        std::thread::spawn(move || {
            let path = std::mem::take(&mut self.path);
            let listing = self.read(&wants, PAGE, &path);
            (self, listing)
        })
    }

    fn read(&mut self, wants: &Wants, room: usize, path: &[u8]) -> Listing {
        path.clone_into(&mut self.path);
        let mut listing = Listing::new();
        let mut hash_bytes = 0;
        while listing.entries < room && hash_bytes < HASH_BYTES_OF_PAGE {
            let entry = match self.entries.next() {
                None => return listing,
                Some(Ok(entry)) => entry,
                Some(Err(error)) => {
                    let text = queue::directory_trouble(path, &error.to_string());
                    listing.errors.push(Trouble { name: None, text });
                    return listing;
                }
            };
            let raw = entry.file_name();
            if !self.seen.is_empty() && self.was_taken(&raw) {
                continue;
            }
            listing.entries += 1;
            hash_bytes += take_entry(&mut listing, &entry, raw, wants);
        }
        listing.has_more = true;
        listing
    }

    fn was_taken(&self, name: &OsString) -> bool {
        let is_in = |bytes: &[u8]| self.seen.contains(&xxh3_64(bytes));
        is_in(name.to_string_lossy().as_bytes()) || is_in(name.as_encoded_bytes())
    }
}

/// Puts an entry into a listing; gives the bytes that are to be hashed for it.
fn take_entry(listing: &mut Listing, entry: &fs::DirEntry, raw: OsString, wants: &Wants) -> u64 {
    let (name, raw) = match raw.into_string() {
        Ok(name) => (name, None),
        Err(raw) => (raw.to_string_lossy().into_owned(), Some(raw)),
    };
    let kind = match entry.file_type() {
        Ok(kind) => kind,
        Err(error) => {
            listing.errors.push(file_trouble(&name, &error));
            return 0;
        }
    };
    if kind.is_dir() {
        let bytes = raw.map_or_else(|| name.into_bytes(), OsString::into_encoded_bytes);
        listing.subdirectories.push(bytes);
        return 0;
    }
    if !kind.is_file() {
        listing.skipped += 1;
        return 0;
    }
    if wants.patterns.matches(&name) {
        return 0;
    }
    match entry.metadata() {
        Ok(metadata) => {
            let file = file(name, &metadata, wants);
            let bytes = if file.hash == Hash::Error { file.size } else { 0 };
            listing.files.push((raw, file));
            bytes
        }
        Err(error) => {
            listing.errors.push(file_trouble(&name, &error));
            0
        }
    }
}

/// A file with a hash of `Error` is yet to be read.
fn file(name: String, metadata: &fs::Metadata, wants: &Wants) -> File {
    let size = metadata.len();
    let hash = match wants.hash_bytes_max {
        None => Hash::Skipped,
        Some(limit) if size > limit => Hash::TooLarge,
        Some(_) => Hash::Error,
    };
    let modified = millis(metadata.modified());
    File { name, size, modified, created: millis(metadata.created()), written: modified, hash }
}

fn millis(time: io::Result<std::time::SystemTime>) -> Option<i64> {
    let time = time.ok()?;
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).ok(),
        Err(before) => {
            let nanos = i64::try_from(before.duration().as_nanos()).ok()?;
            Some((-nanos).div_euclid(1_000_000))
        }
    }
}

fn file_trouble(name: &str, error: &io::Error) -> Trouble {
    Trouble { name: Some(name.to_owned()), text: format!("Error processing file {name}: {error}") }
}

/// What the spool takes of a page, contents read.
fn step(
    directory: Directory,
    next: Option<String>,
    listing: Listing,
    folder: &Path,
    wants: &Wants,
) -> Step {
    let Listing { moment, files, subdirectories, mut errors, skipped, .. } = listing;
    let files = match wants.hash_bytes_max {
        None => files.into_iter().map(|(_, file)| file).collect(),
        Some(_) => hashed(folder, files, &mut errors),
    };
    Step { directory, next, moment, files, subdirectories, errors, skipped }
}

fn hashed(
    folder: &Path,
    files: Vec<(Option<OsString>, File)>,
    errors: &mut Vec<Trouble>,
) -> Vec<File> {
    let wanted = files.iter().filter(|(_, file)| file.hash == Hash::Error);
    let names: Vec<&OsStr> =
        wanted.map(|(raw, file)| raw.as_deref().unwrap_or(file.name.as_ref())).collect();
    let mut hashes = hash::of_files(folder, &names).into_iter();
    let mut kept = Vec::with_capacity(files.len());
    for (_, mut file) in files {
        if file.hash == Hash::Error {
            match hashes.next().expect("there is one for each that was wanted") {
                Ok(bytes) => file.hash = Hash::Md5(bytes),
                Err(error) => {
                    errors.push(file_trouble(&file.name, &error));
                    if error.kind() == io::ErrorKind::NotFound {
                        continue;
                    }
                }
            }
        }
        kept.push(file);
    }
    kept
}

/// A path below a root, from their stored bytes.
fn path(root: &[u8], below: &[u8]) -> PathBuf {
    let root = PathBuf::from(os_string(root));
    if below.is_empty() { root } else { root.join(os_string(below)) }
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_owned())
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}
