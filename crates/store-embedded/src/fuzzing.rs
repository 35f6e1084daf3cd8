//! What the fuzz targets and the tests beside them run: whatever a file of the log holds, reading it ends, and in an answer.
//!
//! Checksums would keep a fuzzer out, so [`frames`] and [`head`] write right ones around its bytes.

use std::path::{Path, PathBuf};

use everstep_model::{GroupNo, HubId};
use everstep_store::Hub;

use crate::{
    disk::{Disk, DiskFile, SimulatedDisk},
    log::fuzzing::{frame, sealed_head, used_head},
};

const HUB: HubId = HubId([7; 16]);

/// Any bytes as a file of the log.
pub fn segment(bytes: &[u8]) {
    scan(&[bytes]);
}

/// Any bytes as the fields of a head, in front of a file of zeros.
pub fn head(bytes: &[u8]) {
    scan(&[&sealed_head(bytes), &[0; 8192]]);
}

/// Any bytes as the records of frames; the first byte says how many frames they are.
pub fn frames(bytes: &[u8]) {
    let Some((&count, bytes)) = bytes.split_first() else { return };
    let pieces = bytes.chunks((bytes.len() / (usize::from(count % 4) + 1)).max(1));
    let frames: Vec<Vec<u8>> =
        pieces.zip(1..).map(|(piece, number)| frame(piece, number, HUB)).collect();
    let size = 4096 + frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
    let head = used_head(HUB, size);
    let parts: Vec<&[u8]> =
        std::iter::once(head.as_slice()).chain(frames.iter().map(Vec::as_slice)).collect();
    scan(&parts);
}

fn scan(parts: &[&[u8]]) {
    let disk = SimulatedDisk::new();
    let folder = Path::new("/hub");
    let file = disk.create(&PathBuf::from("/hub/log-0000000000000001.seg"));
    let file = file.expect("an empty disk takes a file");
    let mut at = 0;
    for part in parts {
        file.write_at(part, at).expect("the disk has room");
        at += part.len() as u64;
    }
    let hub = Hub { id: HUB, name: String::new(), partitions: 2, epoch: 1 };
    // An error is an answer.
    drop(crate::log::fuzzing::scan(&disk, folder, &hub, &[GroupNo(0), GroupNo(0)]));
}
