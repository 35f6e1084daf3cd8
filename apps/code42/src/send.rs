//! Records on their way out of the spool.
//!
//! S1  What a request brought is noted before the next one is sent: after a crash only the chunk whose answer was lost is
//!     sent again.
//! S2  A chunk that is not accepted after [`ATTEMPTS`] attempts stays, with those behind it, for the message's next turn.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use everstep::Failure;
use everstep_azure::{
    collector::Collector,
    identity::Identity,
    logs::{Batch, Ingestion, Limits, UploadError},
    retry::{Passing, Policy, retry},
};

use crate::{
    run::{Sending, Sent},
    settings::{self, BadSetting, Settings},
    spool::{
        self,
        objects::{self, Chunk, Fault},
    },
    work::Pipeline,
};

/// Attempts at one chunk: the first and three more.
pub(crate) const ATTEMPTS: u32 = 4;
/// One activity sends for no longer; the next goes on.
const TIME: Duration = Duration::from_mins(1);

/// Where records go.
#[derive(Debug, Clone)]
pub(crate) enum Sink {
    Ingestion(Ingestion),
    Collector(Collector),
    Folder(PathBuf),
}

/// Why a chunk was not accepted.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error("the records cannot be written to {path}: {source}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("the records are gone from the spool: {0}")]
    Gone(io::Error),
}

impl Error {
    /// Who is at fault. A service that refuses for its configuration is no reason to put a message aside.
    fn fault(&self) -> Fault {
        match self {
            Self::Gone(_)
            | Self::Upload(
                UploadError::TooLarge { .. } | UploadError::Refused { status: 400, .. },
            ) => Fault::Object,
            Self::Upload(_) | Self::Folder { .. } => Fault::Service,
        }
    }
}

impl Passing for Error {
    fn is_worth_retrying(&self) -> bool {
        matches!(self, Self::Upload(error) if error.is_worth_retrying())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Upload(error) => error.retry_after(),
            Self::Folder { .. } | Self::Gone(_) => None,
        }
    }
}

impl Sink {
    pub(crate) fn new(
        sink: &settings::Sink,
        identity: &Identity,
        http: &reqwest::Client,
        spool: &Path,
    ) -> Result<Self, BadSetting> {
        Ok(match sink {
            settings::Sink::Ingestion { endpoint, rule, stream } => {
                let (identity, http) = (identity.clone(), http.clone());
                let logs = Ingestion::new(endpoint, rule, stream, identity, http);
                Self::Ingestion(logs.map_err(BadSetting::of_sink)?)
            }
            settings::Sink::Collector { workspace, key, table, endpoint } => {
                let collector = Collector::new(workspace, &key.0, table, http.clone());
                let collector = collector.and_then(|collector| match endpoint {
                    Some(endpoint) => collector.at(endpoint),
                    None => Ok(collector),
                });
                Self::Collector(collector.map_err(BadSetting::of_sink)?)
            }
            settings::Sink::Local { folder } => {
                Self::Folder(folder.clone().unwrap_or_else(|| spool.join("sent")))
            }
        })
    }

    /// What one request may hold.
    pub(crate) fn limits(&self, settings: &Settings) -> Limits {
        let limits = match self {
            Self::Ingestion(_) => Limits::LOGS_INGESTION,
            Self::Collector(_) => Limits::DATA_COLLECTOR,
            Self::Folder(_) => Limits { field_bytes: usize::MAX, ..Limits::DATA_COLLECTOR },
        };
        limits.records(settings.chunk_size)
    }

    async fn take(
        &self,
        object: i64,
        number: u32,
        batch: &Batch,
        time: Duration,
    ) -> Result<(), Error> {
        let upload = async {
            match self {
                Self::Ingestion(logs) => logs.upload(batch).await,
                Self::Collector(logs) => logs.upload(batch).await,
                Self::Folder(_) => Ok(()),
            }
        };
        if let Self::Folder(folder) = self {
            let path = folder.join(format!("{object:08}-{number:06}.json"));
            let (to, json) = (path.clone(), batch.json().clone());
            let written = tokio::task::spawn_blocking(move || write_whole(&to, &json)).await;
            let written = written.map_err(io::Error::other).flatten();
            return written.map_err(|source| Error::Folder { path, source });
        }
        let late = |_| UploadError::Unreachable {
            host: "the log service".to_owned(),
            reason: format!("it took longer than {} s", time.as_secs()),
        };
        Ok(tokio::time::timeout(time, upload).await.map_err(late)??)
    }
}

/// A file that is there whole or not at all. The same chunk gives the same file.
fn write_whole(path: &Path, json: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("it lies in a folder");
    std::fs::create_dir_all(folder)?;
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(json)?;
    file.sync_all()?;
    std::fs::rename(part, path)?;
    File::open(folder)?.sync_all()
}

/// Sends the chunks of an object that were not accepted yet.
pub(crate) async fn send(pipeline: &Pipeline, sending: Sending) -> Result<Sent, Failure> {
    let Sending { object, due } = sending;
    let ready = pipeline.ready()?;
    let (began, mut records) = (Instant::now(), 0);
    loop {
        let next = pipeline.spool.with(move |db| objects::next_chunk(db, object)).await?;
        let Some(chunk) = next else { break };
        if began.elapsed() > TIME || (records > 0 && spool::now() >= due) {
            return Ok(Sent { records, has_more: true, failed: false });
        }
        if let Err(error) = send_chunk(pipeline, &ready.sink, object, chunk).await {
            let (fault, cause) = (error.fault(), error.to_string());
            tracing::warn!(target: crate::LOG, object, chunk = chunk.number, "a chunk was not accepted: {cause}");
            pipeline.spool.with(move |db| objects::note_failed(db, object, fault, &cause)).await?;
            return Ok(Sent { records, has_more: false, failed: true });
        }
        records += u64::from(chunk.records);
        pipeline.spool.with(move |db| objects::note_sent(db, object, chunk)).await?;
    }
    let spool = pipeline.spool.clone();
    pipeline.spool.with(move |_| spool.forget_records(object)).await?;
    Ok(Sent { records, has_more: false, failed: false })
}

async fn send_chunk(
    pipeline: &Pipeline,
    sink: &Sink,
    object: i64,
    chunk: Chunk,
) -> Result<(), Error> {
    let path = pipeline.spool.records(object);
    let read = tokio::task::spawn_blocking(move || read(&path, chunk)).await;
    let json = read.map_err(io::Error::other).flatten().map_err(Error::Gone)?;
    let batch = Batch::from_json(json, chunk.records as usize);
    let time = pipeline.settings.upload_time;
    let policy = Policy { attempts: ATTEMPTS, ..Policy::default() };
    retry(&policy, || sink.take(object, chunk.number, &batch, time)).await
}

fn read(path: &Path, chunk: Chunk) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(chunk.start))?;
    let mut json = vec![0; chunk.length as usize];
    file.read_exact(&mut json)?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use everstep_azure::http_client;

    use super::*;
    use crate::settings::Hidden;

    fn said(sink: &settings::Sink) -> String {
        let http = http_client();
        let identity = Identity::from_settings(|_| None, http.clone()).unwrap();
        Sink::new(sink, &identity, &http, Path::new("spool")).unwrap_err().to_string()
    }

    fn collector(workspace: &str, key: &str, endpoint: Option<&str>) -> settings::Sink {
        settings::Sink::Collector {
            workspace: workspace.to_owned(),
            key: Hidden(key.to_owned()),
            table: "Code42Logs_CL".to_owned(),
            endpoint: endpoint.map(str::to_owned),
        }
    }

    #[test]
    fn what_a_client_cannot_use_is_said_with_the_settings_name() {
        let ingestion = |endpoint: &str, rule: &str, stream: &str| settings::Sink::Ingestion {
            endpoint: endpoint.to_owned(),
            rule: rule.to_owned(),
            stream: stream.to_owned(),
        };
        let dce = "https://dce.example.net";
        for (sink, expected) in [
            (
                ingestion("http://dce.example.net", "dcr-1", "Custom-A_CL"),
                "the setting LOG_ANALYTICS_DCE_ENDPOINT is `http://dce.example.net`; write it with `https://`: secrets do not travel in the clear",
            ),
            (
                ingestion(dce, "rule", "Custom-A_CL"),
                "the setting LOG_ANALYTICS_DCR_IMMUTABLE_ID is `rule`; write the immutable id of the rule, `dcr-...`, as its JSON view in the portal shows it",
            ),
            (
                ingestion(dce, "dcr-1", "A_CL"),
                "the setting LOG_ANALYTICS_STREAM_NAME is `A_CL`; write the stream as the rule declares it, for example `Custom-FileInventory_CL`",
            ),
            (
                collector("a b", "a2V5", None),
                "the setting LOG_ANALYTICS_WORKSPACE_ID is `a b`; write the workspace's id, which has the form of a GUID",
            ),
            (
                collector("a-b", "half a key", None),
                "the setting LOG_ANALYTICS_SHARED_KEY is `(hidden)`; copy the workspace's primary or secondary key whole, with the `=` signs at its end",
            ),
            (
                collector("a-b", "a2V5", Some("http://other.example.net")),
                "the setting LOG_ANALYTICS_ENDPOINT is `http://other.example.net`; write it with `https://`: secrets do not travel in the clear",
            ),
        ] {
            assert_eq!(said(&sink), expected);
        }
    }
}
