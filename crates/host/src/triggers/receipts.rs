//! Which blobs a function has seen.
//!
//! R1  A version of a blob is its name and its tag. It is begun a number of times and ended once; each of these is on disk
//!     before anybody acts on it.
//! R2  The file has a line for each step. Opening it writes it anew with what still matters; a last line that a crash cut
//!     is as if it had not been written, for nobody had been told.
//! R3  Only the newest version of a blob is known: an older one that ends late changes nothing.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};

use crate::durable_file;

/// So many lines more than twice what is known, and the file is written anew.
const SLACK: usize = 100;

/// The receipts of one function. Its methods wait for the disk.
pub(super) struct Receipts {
    inner: Mutex<Inner>,
}

struct Inner {
    path: PathBuf,
    file: File,
    /// By the blob's name.
    seen: HashMap<String, Receipt>,
    /// Blobs that are worked on in this process, and their tags.
    running: HashSet<(String, String)>,
    /// Of the file, to tell when it is mostly history.
    lines: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Receipt {
    etag: String,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// So many times; zero for one that is to be.
    Begun(u32),
    Ended,
}

/// Whether a version may be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Yes, for this time, counted from one.
    Begun(u32),
    /// It is worked on, or done with.
    Taken,
}

impl Receipts {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut seen = HashMap::new();
        for (name, receipt) in text.lines().filter_map(read) {
            take(&mut seen, name, receipt);
        }
        let file = write_anew(path, &seen)?;
        let inner =
            Inner { path: path.to_owned(), file, lines: seen.len(), seen, running: HashSet::new() };
        Ok(Self { inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a version was never begun, or failed before.
    pub(super) fn wants(&self, name: &str, etag: &str) -> bool {
        let inner = self.inner();
        let etag = bare(etag);
        let is_running = inner.running.contains(&(name.to_owned(), etag.to_owned()));
        let ended = Receipt { etag: etag.to_owned(), step: Step::Ended };
        !is_running && inner.seen.get(name) != Some(&ended)
    }

    /// Notes that a version is to be worked on; one that is done with stays so.
    pub(super) fn note(&self, name: &str, etag: &str) -> io::Result<()> {
        let mut inner = self.inner();
        match inner.seen.get(name) {
            Some(receipt) if receipt.etag == bare(etag) => Ok(()),
            _ => inner.keep(name, etag, Step::Begun(0)),
        }
    }

    /// Begins to work on a version.
    pub(super) fn begin(&self, name: &str, etag: &str) -> io::Result<Claim> {
        let mut inner = self.inner();
        let key = (name.to_owned(), bare(etag).to_owned());
        let times = match inner.seen.get(name) {
            _ if inner.running.contains(&key) => return Ok(Claim::Taken),
            Some(Receipt { etag, step: Step::Begun(times) }) if *etag == key.1 => times + 1,
            Some(Receipt { etag, step: Step::Ended }) if *etag == key.1 => {
                return Ok(Claim::Taken);
            }
            _ => 1,
        };
        inner.keep(name, etag, Step::Begun(times))?;
        inner.running.insert(key);
        Ok(Claim::Begun(times))
    }

    /// A version is done with.
    pub(super) fn end(&self, name: &str, etag: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let kept = inner.keep(name, etag, Step::Ended);
        inner.running.remove(&(name.to_owned(), bare(etag).to_owned()));
        kept
    }

    /// A version is not worked on any more, and not done with.
    pub(super) fn release(&self, name: &str, etag: &str) {
        self.inner().running.remove(&(name.to_owned(), bare(etag).to_owned()));
    }

    /// There is no such blob any more.
    pub(super) fn forget(&self, name: &str) {
        // The file forgets it when it is written anew.
        self.inner().seen.remove(name);
    }

    /// Blobs that were begun and are neither worked on nor done with.
    pub(super) fn unfinished(&self) -> Vec<String> {
        let inner = self.inner();
        let is_open = |(name, receipt): &(&String, &Receipt)| {
            let key = ((*name).clone(), receipt.etag.clone());
            receipt.step != Step::Ended && !inner.running.contains(&key)
        };
        inner.seen.iter().filter(is_open).map(|(name, _)| name.clone()).collect()
    }

    /// Forgets all that are done with and not among these: there are no such blobs any more.
    pub(super) fn keep_only(&self, names: &HashSet<String>) {
        let mut inner = self.inner();
        inner.seen.retain(|name, receipt| receipt.step != Step::Ended || names.contains(name));
    }
}

impl Inner {
    /// Writes a step down, and takes it for true once it is on disk.
    fn keep(&mut self, name: &str, etag: &str, step: Step) -> io::Result<()> {
        let receipt = Receipt { etag: bare(etag).to_owned(), step };
        if self.lines > 2 * self.seen.len() + SLACK {
            self.file = write_anew(&self.path, &self.seen)?;
            self.lines = self.seen.len();
        }
        self.file.write_all(line(name, &receipt).as_bytes())?;
        self.file.sync_data()?;
        self.lines += 1;
        take(&mut self.seen, name.to_owned(), receipt);
        Ok(())
    }
}

/// A tag without the quotation marks that some places write and others do not.
fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// A step becomes what is known, unless it is the end of a version that is not the newest.
fn take(seen: &mut HashMap<String, Receipt>, name: String, receipt: Receipt) {
    let is_late = receipt.step == Step::Ended
        && seen.get(&name).is_some_and(|known| known.etag != receipt.etag);
    if !is_late {
        seen.insert(name, receipt);
    }
}

fn line(name: &str, receipt: &Receipt) -> String {
    let step = match receipt.step {
        Step::Begun(times) => json!({ "blob": name, "etag": receipt.etag, "begun": times }),
        Step::Ended => json!({ "blob": name, "etag": receipt.etag, "ended": true }),
    };
    format!("{step}\n")
}

fn read(line: &str) -> Option<(String, Receipt)> {
    let step: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| step[key].as_str().map(str::to_owned);
    let begun = step["begun"].as_u64().and_then(|times| u32::try_from(times).ok());
    let receipt = Receipt { etag: text("etag")?, step: begun.map_or(Step::Ended, Step::Begun) };
    Some((text("blob")?, receipt))
}

fn write_anew(path: &Path, seen: &HashMap<String, Receipt>) -> io::Result<File> {
    let text: String = seen.iter().map(|(name, receipt)| line(name, receipt)).collect();
    durable_file::write(path, &text)?;
    File::options().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Receipts {
        Receipts::open(&folder.join("receipts")).unwrap()
    }

    #[test]
    fn a_version_is_ended_once_and_a_new_one_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let receipts = open(folder.path());
        assert!(receipts.wants("a", "1"));
        assert_eq!(receipts.begin("a", "1").unwrap(), Claim::Begun(1));
        assert_eq!(receipts.begin("a", "1").unwrap(), Claim::Taken);
        assert!(!receipts.wants("a", "1"));
        receipts.release("a", "1");
        assert_eq!(receipts.unfinished(), ["a"]);
        assert_eq!(receipts.begin("a", "\"1\"").unwrap(), Claim::Begun(2));
        assert_eq!(receipts.begin("a", "2").unwrap(), Claim::Begun(1));
        receipts.end("a", "1").unwrap();
        assert!(receipts.wants("a", "1"), "it is not the newest");
        receipts.end("a", "2").unwrap();
        assert!(!receipts.wants("a", "2"));
        assert_eq!(receipts.begin("a", "2").unwrap(), Claim::Taken);
        assert_eq!(receipts.unfinished(), Vec::<String>::new());
    }

    #[test]
    fn everything_is_known_after_a_crash_that_cut_the_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let receipts = open(folder.path());
        for (name, etag) in [("a", "1"), ("b", "1"), ("c", "1")] {
            receipts.begin(name, etag).unwrap();
        }
        receipts.end("a", "1").unwrap();
        receipts.note("d", "9").unwrap();
        drop(receipts);
        let path = folder.path().join("receipts");
        let mut text = fs::read_to_string(&path).unwrap();
        text += r#"{"blob":"b","etag":"1","en"#;
        fs::write(&path, text).unwrap();
        let receipts = open(folder.path());
        assert!(!receipts.wants("a", "1"));
        let mut unfinished = receipts.unfinished();
        unfinished.sort();
        assert_eq!(unfinished, ["b", "c", "d"]);
        assert_eq!(receipts.begin("b", "1").unwrap(), Claim::Begun(2));
        assert_eq!(receipts.begin("d", "9").unwrap(), Claim::Begun(1));
    }

    #[test]
    fn the_file_does_not_grow_with_what_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let receipts = open(folder.path());
        for number in 0..150 {
            receipts.begin("a", &number.to_string()).unwrap();
            receipts.end("a", &number.to_string()).unwrap();
        }
        let lines = fs::read_to_string(folder.path().join("receipts")).unwrap().lines().count();
        assert!(lines < 110, "{lines}");
        receipts.keep_only(&HashSet::new());
        assert!(receipts.wants("a", "149"));
    }
}
