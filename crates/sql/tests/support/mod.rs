//! A hub with instances made of events, folded or not.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::path::PathBuf;

use bytes::Bytes;
use everstep_engine::Instance;
use everstep_model::{
    Commit, Event, EventId, ExecutionId, Failure, GroupNo, Iid, InstanceId, Kind, Message,
    NewExecution, Outcome, PartitionId, Purged, Source, Started, Tags, Timestamp, Value, stored,
};
use everstep_sql::{Answer, Error, Limits, Overlay, Session};
use everstep_store::{Chunk, Fold, FoldedRow, HubOptions, Row, Tables as _, Wake, chunk};
use everstep_store_embedded::sqlite::SqliteTables;
use serde_json::Value as Json;
use tempfile::TempDir;

/// 2026-11-21T04:05:00Z, and a number of seconds.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_795_233_900 + seconds) * 1000)
}

pub(crate) fn payload(text: &str) -> Value {
    Value::from(text)
}

/// An instance and what it has to be folded.
pub(crate) struct Making {
    pub(crate) instance: Instance,
    events: Vec<u8>,
    first: u32,
    count: u32,
    pub(crate) payloads: Vec<(everstep_model::PayloadRef, Bytes)>,
}

impl Making {
    pub(crate) fn new(n: u64, id: &str) -> Self {
        let iid = Iid::new(PartitionId(0), n);
        let instance = Instance::new(iid, InstanceId::from_stored(id), at(n.cast_signed()));
        Self { instance, events: Vec::new(), first: 0, count: 0, payloads: Vec::new() }
    }

    /// An orchestration that was started with an input and took its first turn.
    pub(crate) fn started(n: u64, id: &str, name: &str, input: &str) -> Self {
        let mut making = Self::new(n, id);
        making.begin(n.cast_signed(), name, input);
        making
    }

    pub(crate) fn begin(&mut self, seconds: i64, name: &str, input: &str) {
        let execution = self.instance.execution + 1;
        let execution_id = ExecutionId::new(&format!("e{execution}"));
        let started = Started {
            at: at(seconds),
            name: name.to_owned(),
            version: String::new(),
            input: payload(input),
            execution_id: execution_id.clone(),
            parent: None,
            tags: Tags::new(),
            scheduled: None,
            trace: None,
        };
        let begin = Some(NewExecution { execution, execution_id, fresh: true });
        (self.events, self.first, self.count) = (Vec::new(), 0, 0);
        let events =
            vec![Event::Started(Box::new(started)), Event::TurnStarted { now: at(seconds) }];
        self.commit(Commit { begin, events, now: at(seconds), ..Commit::default() });
    }

    pub(crate) fn turn(&mut self, seconds: i64, events: Vec<Event>) {
        let events = [vec![Event::TurnStarted { now: at(seconds) }], events].concat();
        self.commit(Commit { events, now: at(seconds), ..Commit::default() });
    }

    pub(crate) fn accept(&mut self, body: everstep_model::Body) {
        let message = Message { from: Source::Local, body };
        let now = self.instance.updated;
        self.commit(Commit { accepted: vec![message], now, ..Commit::default() });
    }

    pub(crate) fn commit(&mut self, mut commit: Commit) {
        commit.iid = self.instance.iid;
        self.instance.apply(&commit);
        for event in &commit.events {
            stored::put_event(&mut self.events, event);
            self.count += 1;
        }
    }

    /// What the next fold brings of it.
    pub(crate) fn folded(&self) -> FoldedRow {
        let instance = &self.instance;
        let chunk = Chunk {
            iid: instance.iid,
            execution: instance.execution,
            seq: self.first,
            count: self.count,
            bytes: chunk::pack(&self.events),
        };
        let chunks = if self.count > 0 { vec![chunk] } else { Vec::new() };
        let keep_from = instance.execution;
        FoldedRow { row: row(instance), keep_from, chunks, payloads: self.payloads.clone() }
    }

    /// The same, and from here on only what is new.
    pub(crate) fn hand_over(&mut self) -> FoldedRow {
        let folded = self.folded();
        self.first += self.count;
        (self.events, self.count) = (Vec::new(), 0);
        folded
    }
}

fn row(instance: &Instance) -> Row {
    let is_entity = instance.id.kind() == Kind::Entity;
    let outstanding = !instance.inbox.is_empty() || !instance.tasks.is_empty();
    Row {
        iid: instance.iid,
        id: instance.id.clone(),
        execution: instance.execution,
        execution_id: instance.execution_id.clone(),
        name: instance.name.clone(),
        version: instance.rare.version.clone(),
        status: instance.status,
        created: instance.created,
        updated: instance.updated,
        completed: instance.completed,
        parent: instance.rare.parent.as_ref().map(|parent| parent.instance.clone()),
        tags: instance.rare.tags.clone(),
        wake: match instance.next_due() {
            _ if outstanding => Wake::Now,
            Some(at) => Wake::At(at),
            None => Wake::Never,
        },
        input: (!is_entity).then(|| instance.input.clone()),
        output: if is_entity { instance.rare.state.clone() } else { instance.output.clone() },
        custom_status: instance.rare.custom_status.clone(),
        failure: instance.rare.failure.clone(),
        live: instance.encode_live().into(),
    }
}

/// Tables on disk.
pub(crate) struct Hub {
    pub(crate) folder: TempDir,
    pub(crate) tables: SqliteTables,
    group: u64,
}

impl Hub {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (tables, _) = SqliteTables::open(folder.path(), &HubOptions::new("sql", 1)).unwrap();
        Self { folder, tables, group: 0 }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    pub(crate) fn fold(&mut self, rows: Vec<FoldedRow>, purged: Vec<Purged>) {
        self.group += 1;
        let (partition, upto) = (PartitionId(0), GroupNo(self.group));
        self.tables.fold(&[Fold { partition, upto, meta: Bytes::new(), purged, rows }]).unwrap();
    }

    pub(crate) fn session(&self, overlay: &Overlay) -> Session {
        Session::open(&self.file(), overlay).unwrap()
    }

    /// The rows of a query, as lines of text.
    pub(crate) fn lines(&self, sql: &str) -> Vec<String> {
        lines(&self.ask(sql))
    }

    pub(crate) fn ask(&self, sql: &str) -> Answer {
        self.session(&Overlay::default()).query(sql, &[], Limits::default()).unwrap()
    }

    pub(crate) fn refusal(&self, sql: &str) -> String {
        let found: Result<Answer, Error> =
            self.session(&Overlay::default()).query(sql, &[], Limits::default());
        found.unwrap_err().to_string()
    }
}

pub(crate) fn overlay(rows: Vec<FoldedRow>) -> Overlay {
    Overlay { rows, purged: Vec::new() }
}

pub(crate) fn lines(answer: &Answer) -> Vec<String> {
    let text = |value: &Json| match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    answer.rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
}

pub(crate) fn task(id: u32, name: &str, input: &str) -> Event {
    let (id, name) = (EventId(id), name.to_owned());
    Event::TaskScheduled { id, name, input: payload(input), tags: Tags::new(), origin: None }
}

pub(crate) fn done(task: u32, output: &str) -> Event {
    Event::TaskEnded { task: EventId(task), outcome: Outcome::Completed(payload(output)) }
}

pub(crate) fn broke(task: u32, kind: &str, message: &str) -> Event {
    let failure = Failure::new(kind, message).caused_by(Failure::new("Io", "no route"));
    Event::TaskEnded { task: EventId(task), outcome: Outcome::Failed(Box::new(failure)) }
}

pub(crate) fn raised(name: &str, input: &str) -> Event {
    Event::EventRaised { name: name.to_owned(), input: payload(input), key: String::new() }
}

pub(crate) fn completed(output: &str) -> Event {
    Event::Completed { output: payload(output) }
}
