//! A disk in memory that knows what a crash may leave of it.
//!
//! Every write since the last sync is kept per sector of 512 bytes, in all its versions. A crash picks one version of
//! each such sector, the durable one included, and keeps or loses each name that was not synced.
//!
//! V1  Everything follows from the calls and the seeds: no clock, no system randomness, no order of a hash map.
//! V2  What was synced is in every image.
//! V3  After a failed sync the sectors it was for stay in doubt until they are written again, whatever later syncs say.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{Disk, DiskFile};

const SECTOR: usize = 512;

/// What a call does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with an I/O error, nothing done.
    Io,
    /// It fails for want of space, nothing done.
    NoSpace,
    /// A write writes half its bytes and fails with an I/O error; other calls fail with nothing done.
    ShortIo,
    /// A write writes half its bytes and fails for want of space; other calls fail with nothing done.
    ShortNoSpace,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Io, Self::NoSpace, Self::ShortIo, Self::ShortNoSpace];

    fn error(self) -> io::Error {
        match self {
            Self::Io | Self::ShortIo => io::Error::other("simulated I/O error"),
            Self::NoSpace | Self::ShortNoSpace => io::ErrorKind::StorageFull.into(),
        }
    }

    fn is_short(self) -> bool {
        matches!(self, Self::ShortIo | Self::ShortNoSpace)
    }
}

/// A disk in memory. Clones are the same disk; [`SimulatedDisk::fork`] makes another one.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

/// An open file of a [`SimulatedDisk`].
#[derive(Debug)]
pub struct SimulatedFile {
    disk: SimulatedDisk,
    node: u64,
}

#[derive(Debug, Clone, Default)]
struct State {
    nodes: BTreeMap<u64, Node>,
    next_node: u64,
    /// Names as the running process sees them.
    names: BTreeMap<PathBuf, u64>,
    /// Names as of the last sync of their folder.
    durable_names: BTreeMap<PathBuf, u64>,
    calls: u64,
    fault: Option<(u64, Fault)>,
    capacity: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: BTreeMap<usize, Unsynced>,
}

/// A sector whose content on the medium is open.
#[derive(Debug, Clone, Default)]
struct Unsynced {
    /// What it held after each write; the durable content is possible too.
    versions: Vec<Vec<u8>>,
    /// A sync of it failed: the system takes it for clean and will not write it again.
    abandoned: bool,
}

impl SimulatedDisk {
    /// An empty disk without limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk of its own with the same content, durable and not, and without faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = State { fault: None, ..self.lock().clone() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// What is left after the power goes now: one of the possible images, chosen by the seed.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let state = self.lock();
        let mut random = SplitMix(seed);
        let names = state.names_after_crash(&mut random);
        let mut image =
            State { capacity: state.capacity, next_node: state.next_node, ..State::default() };
        for &node in names.values() {
            let bytes = state.nodes[&node].after_crash(&mut random);
            image.nodes.insert(node, Node { durable: bytes.clone(), bytes, ..Node::default() });
        }
        image.durable_names.clone_from(&names);
        image.names = names;
        Self { state: Arc::new(Mutex::new(image)) }
    }

    /// How many calls were made so far, faulty ones included.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Makes the `n`-th call from here on fail, counting from 1.
    pub fn fail_call(&self, n: u64, fault: Fault) {
        let mut state = self.lock();
        state.fault = Some((state.calls + n, fault));
    }

    /// Whether the fault of [`SimulatedDisk::fail_call`] is still to come.
    pub fn has_fault_ahead(&self) -> bool {
        self.lock().fault.is_some()
    }

    /// Limits the sum of all file lengths; `None` lifts the limit. Files that are there stay whole.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// The content of a file, if there is one.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.lock();
        state.names.get(path).map(|node| state.nodes[node].bytes.clone())
    }

    /// Flips one bit of a file, on the medium too.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) {
        self.damage(path, |bytes| bytes[offset as usize] ^= 1 << (bit % 8));
    }

    /// Cuts a file off, on the medium too.
    pub fn truncate(&self, path: &Path, size: u64) {
        self.damage(path, |bytes| bytes.truncate(size as usize));
    }

    /// Removes a file, on the medium too.
    pub fn lose(&self, path: &Path) {
        let mut state = self.lock();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    fn damage(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) {
        let mut state = self.lock();
        let node = *state.names.get(path).expect("a test damages a file that is there");
        let node = state.nodes.get_mut(&node).expect("a name leads to a node");
        change(&mut node.bytes);
        node.durable.clone_from(&node.bytes);
        node.unsynced.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call panics while it holds the state")
    }
}

impl State {
    /// Counts a call; the fault, if it is this call's.
    fn count(&mut self) -> Option<Fault> {
        self.calls += 1;
        let (_, fault) = self.fault.take_if(|(at, _)| *at <= self.calls)?;
        Some(fault)
    }

    fn call(&mut self) -> io::Result<()> {
        self.count().map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn used(&self) -> u64 {
        self.names.values().map(|node| self.nodes[node].bytes.len() as u64).sum()
    }

    fn names_after_crash(&self, random: &mut SplitMix) -> BTreeMap<PathBuf, u64> {
        let all: BTreeSet<_> = self.names.keys().chain(self.durable_names.keys()).collect();
        let pick = |path: &PathBuf| {
            let (new, old) = (self.names.get(path), self.durable_names.get(path));
            let kept = if new == old || random.below(2) == 0 { new } else { old };
            kept.map(|node| (path.clone(), *node))
        };
        all.into_iter().filter_map(pick).collect()
    }
}

impl Node {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let from = sector * SECTOR;
            let to = (from + SECTOR).min(self.bytes.len());
            let unsynced = self.unsynced.entry(sector).or_default();
            unsynced.abandoned = false;
            unsynced.versions.push(self.bytes[from..to].to_vec());
        }
    }

    fn sync(&mut self) {
        let Self { bytes, durable, unsynced } = self;
        if durable.len() < bytes.len() {
            durable.resize(bytes.len(), 0);
        }
        unsynced.retain(|sector, unsynced| {
            if !unsynced.abandoned {
                let from = sector * SECTOR;
                let to = (from + SECTOR).min(bytes.len());
                durable[from..to].copy_from_slice(&bytes[from..to]);
            }
            unsynced.abandoned
        });
    }

    fn after_crash(&self, random: &mut SplitMix) -> Vec<u8> {
        let mut image = self.durable.clone();
        if image.len() < self.bytes.len() && random.below(2) == 0 {
            image.resize(self.bytes.len(), 0);
        }
        for (sector, unsynced) in &self.unsynced {
            let choice = random.below(unsynced.versions.len() as u64 + 1) as usize;
            let Some(version) = choice.checked_sub(1).map(|index| &unsynced.versions[index]) else {
                continue;
            };
            let (from, to) = (sector * SECTOR, sector * SECTOR + version.len());
            if image.len() < to {
                image.resize(to, 0);
            }
            image[from..to].copy_from_slice(version);
        }
        image
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn create(&self, path: &Path) -> io::Result<SimulatedFile> {
        let mut state = self.lock();
        state.call()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = state.next_node;
        state.next_node += 1;
        state.nodes.insert(node, Node::default());
        state.names.insert(path.to_owned(), node);
        Ok(SimulatedFile { disk: self.clone(), node })
    }

    fn open(&self, path: &Path) -> io::Result<SimulatedFile> {
        let mut state = self.lock();
        state.call()?;
        let node = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(SimulatedFile { disk: self.clone(), node })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        state.names.remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.call()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        let State { names, durable_names, .. } = &mut *state;
        durable_names.retain(|path, _| path.parent() != Some(folder));
        let inside = names.iter().filter(|(path, _)| path.parent() == Some(folder));
        durable_names.extend(inside.map(|(path, node)| (path.clone(), *node)));
        Ok(())
    }

    fn free_space(&self, _folder: &Path) -> io::Result<u64> {
        let mut state = self.lock();
        state.call()?;
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }
}

impl SimulatedFile {
    /// Counts a call, then does it unless it is the one to fail.
    fn call<R>(&self, act: impl FnOnce(&mut Node) -> io::Result<R>) -> io::Result<R> {
        let mut state = self.disk.lock();
        state.call()?;
        act(state.nodes.get_mut(&self.node).expect("a node stays as long as the disk"))
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        self.call(|node| Ok(node.bytes.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.call(|node| {
            let from = offset as usize;
            let found =
                node.bytes.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(found);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let fault = state.count();
        if let Some(fault) = fault.filter(|fault| !fault.is_short()) {
            return Err(fault.error());
        }
        let bytes = if fault.is_some() { &bytes[..bytes.len() / 2] } else { bytes };
        let (used, capacity) = (state.used(), state.capacity);
        let node = state.nodes.get_mut(&self.node).expect("a node stays as long as the disk");
        let grown = (offset + bytes.len() as u64).saturating_sub(node.bytes.len() as u64);
        if grown > 0 && capacity.is_some_and(|capacity| used + grown > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        node.write(bytes, offset as usize);
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let fault = state.count();
        let node = state.nodes.get_mut(&self.node).expect("a node stays as long as the disk");
        match fault {
            None => {
                node.sync();
                Ok(())
            }
            Some(fault) => {
                node.unsynced.values_mut().for_each(|unsynced| unsynced.abandoned = true);
                Err(fault.error())
            }
        }
    }
}

/// A small generator, so that images depend on the seed alone.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_file(disk: &SimulatedDisk) -> SimulatedFile {
        let file = disk.create(Path::new("/d/f")).unwrap();
        disk.sync_folder(Path::new("/d")).unwrap();
        file
    }

    #[test]
    fn what_was_synced_is_in_every_image_and_the_rest_in_some() {
        let disk = SimulatedDisk::new();
        let file = one_file(&disk);
        file.write_at(&[1; 1024], 0).unwrap();
        file.sync_data().unwrap();
        file.write_at(&[2; 512], 512).unwrap();
        let images: BTreeSet<_> =
            (0..64).map(|seed| disk.crash(seed).content(Path::new("/d/f")).unwrap()).collect();
        let expected = [[[1; 512], [1; 512]].concat(), [[1; 512], [2; 512]].concat()];
        assert_eq!(images.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_unsynced_name_may_be_lost_and_a_removed_one_may_return() {
        let disk = SimulatedDisk::new();
        drop(one_file(&disk));
        disk.remove(Path::new("/d/f")).unwrap();
        disk.create(Path::new("/d/g")).unwrap();
        let images: BTreeSet<_> =
            (0..64).map(|seed| disk.crash(seed).list(Path::new("/d")).unwrap()).collect();
        assert_eq!(images.len(), 4, "{images:?}");
    }

    #[test]
    fn a_failed_sync_leaves_doubt_that_no_later_sync_removes() {
        let disk = SimulatedDisk::new();
        let file = one_file(&disk);
        file.write_at(&[1; 512], 0).unwrap();
        disk.fail_call(1, Fault::Io);
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        let lost = |seed| disk.crash(seed).content(Path::new("/d/f")).unwrap() == [0; 512];
        assert!((0..64).any(lost));
        file.write_at(&[1; 512], 0).unwrap();
        file.sync_data().unwrap();
        assert!(!(0..64).any(lost));
    }

    #[test]
    fn a_full_disk_takes_writes_in_place_and_nothing_longer() {
        let disk = SimulatedDisk::new();
        let file = one_file(&disk);
        file.zero_fill(0, 4096).unwrap();
        disk.set_capacity(Some(4096));
        file.write_at(&[7; 4096], 0).unwrap();
        assert_eq!(file.write_at(&[7; 1], 4096).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.set_capacity(Some(8192));
        file.write_at(&[7; 1], 4096).unwrap();
    }
}
