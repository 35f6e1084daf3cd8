//! What a folder's segment files hold: reading only, nothing is changed.
//!
//! R1  The log ends at the first page that is no frame, or not the next one, and nowhere else.
//! R2  That end is accepted only if no whole frame of the same use follows in the segment, and if the next segment, when
//!     there is one, begins with the very frame that is missing: then it was begun after this end.
//! R3  Segments whose records are all folded may be missing, the oldest first; anything else that is missing is damage.
//! R4  A spare segment's head says how far the log was when it was written; a log that ends before has lost something.
//! R5  Groups up to what the tables hold are skipped; above, each partition's groups follow each other without gap.
//!
//! What cannot be told from a crash: that the last frame of all was durable before it was damaged. A torn frame and a
//! damaged one look the same when nothing follows that knows of it.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use everstep_model::{GroupNo, PartitionId};
use everstep_store::{Error, FORMAT, Hub, Record};

use super::{
    Segment, Used,
    frame::{self, Frame, PAGE, Stamp},
    head::{FirstPage, Head, Purpose},
};
use crate::disk::{Disk, DiskFile};

/// How much is read at once where no frames are expected.
const SEARCH_STEP: u64 = 1 << 20;

/// What was found.
pub(crate) struct Scan<F> {
    /// Segments with frames, in order.
    pub(crate) used: Vec<Used<F>>,
    /// Segments that wait to be used.
    pub(crate) spare: Vec<Segment<F>>,
    /// Files that were never finished.
    pub(crate) unfinished: Vec<PathBuf>,
    /// Every record that the tables lack, each partition's in order.
    pub(crate) records: Vec<Record>,
    /// The last frame of the last segment, if there is one, and where it lies.
    pub(crate) last_frame: Option<(u64, Bytes)>,
    /// Ranges behind the log's end, in its last segment, that are not zero.
    pub(crate) remains: Vec<(u64, u64)>,
    /// Above all file numbers found.
    pub(crate) next_file: u64,
    /// Above all segment numbers found.
    pub(crate) next_number: u64,
    /// The number of the next frame.
    pub(crate) next_frame: u64,
}

static BLANK: [u8; PAGE] = [0; PAGE];

type Headed<F> = Vec<(Segment<F>, Head)>;

/// The name of a segment file. Its number says nothing about order; the head does.
pub(crate) fn file_name(number: u64) -> String {
    format!("log-{number:016x}.seg")
}

fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".seg")?;
    if digits.len() == 16 { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// Reads the log of a hub whose tables hold all groups up to `applied`.
pub(crate) fn scan<D: Disk>(
    disk: &D,
    folder: &Path,
    hub: &Hub,
    applied: &[GroupNo],
) -> Result<Scan<D::File>, Error> {
    let mut scan = Scan {
        used: Vec::new(),
        spare: Vec::new(),
        unfinished: Vec::new(),
        records: Vec::new(),
        last_frame: None,
        remains: Vec::new(),
        next_file: 1,
        next_number: 1,
        next_frame: 1,
    };
    for (segment, head) in heads(disk, folder, &mut scan)? {
        check_origin(folder, &segment, &head, hub)?;
        scan.next_number = scan.next_number.max(head.number + 1);
        match head.purpose {
            Purpose::Spare => {
                scan.next_frame = scan.next_frame.max(head.first_frame);
                scan.spare.push(segment);
            }
            Purpose::Frames => scan.used.push(Used::new(segment, head, hub.partitions)),
        }
    }
    scan.used.sort_by_key(|used| used.head.number);
    let mut reader =
        Reader { last: applied.to_vec(), records: Vec::new(), next_frame: 0, last_frame: None };
    for index in 0..scan.used.len() {
        let (before, rest) = scan.used.split_at_mut(index);
        reader.join(before.last(), &rest[0])?;
        scan.remains = reader.read(&mut rest[0])?;
    }
    if let Some(last) = scan.used.last() {
        if reader.next_frame < scan.next_frame {
            let what = format!(
                "frame {} is missing or damaged, and the log went up to {}",
                reader.next_frame,
                scan.next_frame - 1
            );
            return Err(damaged(&last.segment.path, last.end, what));
        }
        if last.head.number + 1 < scan.next_number {
            let what =
                format!("segment {} came after this one and is missing", scan.next_number - 1);
            return Err(damaged(&last.segment.path, last.end, what));
        }
        scan.next_frame = reader.next_frame;
    }
    scan.records = reader.records;
    scan.last_frame = reader.last_frame;
    Ok(scan)
}

/// Opens every segment file and reads its head. Unfinished ones are set aside.
fn heads<D: Disk>(
    disk: &D,
    folder: &Path,
    scan: &mut Scan<D::File>,
) -> Result<Headed<D::File>, Error> {
    let mut found = Vec::new();
    for name in disk.list(folder).map_err(unreadable)? {
        let Some(number) = file_number(&name) else { continue };
        scan.next_file = scan.next_file.max(number.saturating_add(1));
        let path = folder.join(name);
        let file = disk.open(&path).map_err(unreadable)?;
        let size = file.size().map_err(unreadable)?;
        let mut page = vec![0; size.min(PAGE as u64) as usize];
        file.read_at(&mut page, 0).map_err(unreadable)?;
        match FirstPage::decode(&page) {
            FirstPage::Blank => scan.unfinished.push(path),
            FirstPage::Newer(found) => {
                return Err(Error::NewerFormat { folder: folder.to_owned(), found, known: FORMAT });
            }
            FirstPage::Damaged(what) => return Err(damaged(&path, 0, what.to_owned())),
            FirstPage::Head(head) if head.size != size => {
                return Err(damaged(
                    &path,
                    size,
                    format!("the file should have {} bytes", head.size),
                ));
            }
            FirstPage::Head(head) => found.push((Segment { file, path, size }, head)),
        }
    }
    Ok(found)
}

fn check_origin<F>(
    folder: &Path,
    segment: &Segment<F>,
    head: &Head,
    hub: &Hub,
) -> Result<(), Error> {
    let name = segment.path.file_name().unwrap_or_default().display();
    let what = if head.hub != hub.id {
        format!("`{name}` belongs to another hub than the tables")
    } else if head.epoch > hub.epoch {
        format!(
            "`{name}` was written at start {} of the hub, and the tables know of {} only",
            head.epoch, hub.epoch
        )
    } else {
        return Ok(());
    };
    Err(Error::Mismatch { folder: folder.to_owned(), what })
}

/// Walks the segments and gathers what the tables lack.
struct Reader {
    /// Per partition, the last group that is known.
    last: Vec<GroupNo>,
    records: Vec<Record>,
    next_frame: u64,
    last_frame: Option<(u64, Bytes)>,
}

impl Reader {
    /// Checks that a segment follows the one before (R2, R3).
    fn join<F>(&mut self, before: Option<&Used<F>>, next: &Used<F>) -> Result<(), Error> {
        if let Some(before) = before {
            let (expected, first) = (self.next_frame, next.head.first_frame);
            let is_next = next.head.number == before.head.number + 1;
            let is_released = !is_next
                && next.head.number > before.head.number
                && first > expected
                && self.records.is_empty();
            if first != expected && !is_released {
                let name = next.segment.path.file_name().unwrap_or_default().display();
                let what = format!(
                    "frame {expected} is missing or damaged, and `{name}` goes on with frame {first}"
                );
                return Err(damaged(&before.segment.path, before.end, what));
            }
        }
        self.next_frame = next.head.first_frame;
        Ok(())
    }

    /// Takes the frames of one segment; what is not zero behind them.
    fn read<F: DiskFile>(&mut self, used: &mut Used<F>) -> Result<Vec<(u64, u64)>, Error> {
        let (size, stamp) = (used.segment.size, used.stamp());
        self.last_frame = None;
        while used.end < size {
            let found =
                frame::read(&used.segment.file, used.end, size, stamp).map_err(unreadable)?;
            let Some(frame) = found.filter(|frame| frame.number == self.next_frame) else { break };
            self.take(&frame, used)?;
            self.last_frame = Some((used.end, frame.bytes.clone()));
            used.end += frame::padded(frame.bytes.len()) as u64;
            self.next_frame += 1;
        }
        search_rest(&used.segment, used.end, stamp, self.next_frame)
    }

    fn take<F>(&mut self, frame: &Frame, used: &mut Used<F>) -> Result<(), Error> {
        let misfit = |what| damaged(&used.segment.path, used.end, what);
        let number = frame.number;
        let records = frame::records(&frame.bytes)
            .ok_or_else(|| misfit(format!("frame {number} has no whole records")))?;
        for record in records {
            let PartitionId(partition) = record.partition;
            let Some(last) = self.last.get_mut(usize::from(partition)) else {
                return Err(misfit(format!(
                    "frame {number} names partition {partition}, which the hub does not have"
                )));
            };
            used.tops[usize::from(partition)] = record.group;
            if record.group <= *last {
                continue;
            }
            if record.group != last.next() {
                let (found, expected) = (record.group.0, last.next().0);
                return Err(misfit(format!(
                    "partition {partition} goes on with group {found} where {expected} is due"
                )));
            }
            *last = record.group;
            self.records.push(record);
        }
        Ok(())
    }
}

/// Looks behind the end of the frames. A whole frame there is damage (R2); all else that is not zero is told.
fn search_rest<F: DiskFile>(
    segment: &Segment<F>,
    end: u64,
    stamp: Stamp,
    due: u64,
) -> Result<Vec<(u64, u64)>, Error> {
    let mut remains: Vec<(u64, u64)> = Vec::new();
    let mut buffer = Vec::new();
    let mut at = end;
    while at < segment.size {
        buffer.resize((segment.size - at).min(SEARCH_STEP) as usize, 0);
        segment.file.read_at(&mut buffer, at).map_err(unreadable)?;
        for page in buffer.chunks(PAGE) {
            if page != BLANK {
                if let Some(found) = whole_frame(segment, page, at, stamp).map_err(unreadable)? {
                    let what = format!(
                        "frame {due} is missing or damaged, and frame {found} follows at byte {at}"
                    );
                    return Err(damaged(&segment.path, end, what));
                }
                match remains.last_mut() {
                    Some((_, to)) if *to == at => *to += PAGE as u64,
                    _ => remains.push((at, at + PAGE as u64)),
                }
            }
            at += PAGE as u64;
        }
    }
    Ok(remains)
}

fn whole_frame<F: DiskFile>(
    segment: &Segment<F>,
    page: &[u8],
    at: u64,
    stamp: Stamp,
) -> io::Result<Option<u64>> {
    if frame::plausible_length(page, segment.size - at, stamp).is_none() {
        return Ok(None);
    }
    let found = frame::read(&segment.file, at, segment.size, stamp)?;
    Ok(found.map(|frame| frame.number))
}

fn damaged(file: &Path, offset: u64, what: String) -> Error {
    Error::DamagedLog { file: file.to_owned(), offset, what }
}

fn unreadable(source: io::Error) -> Error {
    Error::Unavailable { doing: "reading the log", source: source.into() }
}
