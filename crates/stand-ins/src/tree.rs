//! What a file service holds: shares built from names and contents, or made on the fly.
//!
//! T1  A generated share is a function of its description: nothing of it is in memory, and the same path always has the same
//!     size, times and bytes.
//! T2  Entries come in the order of their names' bytes, files and directories mixed.

use std::{collections::BTreeMap, fmt, ops::Range};

use bytes::Bytes;
use jiff::Timestamp;

/// All shares of an account.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub(crate) shares: BTreeMap<String, Share>,
}

impl Tree {
    /// Without any share.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more share, or another in its place.
    #[must_use]
    pub fn share(mut self, name: &str, share: Share) -> Self {
        self.shares.insert(name.to_owned(), share);
        self
    }
}

/// One share.
#[derive(Debug, Clone)]
pub struct Share {
    pub(crate) source: Source,
    pub(crate) is_nfs: bool,
    pub(crate) is_forbidden: bool,
    pub(crate) snapshots: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Built(Folder),
    Generated(Generated),
}

pub(crate) type Folder = BTreeMap<String, Node>;

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Directory(Folder),
    File(File),
}

/// A file that was put into a built share.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) content: Content,
    pub(crate) times: Times,
    /// Grows with each change: the file's tag.
    pub(crate) version: u64,
}

/// When things happened to a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it was made.
    pub created: Timestamp,
    /// `Last-Modified`, in whole seconds on the wire.
    pub last_modified: Timestamp,
    /// When its content was last written.
    pub last_write: Timestamp,
}

impl Times {
    /// All the same.
    pub const fn at(time: Timestamp) -> Self {
        Self { created: time, last_modified: time, last_write: time }
    }
}

/// What a built share says of files whose times nobody chose: the beginning of 2024.
pub(crate) const DEFAULT_TIMES: Times = Times::at(Timestamp::constant(1_704_067_200, 123_456_700));

/// The bytes of a file.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// As they are.
    Bytes(Bytes),
    /// So many, from a generator.
    Generated {
        /// Decides all of them.
        seed: u64,
        /// How many.
        size: u64,
    },
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.size())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl Content {
    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Generated { size, .. } => *size,
        }
    }

    /// The bytes from `start` to before `end`, as far as there are any.
    pub fn read(&self, start: u64, end: u64) -> Bytes {
        let end = end.min(self.size());
        let start = start.min(end);
        match self {
            Self::Bytes(bytes) => bytes.slice(start as usize..end as usize),
            Self::Generated { seed, .. } => {
                let words = start / 8..end.div_ceil(8);
                let bytes: Vec<u8> =
                    words.flat_map(|word| mixed(seed.wrapping_add(word)).to_le_bytes()).collect();
                let skipped = (start % 8) as usize;
                Bytes::from(bytes).slice(skipped..skipped + (end - start) as usize)
            }
        }
    }
}

impl Share {
    /// An empty share that is built file by file.
    pub fn built() -> Self {
        Self::of(Source::Built(Folder::new()))
    }

    /// A share that is made on the fly.
    pub fn generated(shape: Generated) -> Self {
        Self::of(Source::Generated(shape))
    }

    fn of(source: Source) -> Self {
        Self { source, is_nfs: false, is_forbidden: false, snapshots: Vec::new() }
    }

    /// With a file; directories on the way are made.
    #[must_use]
    pub fn file(self, path: &str, content: impl Into<Content>) -> Self {
        self.file_at(path, content, DEFAULT_TIMES)
    }

    /// With a file of a certain age.
    #[must_use]
    pub fn file_at(mut self, path: &str, content: impl Into<Content>, times: Times) -> Self {
        self.put(path, content.into(), times);
        self
    }

    /// With a directory, and those on the way.
    #[must_use]
    pub fn directory(mut self, path: &str) -> Self {
        self.folder(path);
        self
    }

    /// Mounted as Linux does: it is listed with the account's shares, and its files are not.
    #[must_use]
    pub fn nfs(mut self) -> Self {
        self.is_nfs = true;
        self
    }

    /// Nobody may look into it.
    #[must_use]
    pub fn forbidden(mut self) -> Self {
        self.is_forbidden = true;
        self
    }

    /// With a snapshot of that time, which only those see who ask for snapshots.
    #[must_use]
    pub fn snapshot(mut self, time: &str) -> Self {
        self.snapshots.push(time.to_owned());
        self
    }

    pub(crate) fn put(&mut self, path: &str, content: Content, times: Times) {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.folder(directory);
        let version = match folder.get(name) {
            Some(Node::File(file)) => file.version + 1,
            _ => 1,
        };
        folder.insert(name.to_owned(), Node::File(File { content, times, version }));
    }

    /// Whether there was something.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        let Source::Built(root) = &mut self.source else {
            panic!("a generated share cannot be changed");
        };
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder =
            directory.split('/').filter(|part| !part.is_empty()).try_fold(root, |folder, part| {
                match folder.get_mut(part)? {
                    Node::Directory(folder) => Some(folder),
                    Node::File(_) => None,
                }
            });
        folder.is_some_and(|folder| folder.remove(name).is_some())
    }

    fn folder(&mut self, path: &str) -> &mut Folder {
        let Source::Built(root) = &mut self.source else {
            panic!("a generated share cannot be changed");
        };
        path.split('/').filter(|part| !part.is_empty()).fold(root, |folder, part| {
            let node =
                folder.entry(part.to_owned()).or_insert_with(|| Node::Directory(Folder::new()));
            match node {
                Node::Directory(folder) => folder,
                Node::File(_) => panic!("`{part}` is a file and holds no other"),
            }
        })
    }
}

/// A file or directory as a listing and headers describe it.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) name: String,
    /// `None` for a directory.
    pub(crate) content: Option<Content>,
    pub(crate) times: Times,
    pub(crate) version: u64,
}

/// Some entries of a directory, and where the next ones begin.
pub(crate) type Listed = (Vec<Described>, Option<String>);

impl Source {
    /// `None`: there is no such directory.
    pub(crate) fn list(&self, path: &[String], from: Option<&str>, most: usize) -> Option<Listed> {
        match self {
            Self::Built(root) => Some(list_folder(folder_at(root, path)?, from, most)),
            Self::Generated(shape) => shape.list(path, from, most),
        }
    }

    /// The file or directory at a path.
    pub(crate) fn find(&self, path: &[String]) -> Option<Described> {
        match self {
            Self::Built(root) => {
                let (name, directory) = path.split_last()?;
                let node = folder_at(root, directory)?.get(name)?;
                Some(described(name, node))
            }
            Self::Generated(shape) => shape.find(path),
        }
    }
}

fn folder_at<'a>(root: &'a Folder, path: &[String]) -> Option<&'a Folder> {
    path.iter().try_fold(root, |folder, part| match folder.get(part)? {
        Node::Directory(folder) => Some(folder),
        Node::File(_) => None,
    })
}

fn list_folder(folder: &Folder, from: Option<&str>, most: usize) -> Listed {
    let from = from.unwrap_or_default().to_owned();
    let mut rest = folder.range(from..);
    let entries = rest.by_ref().take(most).map(|(name, node)| described(name, node)).collect();
    (entries, rest.next().map(|(name, _)| name.clone()))
}

fn described(name: &str, node: &Node) -> Described {
    let name = name.to_owned();
    match node {
        Node::Directory(_) => Described { name, content: None, times: DEFAULT_TIMES, version: 1 },
        Node::File(file) => Described {
            name,
            content: Some(file.content.clone()),
            times: file.times,
            version: file.version,
        },
    }
}

/// A share that is made on the fly: numbered directories below one another, and in each as many files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// How many directories there are besides the root.
    pub directories: u64,
    /// How many directories are directly in each, while there are any left.
    pub fan_out: u64,
    /// How many files are directly in each directory, the root included.
    pub files: u64,
    /// How large they are.
    pub sizes: Range<u64>,
    /// Decides sizes, times and bytes.
    pub seed: u64,
}

const EXTENSIONS: [&str; 12] =
    [".pdf", ".JPG", ".txt", ".docx", ".mp4", "", ".log", ".zip", ".bak", ".rs", ".tar.gz", ".csv"];

impl Generated {
    /// One directory with so many files.
    pub fn flat(files: u64) -> Self {
        Self { directories: 0, fan_out: 1, files, sizes: 0..10_000_000_000, seed: 1 }
    }

    /// So many directories below one another, twenty in each, with a file in each.
    pub fn nested(directories: u64) -> Self {
        Self { directories, fan_out: 20, files: 1, ..Self::flat(1) }
    }

    /// The number of all files and of all their bytes. It takes a moment for millions.
    pub fn totals(&self) -> (u64, u64) {
        let numbers =
            || (0..=self.directories).flat_map(|at| (0..self.files).map(move |n| (at, n)));
        let files = (self.directories + 1) * self.files;
        (files, numbers().map(|(at, n)| self.size(at, n)).sum())
    }

    fn children(&self, at: u64) -> Range<u64> {
        let first = at * self.fan_out + 1;
        first.min(self.directories + 1)..(first + self.fan_out).min(self.directories + 1)
    }

    /// The directory's number.
    fn directory(&self, path: &[String]) -> Option<u64> {
        path.iter().try_fold(0, |at, name| {
            let number = name.strip_prefix('d')?.parse().ok()?;
            let fits = self.children(at).contains(&number) && *name == directory_name(number);
            fits.then_some(number)
        })
    }

    fn list(&self, path: &[String], from: Option<&str>, most: usize) -> Option<Listed> {
        let at = self.directory(path)?;
        let children = self.children(at);
        let directories = children.end - children.start;
        let all = directories + self.files;
        let from = from.map_or(Some(0), |from| from.parse::<u64>().ok())?.min(all);
        let until = all.min(from + most as u64);
        let entry = |n: u64| match n.checked_sub(directories) {
            None => self.describe_directory(children.start + n),
            Some(n) => self.describe_file(at, n),
        };
        Some(((from..until).map(entry).collect(), (until < all).then(|| until.to_string())))
    }

    fn find(&self, path: &[String]) -> Option<Described> {
        if let Some(number) = self.directory(path).filter(|_| !path.is_empty()) {
            return Some(self.describe_directory(number));
        }
        let (name, directory) = path.split_last()?;
        let at = self.directory(directory)?;
        let digits = name.strip_prefix('f')?.split('.').next()?;
        let n = digits.parse().ok().filter(|n| *n < self.files)?;
        Some(self.describe_file(at, n)).filter(|file| file.name == *name)
    }

    fn describe_directory(&self, number: u64) -> Described {
        let times = self.times(mixed(self.seed ^ number));
        Described { name: directory_name(number), content: None, times, version: 1 }
    }

    fn describe_file(&self, at: u64, n: u64) -> Described {
        let draw = self.draw(at, n);
        let extension = EXTENSIONS[(draw >> 32) as usize % EXTENSIONS.len()];
        Described {
            name: format!("f{n:07}{extension}"),
            content: Some(Content::Generated { seed: draw, size: self.size(at, n) }),
            times: self.times(draw),
            version: 1,
        }
    }

    fn size(&self, at: u64, n: u64) -> u64 {
        let width = self.sizes.end.saturating_sub(self.sizes.start).max(1);
        // Small files are many and large ones few, as on real disks.
        let draw = mixed(self.draw(at, n));
        self.sizes.start + (draw >> (draw % 32)) % width
    }

    fn draw(&self, at: u64, n: u64) -> u64 {
        mixed(mixed(self.seed ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(n))
    }

    /// Within the five years before 2026.
    fn times(&self, draw: u64) -> Times {
        let span = 5 * 365 * 86_400;
        let second = 1_767_225_600 - i64::try_from(mixed(draw ^ self.seed) % span).unwrap_or(0);
        let time = Timestamp::from_second(second).expect("it is a time of these years");
        let created = Timestamp::new(second - 3_600, 765_432_100).expect("so is an hour before");
        Times { created, last_modified: time, last_write: time }
    }
}

fn directory_name(number: u64) -> String {
    format!("d{number:07}")
}

/// A number with its bits mixed, the same for ever.
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> Vec<String> {
        path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// All paths below a directory, with pages of three.
    fn walk(source: &Source, at: &mut Vec<String>, found: &mut Vec<(String, Option<u64>)>) {
        let mut from = None;
        loop {
            let (entries, next) = source.list(at, from.as_deref(), 3).unwrap();
            for entry in entries {
                at.push(entry.name.clone());
                let same = source.find(at).unwrap();
                assert_eq!((&same.name, &same.content), (&entry.name, &entry.content));
                found.push((at.join("/"), entry.content.as_ref().map(Content::size)));
                if entry.content.is_none() {
                    walk(source, at, found);
                }
                at.pop();
            }
            match next {
                Some(next) => from = Some(next),
                None => return,
            }
        }
    }

    fn all(share: &Share) -> Vec<(String, Option<u64>)> {
        let mut found = Vec::new();
        walk(&share.source, &mut Vec::new(), &mut found);
        found
    }

    #[test]
    fn a_built_share_lists_what_was_put_into_it() {
        let mut share = Share::built().file("b/c.txt", "12").file("a", "1").directory("d/e");
        let names =
            |share: &Share| all(share).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&share), ["a", "b", "b/c.txt", "d", "d/e"]);
        assert!(share.remove("b/c.txt") && !share.remove("b/c.txt"));
        assert_eq!(names(&share), ["a", "b", "d", "d/e"]);
        share.put("a", "123".into(), DEFAULT_TIMES);
        assert_eq!(share.source.find(&parts("a")).unwrap().version, 2);
        assert!(share.source.list(&parts("a"), None, 1).is_none());
    }

    #[test]
    fn a_generated_share_has_as_many_of_everything_as_it_says() {
        let shape = Generated { directories: 47, fan_out: 3, files: 4, sizes: 5..90, seed: 7 };
        let found = all(&Share::generated(shape.clone()));
        let files: Vec<u64> = found.iter().filter_map(|(_, size)| *size).collect();
        assert_eq!(found.len() - files.len(), 47);
        assert_eq!((files.len() as u64, files.iter().sum()), shape.totals());
        assert!(files.iter().all(|size| (5..90).contains(size)));
        let source = Source::Generated(shape);
        for wrong in ["d0000009", "d1", "f0000009.txt", "d0000001/d0000002", "x"] {
            assert!(source.find(&parts(wrong)).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_page_of_a_huge_share_costs_no_more_than_one_of_a_small() {
        let flat = Source::Generated(Generated::flat(1_000_000));
        let (last, next) = flat.list(&[], Some("999997"), 5_000).unwrap();
        assert_eq!((last.len(), next), (3, None));
        assert!(last[2].name.starts_with("f0999999"), "{}", last[2].name);
        let nested = Source::Generated(Generated::nested(1_000_000));
        let mut path = Vec::new();
        while let (entries, _) = nested.list(&path, None, 1).unwrap()
            && entries[0].content.is_none()
        {
            path.push(entries[0].name.clone());
        }
        assert_eq!(path.last().unwrap(), "d0168421");
        assert!(nested.find(&parts("d0000020/d0000420/d0008420/d0168420")).is_some());
    }

    #[test]
    fn generated_bytes_do_not_depend_on_how_they_are_read() {
        let content = Content::Generated { seed: 3, size: 101 };
        let whole = content.read(0, 101);
        assert_eq!(whole.len(), 101);
        for (start, end) in [(0, 1), (7, 9), (8, 16), (13, 200), (101, 200), (200, 300)] {
            let expected = &whole[start.min(101)..end.min(101)];
            assert_eq!(content.read(start as u64, end as u64), expected, "{start}..{end}");
        }
    }
}
