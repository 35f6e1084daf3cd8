//! Which activities run, noted in a file, so that the next start knows what ran when the process went down.
//!
//! A start that finds the notes of a process that went down gives each noted call a strike. A call with strikes runs
//! alone among its like, so that of many that ran at once only the guilty one collects more; with three it is not run
//! again and fails.
//!
//! R1  A call is noted before it starts, by a plain write: the system keeps it when the process goes. Nothing is flushed;
//!     after a loss of power the boot id is another one, and the notes mean nothing.
//! R2  One write per batch of calls. An ended call stays noted until the next batch; it matters to nobody, for its
//!     answer closes it. Only a call with strikes is crossed out as soon as it ends.
//! R3  A host that is told to stop says so in the file at once, whatever still runs: who kills it because it takes its
//!     time blames nobody.
//! R4  No state of this file is an error: what cannot be read or written costs strikes and nothing else.
//!
//! Absent on purpose: turns of orchestrators and operations of entities. They are too short and too many for a note
//! each, and a panic, which is how they fail, is caught without it.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    ops::Range,
    path::{Path, PathBuf},
    sync::Mutex,
};

use everstep_model::{EventId, HubId, Iid};

use super::lock;
use crate::dispatcher::Key;

const MAGIC: &[u8; 8] = b"everrun1";
/// Magic, hub, whether the end was orderly, boot id; each at a fixed place, zeros after it.
const HEAD: usize = 64;
const ORDERLY_AT: usize = 24;
const BOOT_AT: usize = 25;
const BOOT: usize = HEAD - BOOT_AT;
/// The number of the instance, the execution, the call; little-endian. A free slot is zero.
const SLOT: usize = 16;
/// A longer file is not one of ours.
const BYTES_MAX: u64 = 256 << 20;

/// The file of a host that runs.
#[derive(Debug)]
pub(crate) struct Running {
    notes: Mutex<Notes>,
}

/// Where a call is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(usize);

/// Whether a call is crossed out at once when it ends, or with the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CrossOut {
    Now,
    Later,
}

#[derive(Debug)]
struct Notes {
    path: PathBuf,
    /// `None` once the host stops or a write has failed.
    file: Option<File>,
    /// The slots as the file should have them.
    slots: Vec<u8>,
    free: Vec<usize>,
    /// The bytes of the slots that differ from the file lie in here.
    dirty: Range<usize>,
}

impl Running {
    /// Reads what the last host noted and begins anew. Gives the calls that ran when its process went down, and no file
    /// if none can be written.
    pub(super) fn open(path: &Path, hub: HubId) -> (Option<Self>, Vec<Key>) {
        Self::open_in_boot(path, hub, &boot_id())
    }

    fn open_in_boot(path: &Path, hub: HubId, boot: &str) -> (Option<Self>, Vec<Key>) {
        let suspects = match read(path) {
            Ok(bytes) => noted(&bytes, hub, boot, path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what ran when the process ended cannot be read; no activity gets a strike for it");
                Vec::new()
            }
        };
        match begin(path, &head(hub, boot)) {
            Ok(file) => {
                let notes = Notes {
                    path: path.to_owned(),
                    file: Some(file),
                    slots: Vec::new(),
                    free: Vec::new(),
                    dirty: 0..0,
                };
                (Some(Self { notes: Mutex::new(notes) }), suspects)
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what runs cannot be noted; an activity that takes the process down will not be found out");
                (None, suspects)
            }
        }
    }

    /// Notes calls that are about to start, with one write.
    pub(super) fn note(&self, calls: impl Iterator<Item = Key>) -> Vec<Place> {
        let mut notes = lock(&self.notes);
        let places = calls.map(|call| notes.take(call)).collect();
        notes.write();
        places
    }

    /// A call has ended.
    pub(super) fn end(&self, place: Place, cross_out: CrossOut) {
        let mut notes = lock(&self.notes);
        notes.put(place.0, &[0; SLOT]);
        notes.free.push(place.0);
        if cross_out == CrossOut::Now {
            notes.write();
        }
    }

    /// The host stops: nothing that runs from here on is blamed for anything.
    pub(super) fn close(&self) {
        let mut notes = lock(&self.notes);
        if let Err(error) = notes.finish() {
            notes.complain(&error);
        }
    }
}

impl Notes {
    fn take(&mut self, call: Key) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.resize(self.slots.len() + SLOT, 0);
            self.slots.len() / SLOT - 1
        });
        self.put(place, &slot(call));
        Place(place)
    }

    fn put(&mut self, place: usize, slot: &[u8; SLOT]) {
        let at = place * SLOT..(place + 1) * SLOT;
        self.slots[at.clone()].copy_from_slice(slot);
        self.dirty = if self.dirty.is_empty() {
            at
        } else {
            self.dirty.start.min(at.start)..self.dirty.end.max(at.end)
        };
    }

    /// Writes what changed. A failure ends the notes: half of them would blame the wrong calls.
    fn write(&mut self) {
        let dirty = std::mem::replace(&mut self.dirty, 0..0);
        let Some(file) = &mut self.file else { return };
        if dirty.is_empty() {
            return;
        }
        let at = (HEAD + dirty.start) as u64;
        if let Err(error) = write_at(file, at, &self.slots[dirty]) {
            self.complain(&error);
            // The complaint is made; that the old notes stay as well changes nothing about it.
            drop(self.finish());
        }
    }

    /// Writes no more, and leaves nobody noted.
    fn finish(&mut self) -> std::io::Result<()> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        write_at(&mut file, ORDERLY_AT as u64, &[1])?;
        file.set_len(HEAD as u64)
    }

    fn complain(&self, error: &std::io::Error) {
        tracing::warn!(path = %self.path.display(), %error, "what runs can no longer be noted; an activity that takes the process down will not be found out");
    }
}

fn write_at(file: &mut File, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
    }
    #[cfg(not(unix))]
    {
        use std::io::{Seek as _, SeekFrom, Write as _};
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn begin(path: &Path, head: &[u8; HEAD]) -> std::io::Result<File> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    write_at(&mut file, 0, head)?;
    Ok(file)
}

fn head(hub: HubId, boot: &str) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..MAGIC.len()].copy_from_slice(MAGIC);
    head[MAGIC.len()..ORDERLY_AT].copy_from_slice(&hub.0);
    head[BOOT_AT..].copy_from_slice(&padded(boot));
    head
}

fn padded(boot: &str) -> [u8; BOOT] {
    let mut padded = [0; BOOT];
    let length = boot.len().min(BOOT);
    padded[..length].copy_from_slice(&boot.as_bytes()[..length]);
    padded
}

/// The calls in a file that a host of this hub left behind when its process went down, and not the whole system.
fn noted(bytes: &[u8], hub: HubId, boot: &str, path: &Path) -> Vec<Key> {
    if bytes.len() < HEAD || &bytes[..MAGIC.len()] != MAGIC || bytes.len() as u64 > BYTES_MAX {
        tracing::warn!(path = %path.display(), "this is not a list of what ran; no activity gets a strike");
        return Vec::new();
    }
    let (head, slots) = bytes.split_at(HEAD);
    let ours = head[MAGIC.len()..ORDERLY_AT] == hub.0;
    if !ours || head[ORDERLY_AT] != 0 || head[BOOT_AT..] != padded(boot) {
        return Vec::new();
    }
    slots.chunks_exact(SLOT).filter_map(call).collect()
}

fn slot((iid, execution, task): Key) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..8].copy_from_slice(&iid.0.to_le_bytes());
    slot[8..12].copy_from_slice(&execution.to_le_bytes());
    slot[12..].copy_from_slice(&task.0.to_le_bytes());
    slot
}

fn call(slot: &[u8]) -> Option<Key> {
    let iid = u64::from_le_bytes(slot[..8].try_into().expect("a slot has sixteen bytes"));
    let number = |at: usize| {
        u32::from_le_bytes(slot[at..at + 4].try_into().expect("a slot has sixteen bytes"))
    };
    (iid != 0).then(|| (Iid(iid), number(8), EventId(number(12))))
}

/// Names the time since the system started; empty where the system does not tell, and then every start is taken for one
/// within the same time.
fn boot_id() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HUB: HubId = HubId([7; 16]);

    fn key(number: u32) -> Key {
        (Iid(u64::from(number) + 1), 1, EventId(number))
    }

    fn open(path: &Path) -> (Running, Vec<Key>) {
        let (running, suspects) = Running::open_in_boot(path, HUB, "boot");
        (running.expect("the folder can be written"), suspects)
    }

    #[test]
    fn what_ran_when_the_process_went_down_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("running");
        let (running, suspects) = open(&path);
        assert_eq!(suspects, []);
        let places = running.note([key(0), key(1), key(2)].into_iter());
        running.end(places[1], CrossOut::Now);
        drop(running);
        let (_, suspects) = open(&path);
        assert_eq!(suspects, [key(0), key(2)]);
        assert_eq!(open(&path).1, [], "each process answers for its own calls");
    }

    #[test]
    fn an_ended_call_is_crossed_out_with_the_next_batch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("running");
        let (running, _) = open(&path);
        let places = running.note((0..3).map(key));
        running.end(places[0], CrossOut::Later);
        running.end(places[2], CrossOut::Later);
        assert_eq!(noted(&fs::read(&path).unwrap(), HUB, "boot", &path).len(), 3);
        let again = running.note([key(9)].into_iter());
        assert_eq!(again, [places[2]], "a slot is used again");
        assert_eq!(noted(&fs::read(&path).unwrap(), HUB, "boot", &path), [key(1), key(9)]);
    }

    #[test]
    fn an_orderly_end_leaves_no_suspects_whatever_still_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("running");
        let (running, _) = open(&path);
        running.note((0..3).map(key));
        running.close();
        running.note((3..5).map(key));
        assert_eq!(fs::read(&path).unwrap().len(), HEAD);
        assert_eq!(open(&path).1, []);
    }

    #[test]
    fn another_start_of_the_system_or_another_hub_leaves_no_suspects() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("running");
        open(&path).0.note((0..3).map(key));
        let bytes = fs::read(&path).unwrap();
        assert_eq!(noted(&bytes, HUB, "boot", &path).len(), 3);
        assert_eq!(noted(&bytes, HUB, "later", &path), []);
        assert_eq!(noted(&bytes, HubId([8; 16]), "boot", &path), []);
    }

    #[test]
    fn a_torn_or_foreign_file_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("running");
        open(&path).0.note((0..3).map(key));
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(open(&path).1.len(), length.saturating_sub(HEAD) / SLOT);
        }
        fs::write(&path, [0xa5; 1000]).unwrap();
        assert_eq!(open(&path).1, []);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let (running, suspects) = Running::open(folder.path(), HUB);
        assert!(running.is_none());
        assert_eq!(suspects, []);
    }
}
