//! Shares of the file service of Azure.
//!
//! Z1  One request gives a page with all times; a file is asked for alone only where the listing lacks a value.
//! Z2  Who may not read the share, or no longer finds it, ends the share; a directory that is gone is an error of its own.

use std::sync::Arc;

use everstep::Failure;
use everstep_azure::{
    files::{Entry, EntryKind, Error, Files, Management},
    retry::{Passing as _, Policy, retry},
};
use md5::{Digest as _, Md5};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{SHARE_LOST, lost};
use crate::{
    moment,
    pattern::Patterns,
    record::{File, Hash},
    request::Scan,
    run::Scanned,
    spool::{
        Spool,
        queue::{self, Directory, Lane, Share, Step, Trouble},
    },
};

/// Directories of one lane: a wave is as slow as its slowest lane, and more of them even that out.
const LENGTH: usize = 20;
/// The same where contents are read.
const LENGTH_WITH_HASHES: usize = 1;
/// Entries of a page.
const PAGE: u32 = 5000;
/// Entries of a page whose contents are read, so that an activity ends in reasonable time.
const PAGE_WITH_HASHES: u32 = 500;
/// Files of a page that are read at the same time.
const READ_AT_ONCE: usize = 4;
/// What one request reads of a file.
const RANGE: u64 = 4 << 20;
/// What one request is worth; the activity is tried again beyond it.
const POLICY: Policy = Policy {
    attempts: 5,
    first: std::time::Duration::from_secs(1),
    longest: std::time::Duration::from_mins(1),
    longest_asked: std::time::Duration::from_mins(5),
};

/// The kind of failures of the file service.
const KIND: &str = "FileService";

/// The names of all shares that are no snapshots.
pub(crate) async fn shares(files: &Files) -> Result<Vec<String>, Failure> {
    let (mut names, mut marker) = (Vec::new(), None::<String>);
    loop {
        let page = retry(&POLICY, || files.shares(marker.as_deref()))
            .await
            .map_err(|error| failure(&error))?;
        names.extend(live(page.shares));
        match page.next {
            Some(next) => marker = Some(next),
            None => return Ok(names),
        }
    }
}

/// The same by the management API, for identities that may not list shares at the account.
pub(crate) async fn shares_by_management(
    management: &Management,
    subscription: &str,
    group: &str,
    account: &str,
) -> Result<Vec<String>, Failure> {
    let (mut names, mut next) = (Vec::new(), None::<String>);
    loop {
        let asked = next.as_deref();
        let page = retry(&POLICY, || management.shares(subscription, group, account, asked));
        let page = page.await.map_err(|error| failure(&error))?;
        names.extend(live(page.shares));
        match page.next {
            Some(link) => next = Some(link),
            None => return Ok(names),
        }
    }
}

fn live(shares: Vec<everstep_azure::files::Share>) -> impl Iterator<Item = String> {
    let is_live =
        |share: &everstep_azure::files::Share| share.snapshot.is_none() && !share.is_deleted;
    shares.into_iter().filter(is_live).map(|share| share.name)
}

/// Directories of one lane.
pub(crate) fn length(scan: &Scan) -> usize {
    if scan.skip_hash_computation { LENGTH } else { LENGTH_WITH_HASHES }
}

/// Takes a page of each directory of a lane. One that fails takes nothing from those behind it.
pub(crate) async fn scan(
    files: &Files,
    spool: &Spool,
    share: Arc<Share>,
    lane: Lane,
) -> Result<Scanned, Failure> {
    let id = share.id;
    let waiting = spool.write(move |db| queue::waiting(db, id, lane)).await?;
    let mut failed = None;
    for directory in waiting {
        match step(files, &share, directory).await {
            Ok(step) => {
                let share = Arc::clone(&share);
                spool.write(move |db| queue::commit(db, &share, &[step])).await?;
            }
            Err(failure) if failure.kind == SHARE_LOST => return Err(failure),
            Err(failure) => failed = Some(failure),
        }
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    let has_more = spool.write(move |db| queue::is_waiting(db, id, lane)).await?;
    Ok(Scanned { has_more })
}

async fn step(files: &Files, share: &Share, directory: Directory) -> Result<Step, Failure> {
    let path = String::from_utf8_lossy(&directory.path).into_owned();
    let max = if share.scan.skip_hash_computation { PAGE } else { PAGE_WITH_HASHES };
    let moment = moment::now();
    let marker = directory.marker.clone();
    let page = retry(&POLICY, || files.list(&share.name, &path, marker.as_deref(), max)).await;
    let page = match page {
        Ok(page) => page,
        Err(error) if is_lost(&error, &path) => return Err(lost(&share.name, error)),
        Err(error) if error.is_worth_retrying() => return Err(failure(&error)),
        Err(error) => {
            let text = queue::directory_trouble(&directory.path, &error.to_string());
            let errors = vec![Trouble { name: None, text }];
            return Ok(Step { errors, ..empty(directory, moment) });
        }
    };
    let mut step = Step { next: page.next, ..empty(directory, moment) };
    let patterns = Patterns::new(share.scan.exclude_patterns.iter().map(String::as_str));
    let mut found = Vec::new();
    for entry in page.entries {
        match entry.kind {
            EntryKind::Directory => step.subdirectories.push(entry.name.into_bytes()),
            EntryKind::File { .. } if patterns.matches(&entry.name) => {}
            EntryKind::File { size } => found.push((entry, size)),
        }
    }
    (step.files, step.errors) = complete(files, share, &path, found).await?;
    Ok(step)
}

fn empty(directory: Directory, moment: i64) -> Step {
    Step {
        directory,
        next: None,
        moment,
        files: Vec::new(),
        subdirectories: Vec::new(),
        errors: Vec::new(),
        skipped: 0,
    }
}

fn is_lost(error: &Error, path: &str) -> bool {
    match error {
        Error::Denied { .. } => true,
        Error::NotFound { code, .. } => path.is_empty() || code.starts_with("Share"),
        _ => false,
    }
}

fn failure(error: &Error) -> Failure {
    let failure = Failure::new(KIND, error.to_string());
    if error.is_worth_retrying() { failure } else { failure.fatal() }
}

type Completed = (Vec<File>, Vec<Trouble>);

/// The files of a page with what the listing lacks and with their hashes, in their order.
async fn complete(
    files: &Files,
    share: &Share,
    folder: &str,
    found: Vec<(Entry, u64)>,
) -> Result<Completed, Failure> {
    let limit = share.scan.hash_bytes_max();
    let room = Arc::new(Semaphore::new(READ_AT_ONCE));
    let mut running = JoinSet::new();
    let mut done: Vec<Option<File>> = Vec::with_capacity(found.len());
    let mut troubles = Vec::new();
    for (at, (entry, size)) in found.into_iter().enumerate() {
        done.push(None);
        let is_complete = entry.last_modified.is_some() && entry.created.is_some();
        let is_read = limit.is_some_and(|limit| size <= limit);
        if is_complete && !is_read {
            let hash = if limit.is_some() { Hash::TooLarge } else { Hash::Skipped };
            done[at] = Some(file(&entry, size, hash));
            continue;
        }
        let path =
            if folder.is_empty() { entry.name.clone() } else { format!("{folder}/{}", entry.name) };
        let (files, share, room) = (files.clone(), share.name.clone(), Arc::clone(&room));
        running.spawn(async move {
            let permit = room.acquire_owned().await;
            let ended = one(&files, &share, &path, entry, size, limit).await;
            drop(permit);
            (at, ended)
        });
    }
    while let Some(ended) = running.join_next().await {
        let (at, (file, trouble)) = ended.map_err(everstep::failure)?;
        done[at] = file;
        troubles.extend(trouble);
    }
    Ok((done.into_iter().flatten().collect(), troubles))
}

/// One file that has to be asked for; with what went wrong.
async fn one(
    files: &Files,
    share: &str,
    path: &str,
    mut entry: Entry,
    size: u64,
    limit: Option<u64>,
) -> (Option<File>, Option<Trouble>) {
    let trouble = |entry: &Entry, error: &Error| Trouble {
        name: Some(entry.name.clone()),
        text: format!("Error processing file {}: {error}", entry.name),
    };
    if entry.last_modified.is_none() || entry.created.is_none() {
        match retry(&POLICY, || files.properties(share, path)).await {
            Ok(properties) => {
                entry.last_modified = entry.last_modified.or(properties.last_modified);
                entry.created = entry.created.or(properties.created);
                entry.last_write = entry.last_write.or(properties.last_write);
            }
            Err(error) => return (None, Some(trouble(&entry, &error))),
        }
    }
    match limit {
        None => (Some(file(&entry, size, Hash::Skipped)), None),
        Some(limit) if size > limit => (Some(file(&entry, size, Hash::TooLarge)), None),
        Some(_) => match hash(files, share, path, size, entry.etag.clone()).await {
            Ok(bytes) => (Some(file(&entry, size, Hash::Md5(bytes))), None),
            Err(error @ Error::NotFound { .. }) => (None, Some(trouble(&entry, &error))),
            Err(error) => (Some(file(&entry, size, Hash::Error)), Some(trouble(&entry, &error))),
        },
    }
}

/// Reads a file in ranges, each of which may be tried again.
async fn hash(
    files: &Files,
    share: &str,
    path: &str,
    size: u64,
    mut tag: Option<String>,
) -> Result<[u8; 16], Error> {
    let mut hash = Md5::new();
    let mut at = 0;
    while at < size {
        let range = at..size.min(at + RANGE);
        let wanted = tag.as_deref();
        let (bytes, found) = retry(&POLICY, || async {
            let content = files.read(share, path, Some(range.clone()), wanted).await?;
            let tag = content.properties.etag.clone();
            Ok::<_, Error>((content.bytes().await?, tag))
        })
        .await?;
        hash.update(&bytes);
        at = range.end;
        // From here on it has to be the file that the first range was of.
        tag = tag.or(found);
    }
    Ok(hash.finalize().into())
}

fn file(entry: &Entry, size: u64, hash: Hash) -> File {
    let millis = |time: Option<jiff::Timestamp>| time.map(moment::of);
    File {
        name: entry.name.clone(),
        size,
        modified: millis(entry.last_modified),
        created: millis(entry.created),
        written: millis(entry.last_write),
        hash,
    }
}
