//! The log: groups of all partitions, in frames, in segment files.
//!
//! A frame holds all records of one flush. Frames are numbered without gap over all segments, and a segment is begun only
//! when the frame before is durable, so that its head is a proof of where the one before ended.
//!
//! L1  At most one frame is not durable. It is given up only with the process, and written again only in its place.
//! L2  A file is written in place: its size was reached, filled and synced before its head made it a segment.
//! L3  A segment is let go only when the tables hold all its records, the oldest first.
//! L4  Running full changes nothing durable; after any other error of a write, and any of a flush, nothing is written.
//! L5  What recovery found and a power cut could still take is written again and synced before anyone learns of it: the
//!     last frame, the head of its segment, and the names. A process that was killed, or whose flush failed, leaves such
//!     things in the cache of the system, and the system may take them for clean.
//!
//! Absent on purpose: threads, clocks and waiting. Start reading at [`Log::flush`]; what a folder may hold after a crash
//! is in [`scan`].

mod extent;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod head;
mod scan;
mod segment;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use everstep_model::{GroupNo, PartitionId};
use everstep_store::{Error, Hub, Record};

use self::{
    frame::PAGE,
    head::{Head, Purpose},
    scan::file_name,
    segment::{Used, failed, unflushed},
};
use crate::disk::{Disk, DiskFile};

pub(crate) use self::{
    extent::Extent,
    frame::record_bytes,
    segment::{Chore, Segment},
};

/// How much larger than the largest before a segment is made, until the full size is reached.
const GROWTH: u64 = 4;
/// How many spare segments are kept; what is let go beyond that gives its space back.
const SPARE_MAX: usize = 4;
/// How many spare segments are made ahead.
const SPARE_MIN: usize = 2;
/// What the buffer keeps of its memory between frames.
const BUFFER_KEPT: usize = 4 << 20;

/// Sizes of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// The size of a segment. A frame that is larger gets a segment of its own.
    pub segment_bytes: u64,
    /// The size of the first segment of a new hub; each further one is four times as large, up to the full size. A hub
    /// that is tried out for a minute costs little, and its first group need not wait until 64 MiB are filled.
    pub first_segment_bytes: u64,
    /// How much is kept ready beyond the segment in use. Terminating and purging go on in it when the disk is full.
    pub reserve_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, first_segment_bytes: 1 << 20, reserve_bytes: 64 << 20 }
    }
}

impl LogOptions {
    /// All sizes the same: for tests and small installations.
    pub fn small(segment_bytes: u64) -> Self {
        Self { segment_bytes, first_segment_bytes: segment_bytes, reserve_bytes: segment_bytes }
    }
}

/// The log of one hub.
pub(crate) struct Log<D: Disk> {
    disk: D,
    folder: PathBuf,
    hub: Hub,
    options: LogOptions,
    /// In order; frames go to the last.
    used: VecDeque<Used<D::File>>,
    spare: Vec<Segment<D::File>>,
    /// A spare segment that was being headed when the disk ran full.
    headless: Option<Segment<D::File>>,
    next_file: u64,
    next_number: u64,
    next_frame: u64,
    /// The frame that is being written, and reused memory otherwise.
    buffer: Vec<u8>,
    /// Its highest group per partition; empty if there is no such frame.
    tops: Vec<(PartitionId, GroupNo)>,
    /// A segment that was let go could not be marked as such: the other ones have to show that it is old.
    is_untidy: bool,
    is_failed: bool,
}

/// The log as it was found, and what the tables lack of it.
pub(crate) struct Opened<D: Disk> {
    pub(crate) log: Log<D>,
    pub(crate) records: Vec<Record>,
}

/// The records of a log that the tables lack, each partition's in order. Nothing is changed.
pub(crate) fn read<D: Disk>(
    disk: &D,
    folder: &Path,
    hub: &Hub,
    applied: &[GroupNo],
) -> Result<Vec<Record>, Error> {
    Ok(scan::scan(disk, folder, hub, applied)?.records)
}

/// A frame that is durable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flushed {
    /// What was written, padding included.
    pub(crate) bytes: u64,
    /// The highest group of each partition that is in it.
    pub(crate) tops: Vec<(PartitionId, GroupNo)>,
}

impl<D: Disk> Log<D> {
    /// Reads the log, and makes what was found of it durable. Nothing is made yet for a new hub.
    pub(crate) fn open(
        disk: D,
        folder: &Path,
        hub: &Hub,
        applied: &[GroupNo],
        options: LogOptions,
    ) -> Result<Opened<D>, Error> {
        let scan = scan::scan(&disk, folder, hub, applied)?;
        for path in &scan.unfinished {
            disk.remove(path)
                .map_err(|error| failed(folder, "removing an unfinished segment", error))?;
        }
        if let Some(last) = scan.used.last() {
            let settled = settle(last, scan.last_frame.as_ref(), &scan.remains);
            settled.map_err(|error| failed(folder, "settling the end of the log", error))?;
        }
        if !(scan.used.is_empty() && scan.spare.is_empty()) {
            let synced = disk.sync_folder(folder).map_err(unflushed);
            synced.map_err(|error| failed(folder, "settling the files of the log", error))?;
        }
        let log = Self {
            disk,
            folder: folder.to_owned(),
            hub: hub.clone(),
            options,
            used: scan.used.into(),
            spare: scan.spare,
            headless: None,
            next_file: scan.next_file,
            next_number: scan.next_number,
            next_frame: scan.next_frame,
            buffer: Vec::new(),
            tops: Vec::new(),
            is_untidy: false,
            is_failed: false,
        };
        Ok(Opened { log, records: scan.records })
    }

    /// Where the durable frames lie of segments with groups above these, oldest first. They stay there until they are let
    /// go; what lies below may go at any moment.
    pub(crate) fn extents_above(&self, groups: &[GroupNo]) -> Vec<Extent> {
        let extent = |used: &Used<D::File>| Extent {
            path: used.segment.path.clone(),
            end: used.end,
            stamp: used.stamp(),
        };
        self.used.iter().filter(|used| !used.is_folded(groups)).map(extent).collect()
    }

    /// Encodes the next frame. The frame before must be durable (L1).
    pub(crate) fn stage<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) {
        assert!(!self.is_staged(), "L1: one frame at a time");
        let Self { buffer, tops, .. } = self;
        let noted = records.into_iter().inspect(|record| note(tops, record));
        frame::encode(noted, buffer);
    }

    /// Whether a frame waits to become durable.
    pub(crate) fn is_staged(&self) -> bool {
        !self.tops.is_empty()
    }

    /// Writes and flushes the staged frame. After [`Error::DiskFull`] it stays staged, and the call may be repeated; after
    /// any other error nothing is written any more.
    pub(crate) fn flush(&mut self) -> Result<Flushed, Error> {
        assert!(
            self.is_staged() && !self.is_failed,
            "L4: a frame is there and no error was before"
        );
        let written = self.write();
        self.is_failed = matches!(&written, Err(error) if !matches!(error, Error::DiskFull { .. }));
        written
    }

    fn write(&mut self) -> Result<Flushed, Error> {
        self.find_room()?;
        let active = self.used.back_mut().expect("room was found in it");
        frame::seal(&mut self.buffer, self.next_frame, active.stamp());
        let file = &active.segment.file;
        file.write_at(&self.buffer, active.end)
            .and_then(|()| file.sync_data().map_err(unflushed))
            .map_err(|error| failed(&self.folder, "writing the log", error))?;
        let bytes = self.buffer.len() as u64;
        active.end += bytes;
        for (partition, group) in &self.tops {
            active.tops[usize::from(partition.0)] = *group;
        }
        self.next_frame += 1;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT);
        Ok(Flushed { bytes, tops: std::mem::take(&mut self.tops) })
    }

    /// Sees to it that the last segment has room for the staged frame.
    fn find_room(&mut self) -> Result<(), Error> {
        let need = self.buffer.len() as u64;
        if self.used.back().is_some_and(|active| active.room() >= need) {
            return Ok(());
        }
        let segment = match self.headless.take().or_else(|| self.take_spare(need)) {
            Some(segment) => segment,
            None => self.make_now(need)?,
        };
        let head = Head {
            purpose: Purpose::Frames,
            number: self.next_number,
            salt: draw_salt(),
            ..self.head_of_spare(segment.size)
        };
        if let Err(error) = segment.write_head(&head) {
            self.headless = Some(segment);
            return Err(failed(&self.folder, "beginning a segment of the log", error));
        }
        self.next_number += 1;
        self.used.push_back(Used::new(segment, head, self.hub.partitions));
        Ok(())
    }

    /// The smallest spare segment that is large enough.
    fn take_spare(&mut self, need: u64) -> Option<Segment<D::File>> {
        let fitting =
            self.spare.iter().enumerate().filter(|(_, segment)| segment.size >= need + PAGE as u64);
        let (index, _) = fitting.min_by_key(|(_, segment)| segment.size)?;
        Some(self.spare.swap_remove(index))
    }

    fn make_now(&mut self, need: u64) -> Result<Segment<D::File>, Error> {
        let chore = self.making(self.next_size().max(need + PAGE as u64));
        Ok(chore
            .run(&self.disk, &self.folder, || true)?
            .expect("making a segment that goes on gives one"))
    }

    /// Whether segments should be made ahead.
    pub(crate) fn is_short_of_spares(&self) -> bool {
        let bytes: u64 = self.spare.iter().map(|segment| segment.size).sum();
        self.spare.len() < SPARE_MIN || bytes < self.options.reserve_bytes
    }

    /// The next segment to be made ahead, if one should be.
    pub(crate) fn wanted(&mut self) -> Option<Chore<D::File>> {
        if self.is_short_of_spares() && !self.is_failed {
            Some(self.making(self.next_size()))
        } else {
            None
        }
    }

    /// What is to be done with the segments that the tables make superfluous (L3).
    pub(crate) fn trim(&mut self, applied: &[GroupNo]) -> Vec<Chore<D::File>> {
        let mut chores = Vec::new();
        let mut kept = self.spare.len();
        while self.used.len() > 1 && self.used[0].is_folded(applied) && !self.is_failed {
            let segment = self.used.pop_front().expect("there is more than one").segment;
            let is_kept = segment.size == self.options.segment_bytes.next_multiple_of(PAGE as u64)
                && kept < SPARE_MAX;
            kept += usize::from(is_kept);
            chores.push(if is_kept {
                Chore::Recycle { head: self.head_of_spare(segment.size), segment }
            } else {
                Chore::Remove { segment }
            });
        }
        chores
    }

    /// Takes a spare segment that a chore made.
    pub(crate) fn offer(&mut self, segment: Segment<D::File>) {
        self.spare.push(segment);
    }

    /// Notes that a chore of [`Log::trim`] was not done.
    pub(crate) fn leave_behind(&mut self) {
        self.is_untidy = true;
    }

    /// Ends all writing (L4).
    pub(crate) fn fail(&mut self) {
        self.is_failed = true;
    }

    /// If the tables hold everything, turns the last segments into spare ones too: the next start reads heads only.
    pub(crate) fn retire(&mut self, applied: &[GroupNo]) -> Result<(), Error> {
        if self.is_failed
            || self.is_untidy
            || self.is_staged()
            || !self.used.iter().all(|used| used.is_folded(applied))
        {
            return Ok(());
        }
        while let Some(Used { segment, .. }) = self.used.pop_front() {
            let head = self.head_of_spare(segment.size);
            segment
                .write_head(&head)
                .map_err(|error| failed(&self.folder, "closing the log", error))?;
            self.spare.push(segment);
        }
        Ok(())
    }

    fn making(&mut self, size: u64) -> Chore<D::File> {
        let path = self.folder.join(file_name(self.next_file));
        self.next_file += 1;
        Chore::Make { path, head: self.head_of_spare(size) }
    }

    fn head_of_spare(&self, size: u64) -> Head {
        Head {
            purpose: Purpose::Spare,
            hub: self.hub.id,
            number: self.next_number - 1,
            first_frame: self.next_frame,
            size,
            epoch: self.hub.epoch,
            salt: 0,
        }
    }

    /// The size of the next segment.
    fn next_size(&self) -> u64 {
        let segments = self.used.iter().map(|used| &used.segment).chain(&self.spare);
        let largest = segments.map(|segment| segment.size).max().unwrap_or(0);
        let size = (largest * GROWTH)
            .max(self.options.first_segment_bytes)
            .min(self.options.segment_bytes);
        size.max(2 * PAGE as u64).next_multiple_of(PAGE as u64)
    }
}

/// Makes the end of the log certain (L5), and clears what lies behind it.
fn settle<F: DiskFile>(
    last: &Used<F>,
    frame: Option<&(u64, Bytes)>,
    remains: &[(u64, u64)],
) -> std::io::Result<()> {
    let file = &last.segment.file;
    for (from, to) in remains {
        file.zero_fill(*from, *to)?;
    }
    if let Some((offset, bytes)) = frame {
        file.write_at(bytes, *offset)?;
    }
    last.segment.write_head(&last.head)
}

/// Keeps the highest group of each partition; a partition's groups come in order.
fn note(tops: &mut Vec<(PartitionId, GroupNo)>, record: &Record) {
    match tops.iter_mut().find(|(partition, _)| *partition == record.partition) {
        Some((_, top)) => *top = record.group,
        None => tops.push((record.partition, record.group)),
    }
}

fn draw_salt() -> u64 {
    getrandom::u64().expect("the system gives random numbers")
}
