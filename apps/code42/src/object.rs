//! One object: from its bucket into the spool.
//!
//! J1  Nothing of an object that cannot be read whole is sent. What is wrong with it is noted, and its message stays.
//! J2  Its records are on disk before the index says so. An attempt that broke off leaves a file that the next one replaces.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use everstep::Failure;
use everstep_azure::{
    logs::{Batch, Limits, Packer},
    retry::{Passing as _, Policy, retry},
};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use tokio::sync::mpsc;

use crate::{
    aws::{
        self, Aws,
        objects::{Content, Head},
    },
    read::{self, Form, Item, Pieces},
    record::{self, Writer, Written},
    run::Processed,
    send::ATTEMPTS,
    settings::MaxAge,
    spool::objects::{self, BadLine, Chunk, Fault, Object, Read, Skipped, State},
    work::Pipeline,
};

/// An object with more bad lines is not what its name says.
const BAD_LINES: usize = 10_000;
/// Pieces of content that wait for whoever reads them.
const PIECES: usize = 16;

/// What an object comes to before anything is sent.
enum Outcome {
    Read(Read),
    Skipped(Skipped, String),
    Failed(Fault, String),
}

/// Reads an object into the spool, unless it is there.
pub(crate) async fn process(pipeline: &Pipeline, object: i64) -> Result<Processed, Failure> {
    let found = pipeline
        .spool
        .with(move |db| {
            objects::try_it(db, object)?;
            objects::find(db, object)
        })
        .await?;
    match found.state {
        State::Over => return Ok(Processed { has_records: false }),
        State::Spooled => return Ok(Processed { has_records: true }),
        State::New => {}
    }
    let outcome = read_object(pipeline, &found).await?;
    let has_records = matches!(&outcome, Outcome::Read(read) if !read.chunks.is_empty());
    if !has_records {
        let spool = pipeline.spool.clone();
        pipeline.spool.with(move |_| spool.forget_records(object)).await?;
    }
    pipeline
        .spool
        .with(move |db| match outcome {
            Outcome::Read(read) => objects::note_read(db, object, &read),
            Outcome::Skipped(skipped, cause) => objects::note_skipped(db, object, skipped, &cause),
            Outcome::Failed(fault, cause) => objects::note_failed(db, object, fault, &cause),
        })
        .await?;
    Ok(Processed { has_records })
}

async fn read_object(pipeline: &Pipeline, object: &Object) -> Result<Outcome, Failure> {
    let ready = pipeline.ready()?;
    let settings = &pipeline.settings;
    let Object { bucket, notice_key, .. } = object;
    if !settings.buckets.allow(bucket) {
        let cause = format!(
            "the bucket `{bucket}` is not among those of C42_bucket_name and C42_ALLOWED_BUCKETS"
        );
        return Ok(Outcome::Failed(Fault::Object, cause));
    }
    let last = object.keys.last().unwrap_or(notice_key);
    let Some(form) = Form::of(last) else {
        tracing::warn!(target: crate::LOG, bucket, key = notice_key, "an object of an unsupported type is skipped");
        return Ok(Outcome::Skipped(
            Skipped::Other,
            "unsupported: neither .gz nor .json".to_owned(),
        ));
    };
    let (key, head) = match head(&ready.aws, bucket, &object.keys).await {
        Ok(found) => found,
        Err(error) => return Ok(failed(&error)),
    };
    let began = Timestamp::from_millisecond(object.run_began).unwrap_or_default();
    if let (Some(oldest), Some(changed)) = (oldest(settings.max_age, began), head.changed)
        && changed <= oldest
    {
        let cause = format!("old: last changed {changed}");
        return Ok(Outcome::Skipped(Skipped::Old, cause));
    }
    if head.bytes == 0 {
        return Ok(Outcome::Skipped(Skipped::Other, "empty".to_owned()));
    }
    let policy = policy();
    let content = ready.aws.content(bucket, &key, &head, policy, settings.object_silence);
    let content = match content {
        Ok(content) => content,
        Err(error) => return Ok(failed(&error)),
    };
    let origin = (bucket.as_str(), notice_key.as_str(), object.time.as_deref());
    let writer = Writer::new(settings.format, origin, settings.max_age, began);
    let path = pipeline.spool.records(object.id);
    let limits = ready.sink.limits(settings);
    let spooling = Spooling { form, writer, path, limits, bytes_max: settings.object_bytes };
    spool(content, spooling).await
}

fn policy() -> Policy {
    Policy { attempts: ATTEMPTS, ..Policy::default() }
}

fn failed(error: &aws::Error) -> Outcome {
    let fault = if error.is_worth_retrying() { Fault::Service } else { Fault::Object };
    Outcome::Failed(fault, error.to_string())
}

/// The first key under which there is an object. The first error stays, unless the last one is worth more.
async fn head(aws: &Aws, bucket: &str, keys: &[String]) -> Result<(String, Head), aws::Error> {
    let mut first = None;
    for key in keys {
        match retry(&policy(), || aws.head(bucket, key)).await {
            Ok(head) => return Ok((key.clone(), head)),
            Err(error) if error.is_absent() => {
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(first.unwrap_or_else(|| aws::Error::Address("a notice without a key".to_owned())))
}

/// Objects last changed then or before are too old for a run that began so.
pub(crate) fn oldest(max_age: MaxAge, began: Timestamp) -> Option<Timestamp> {
    match max_age {
        MaxAge::Off => None,
        MaxAge::Of(age) => Some(record::before(began, age)),
        MaxAge::OldFiles => {
            let day = began.to_zoned(TimeZone::UTC).start_of_day().ok()?;
            day.timestamp().checked_sub(24.hours()).ok()
        }
    }
}

/// What code that waits needs to read an object.
struct Spooling {
    form: Form,
    writer: Writer,
    path: PathBuf,
    limits: Limits,
    bytes_max: u64,
}

/// Content goes to a thread that may wait, by way of a few pieces.
async fn spool(mut content: Content, spooling: Spooling) -> Result<Outcome, Failure> {
    let (give, take) = mpsc::channel(PIECES);
    let reading = tokio::task::spawn_blocking(move || spooling.run(Pieces::new(take)));
    let mut broken = None;
    loop {
        let piece = match content.next().await {
            Ok(None) => break,
            Ok(Some(piece)) => Ok(piece),
            Err(error) => {
                let text = io::Error::other(error.to_string());
                broken = Some(error);
                Err(text)
            }
        };
        // Whoever read it has seen enough.
        if give.send(piece).await.is_err() || broken.is_some() {
            break;
        }
    }
    drop(give);
    let read = reading.await.map_err(everstep::failure)?;
    Ok(match (read, broken) {
        (_, Some(error)) => failed(&error),
        (Ok(read), None) => Outcome::Read(read),
        (Err(Trouble::Spool(error)), None) => {
            return Err(Failure::new("Spool", format!("the spool cannot be written: {error}")));
        }
        (Err(Trouble::Content(error)), None) => {
            Outcome::Failed(Fault::Object, format!("the object cannot be read: {error}"))
        }
    })
}

/// Why an object is not in the spool.
enum Trouble {
    Content(io::Error),
    Spool(io::Error),
}

impl Spooling {
    fn run(mut self, content: Pieces) -> Result<Read, Trouble> {
        let mut out = Records::create(&self.path).map_err(Trouble::Spool)?;
        let mut packer = Packer::new(self.limits);
        let mut read = Read::default();
        let mut full_disk = None;
        let ended = read::items(self.form, content, self.bytes_max, &mut |item| {
            let batch = take(&item, &mut self.writer, &mut packer, &mut read)?;
            match batch.map(|batch| out.add(&batch)).transpose() {
                Ok(_) => Ok(()),
                Err(error) => {
                    full_disk = Some(error);
                    Err(io::Error::other("it cannot be spooled"))
                }
            }
        });
        if let Some(error) = full_disk {
            return Err(Trouble::Spool(error));
        }
        ended.map_err(Trouble::Content)?;
        read.cut_fields = packer.cut_fields();
        if let Some(batch) = packer.finish() {
            out.add(&batch).map_err(Trouble::Spool)?;
        }
        read.chunks = out.finish().map_err(Trouble::Spool)?;
        Ok(read)
    }
}

/// Makes a record of an item; gives the batch that it filled.
fn take(
    item: &Item<'_>,
    writer: &mut Writer,
    packer: &mut Packer,
    read: &mut Read,
) -> io::Result<Option<Batch>> {
    let (number, text, cause) = match *item {
        Item::Bad { number, text, cause } => (number, text, cause.to_owned()),
        Item::Value { number, json } => match writer.write(json) {
            Ok(Written::Old) => {
                read.old_records += 1;
                return Ok(None);
            }
            Ok(Written::Record(record)) => match packer.push(record) {
                Ok(batch) => return Ok(batch),
                Err(error) => (number, json, error.to_string()),
            },
            Err(cause) => (number, json, cause),
        },
    };
    let text = String::from_utf8_lossy(read::beginning(text)).into_owned();
    read.bad.push(BadLine { number, text, cause });
    if read.bad.len() > BAD_LINES {
        let text = format!(
            "more than {BAD_LINES} of its lines are bad; line {number} is the last looked at"
        );
        return Err(io::Error::other(text));
    }
    Ok(None)
}

/// The file with the records of an object, as it grows.
struct Records {
    file: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
    length: u64,
    chunks: Vec<Chunk>,
}

impl Records {
    fn create(path: &Path) -> io::Result<Self> {
        let part = path.with_extension("part");
        let file = BufWriter::with_capacity(256 << 10, File::create(&part)?);
        Ok(Self { file, part, path: path.to_owned(), length: 0, chunks: Vec::new() })
    }

    fn add(&mut self, batch: &Batch) -> io::Result<()> {
        self.file.write_all(batch.json())?;
        let length = batch.json().len() as u64;
        let number = self.chunks.len() as u32;
        let (start, records) = (self.length, batch.records() as u32);
        self.chunks.push(Chunk { number, start, length: length as u32, records });
        self.length += length;
        Ok(())
    }

    fn finish(self) -> io::Result<Vec<Chunk>> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(&self.part, &self.path)?;
        let folder = self.path.parent().expect("it lies in a folder");
        File::open(folder)?.sync_all()?;
        Ok(self.chunks)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn today_is_that_of_the_run() {
        let oldest = |began| oldest(MaxAge::OldFiles, time(began));
        assert_eq!(oldest("2026-11-21T00:00:00Z"), Some(time("2026-11-20T00:00:00Z")));
        assert_eq!(oldest("2026-11-21T23:59:59Z"), Some(time("2026-11-20T00:00:00Z")));
        assert_eq!(oldest("2026-11-22T00:00:00Z"), Some(time("2026-11-21T00:00:00Z")));
    }

    #[test]
    fn another_age_can_be_set_or_none() {
        let began = time("2026-11-21T12:00:00Z");
        assert_eq!(oldest(MaxAge::Off, began), None);
        let hour = oldest(MaxAge::Of(Duration::from_hours(1)), began);
        assert_eq!(hour, Some(time("2026-11-21T11:00:00Z")));
    }
}
