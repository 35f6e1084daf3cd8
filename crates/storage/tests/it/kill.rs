//! What was acknowledged survives the death of the process. The process is a child: this program once more, told by its
//! environment to put messages and blobs until it is killed.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use everstep_storage::{
    client::{ListBlobs, PutBlob, PutMessage},
    service::{Service, ServiceOptions},
};

const FOLDER: &str = "EVERSTEP_STORAGE_FOLDER";
const ROUND: &str = "EVERSTEP_STORAGE_ROUND";
const WRITERS: usize = 8;
const ACKNOWLEDGED: usize = 300;

/// Not a test of its own: what a child process does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) else { return };
    let service = Service::open(&PathBuf::from(folder), ServiceOptions::default()).unwrap();
    service.queues().create("acknowledged").await.unwrap();
    service.blobs().create_container("acknowledged").await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(service.clone(), format!("{round}-{writer}"), writer)))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Each acknowledgement is a line of its own, written at once. The first writer puts blobs.
async fn write(service: Service, name: String, writer: usize) {
    let (queues, blobs) = (service.queues(), service.blobs());
    for number in 0_u64.. {
        let text = format!("{name}-{number}");
        if writer == 0 {
            let how = PutBlob::default();
            blobs.put("acknowledged", &text, content(&text), &how).await.unwrap();
        } else {
            queues.put("acknowledged", &text, PutMessage::default()).await.unwrap();
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {text}").unwrap();
        out.flush().unwrap();
    }
}

/// Some of them go into a row, some into a file.
fn content(text: &str) -> Bytes {
    let copies = if text.ends_with(['1', '5']) { 150_000 } else { 3 };
    Bytes::from(text.repeat(copies))
}

/// Runs a child until it has acknowledged enough, kills it, and returns all that it acknowledged.
fn run(folder: &Path, round: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    // The last line may be cut; its end says whether it is whole.
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some(text) = line.strip_suffix('\n').and_then(|line| line.strip_prefix("ack ")) {
            acknowledged.push(text.to_owned());
        }
        if acknowledged.len() == ACKNOWLEDGED {
            child.kill().unwrap();
        }
        line.clear();
    }
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "only a signal ends it");
    acknowledged
}

#[tokio::test]
#[cfg(unix)]
async fn everything_acknowledged_before_a_kill_is_there_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let acknowledged: Vec<_> = (0..3).flat_map(|round| run(folder.path(), round)).collect();
    assert!(acknowledged.len() >= 3 * ACKNOWLEDGED);
    let service = Service::open(folder.path(), ServiceOptions::default()).unwrap();
    let (queues, blobs) = (service.queues(), service.blobs());
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let messages = queues.get("acknowledged", 32, Duration::from_hours(1)).await.unwrap();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            *found.entry(message.text).or_default() += 1;
        }
    }
    for listed in blobs.list("acknowledged", &ListBlobs::default()).await.unwrap().blobs {
        let (_, read) = blobs.get("acknowledged", &listed.name).await.unwrap();
        assert!(read == content(&listed.name), "{}", listed.name);
        *found.entry(listed.name).or_default() += 1;
    }
    for text in &acknowledged {
        assert_eq!(found.get(text), Some(&1), "{text}");
    }
    assert!(found.values().all(|count| *count == 1));
    assert!(acknowledged.iter().any(|text| text.contains("-0-")), "blobs were among them");
}
