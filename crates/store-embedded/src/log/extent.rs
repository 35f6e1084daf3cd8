//! Reading frames again that are known to be durable, beside the one who writes.

use std::path::PathBuf;

use everstep_store::{Error, Record};

use super::frame::{self, PAGE, Stamp};
use crate::disk::Disk;

/// The frames of one segment, up to where they were durable.
#[derive(Debug)]
pub(crate) struct Extent {
    pub(super) path: PathBuf,
    pub(super) end: u64,
    pub(super) stamp: Stamp,
}

impl Extent {
    /// Hands over the records of each frame, in order.
    pub(crate) fn read<D: Disk>(
        &self,
        disk: &D,
        mut take: impl FnMut(Vec<Record>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let unreadable = |source: std::io::Error| Error::Unavailable {
            doing: "reading the log",
            source: source.into(),
        };
        let file = disk.open(&self.path).map_err(unreadable)?;
        let mut at = PAGE as u64;
        while at < self.end {
            let found = frame::read(&file, at, self.end, self.stamp).map_err(unreadable)?;
            let records = found.and_then(|frame| {
                let length = frame::padded(frame.bytes.len());
                Some((frame::records(&frame.bytes)?, length))
            });
            let Some((records, length)) = records else {
                let what = "a frame that was durable cannot be read any more".to_owned();
                return Err(Error::DamagedLog { file: self.path.clone(), offset: at, what });
            };
            take(records)?;
            at += length as u64;
        }
        Ok(())
    }
}
