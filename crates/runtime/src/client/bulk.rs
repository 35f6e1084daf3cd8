//! Verbs for many instances: at once, page by page, or as a job that goes on by itself.
//!
//! M1  A page is harmless to repeat: a verb that was carried out does not fit a second time, or changes nothing.
//! M2  A job is an orchestration with a made name; [`crate::builtin`] runs it. It leaves jobs alone, itself included.
//! M3  The form of a [`Job`] is stored in histories: names in it do not change.

use std::{collections::BTreeMap, time::Duration};

use everstep_model::{InstanceId, Kind, PartitionId, Status, Timestamp, Value};
use everstep_store::{Cursor, Filter, Order, Row};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{Client, Error, StartOptions};
use crate::partition::{Request, Response};

/// Instances that a page has at most.
pub(super) const PAGE: usize = 1_000;
/// Instances of a page that are told at the same time.
const AT_ONCE: usize = 64;
/// How long a busy host is given before a page gives up.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);
/// How long a job counts what it has before it.
const COUNTING: Duration = Duration::from_secs(1);

/// The orchestrator of jobs.
pub(crate) const JOB: &str = "everstep.bulk";

/// A verb for all instances that match a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bulk {
    /// End them, with these words.
    Terminate(String),
    /// Hold them.
    Suspend(String),
    /// Let them go on.
    Resume(String),
    /// Run their failed parts again.
    Rewind(String),
    /// Remove those that have ended.
    Purge,
}

/// A job between two pages: its input, and what each page hands to the next.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Job {
    verb: Verb,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    filter: Sieve,
    /// The last instance that was handled, by creation in ticks and number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<(i64, u64)>,
    #[serde(default)]
    done: u64,
    /// Those that the verb does not fit.
    #[serde(default)]
    skipped: u64,
    #[serde(default)]
    failed: u64,
    /// How many there were at the beginning, if they could be counted in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(default)]
    pub(crate) next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Verb {
    Terminate,
    Suspend,
    Resume,
    Rewind,
    Purge,
}

/// What a job does next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Next {
    /// Another page.
    #[default]
    Page,
    /// The same after a while: the host is busy or stops.
    Pause,
    /// Nothing.
    End,
}

/// A filter as it is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Sieve {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<SieveKind>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_from: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_to: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_from: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_to: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_contains: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum SieveKind {
    Orchestration,
    Entity,
}

/// What became of the rows of a page.
#[derive(Debug, Default)]
struct Told {
    done: u64,
    skipped: u64,
    failed: u64,
    /// How many rows were handled, from the first.
    handled: usize,
    /// Why the rest was not.
    stopped: Option<Error>,
}

impl Client {
    /// Does something to every instance that matches; returns to how many. Instances that the verb does not fit are
    /// left alone. A call that is cut short has done a part; repeating it does the rest.
    pub async fn bulk(&self, filter: &Filter, verb: &Bulk) -> Result<u64, Error> {
        let (mut after, mut count) = (None, 0);
        loop {
            let (rows, next) = self.rows(filter, Order::OldestFirst, after, PAGE).await?;
            let told = self.tell_all(&rows, verb).await;
            count += told.done;
            if let Some(error) = told.stopped {
                return Err(error);
            }
            after = next;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    /// Starts a job that does something to every instance that matches, and survives the end of the host. It is an
    /// orchestration: its custom status tells how far it is, its output the totals, and terminating it stops it.
    pub async fn start_bulk(&self, filter: &Filter, verb: &Bulk) -> Result<InstanceId, Error> {
        let job = Job::new(filter, verb);
        self.start(JOB, job.encode(), StartOptions::default()).await
    }

    /// One page of a job.
    pub(crate) async fn bulk_page(&self, mut job: Job) -> Job {
        let (filter, verb) = (job.filter.filter(), job.verb());
        if job.after.is_none() && job.total.is_none() {
            let counted = self.count(&filter, COUNTING).await;
            job.total = counted.ok().filter(|(_, exact)| *exact).map(|(count, _)| count);
        }
        job.next = Next::Pause;
        let Ok((rows, next)) = self.rows(&filter, Order::OldestFirst, job.cursor(), PAGE).await
        else {
            return job;
        };
        let last = |rows: &[Row]| rows.last().map(|row| (row.created.ticks(), row.iid.0));
        let (jobs, others): (Vec<_>, Vec<_>) = rows.iter().cloned().partition(is_job);
        if let Some(total) = &mut job.total {
            *total = total.saturating_sub(jobs.len() as u64);
        }
        let told = self.tell_all(&others, &verb).await;
        job.done += told.done;
        job.skipped += told.skipped;
        job.failed += told.failed;
        match told.stopped {
            Some(error) => {
                tracing::warn!(%error, "a bulk job waits");
                job.after = last(&others[..told.handled]).or(job.after);
            }
            None => {
                job.after = last(&rows).or(job.after);
                job.next = if next.is_some() { Next::Page } else { Next::End };
            }
        }
        job
    }

    async fn tell_all(&self, rows: &[Row], verb: &Bulk) -> Told {
        if *verb == Bulk::Purge {
            return self.purge_rows(rows).await;
        }
        let mut told = Told::default();
        for rows in rows.chunks(AT_ONCE) {
            let mut asked = JoinSet::new();
            for row in rows {
                let (client, id, verb) = (self.clone(), row.id.clone(), verb.clone());
                asked.spawn(async move { client.tell_patiently(&id, &verb).await });
            }
            for answer in asked.join_all().await {
                match answer {
                    Ok(()) => told.done += 1,
                    Err(Error::NotFound(_) | Error::WrongStatus { .. }) => told.skipped += 1,
                    Err(error @ (Error::Busy | Error::ReadOnly | Error::Store(_))) => {
                        told.stopped = Some(error);
                    }
                    Err(_) => told.failed += 1,
                }
            }
            if told.stopped.is_some() {
                return told;
            }
            told.handled += rows.len();
        }
        told
    }

    /// Tells one instance; a host that is busy for a moment is asked again.
    async fn tell_patiently(&self, id: &InstanceId, verb: &Bulk) -> Result<(), Error> {
        for _ in 0..PATIENCE {
            let told = match verb {
                Bulk::Terminate(reason) => self.terminate(id, reason, true).await,
                Bulk::Suspend(reason) => self.suspend(id, reason).await,
                Bulk::Resume(reason) => self.resume(id, reason).await,
                Bulk::Rewind(reason) => self.rewind(id, reason).await,
                Bulk::Purge => self.purge(id).await,
            };
            match told {
                Err(Error::Busy) => tokio::time::sleep(PAUSE).await,
                told => return told,
            }
        }
        Err(Error::Busy)
    }

    async fn purge_rows(&self, rows: &[Row]) -> Told {
        let mut shares: BTreeMap<PartitionId, Vec<Row>> = BTreeMap::new();
        for row in rows {
            shares.entry(row.iid.partition()).or_default().push(row.clone());
        }
        let mut told = Told::default();
        for (partition, rows) in shares {
            let count = rows.len() as u64;
            match self.ask_partition(partition, Request::PurgeListed(rows)).await {
                Ok(Response::Purged(purged)) => {
                    told.done += purged;
                    told.skipped += count - purged;
                }
                answer => {
                    told.stopped = Some(answer.err().unwrap_or(Error::Busy));
                    return told;
                }
            }
        }
        told.handled = rows.len();
        told
    }
}

fn is_job(row: &Row) -> bool {
    row.id.kind() == Kind::Orchestration && everstep_worker::is_reserved(&row.name)
}

impl Job {
    fn new(filter: &Filter, verb: &Bulk) -> Self {
        let (verb, reason) = match verb {
            Bulk::Terminate(reason) => (Verb::Terminate, reason.clone()),
            Bulk::Suspend(reason) => (Verb::Suspend, reason.clone()),
            Bulk::Resume(reason) => (Verb::Resume, reason.clone()),
            Bulk::Rewind(reason) => (Verb::Rewind, reason.clone()),
            Bulk::Purge => (Verb::Purge, String::new()),
        };
        Self {
            verb,
            reason,
            filter: Sieve::new(filter),
            after: None,
            done: 0,
            skipped: 0,
            failed: 0,
            total: None,
            next: Next::Page,
        }
    }

    /// Reads what [`Job::encode`] wrote.
    pub(crate) fn decode(value: &Value) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value.inline().map_or(&[], |bytes| bytes))
    }

    pub(crate) fn encode(&self) -> Value {
        Value::text(serde_json::to_string(self).expect("a job is plain data"))
    }

    /// How far it is, for people.
    pub(crate) fn progress(&self) -> Value {
        let Self { verb, done, skipped, failed, .. } = self;
        let mut text = serde_json::json!({
            "verb": verb, "done": done, "skipped": skipped, "failed": failed,
        });
        if let Some(total) = self.total {
            text["total"] = total.into();
        }
        Value::text(text.to_string())
    }

    fn verb(&self) -> Bulk {
        let reason = self.reason.clone();
        match self.verb {
            Verb::Terminate => Bulk::Terminate(reason),
            Verb::Suspend => Bulk::Suspend(reason),
            Verb::Resume => Bulk::Resume(reason),
            Verb::Rewind => Bulk::Rewind(reason),
            Verb::Purge => Bulk::Purge,
        }
    }

    fn cursor(&self) -> Option<Cursor> {
        let (ticks, iid) = self.after?;
        Some(Cursor { created: Timestamp::from_ticks(ticks), iid: everstep_model::Iid(iid) })
    }
}

impl Sieve {
    fn new(filter: &Filter) -> Self {
        let ticks = |at: Option<Timestamp>| at.map(Timestamp::ticks);
        Self {
            kind: filter.kind.map(|kind| match kind {
                Kind::Orchestration => SieveKind::Orchestration,
                Kind::Entity => SieveKind::Entity,
            }),
            statuses: filter.statuses.iter().map(|status| status.name().to_owned()).collect(),
            created_from: ticks(filter.created_from),
            created_to: ticks(filter.created_to),
            completed_from: ticks(filter.completed_from),
            completed_to: ticks(filter.completed_to),
            name: filter.name.clone(),
            id_prefix: filter.id_prefix.clone(),
            parent: filter.parent.as_ref().map(|parent| parent.as_str().to_owned()),
            tags: filter.tags.clone(),
            input_contains: filter.input_contains.clone(),
        }
    }

    fn filter(&self) -> Filter {
        let time = |ticks: Option<i64>| ticks.map(Timestamp::from_ticks);
        Filter {
            kind: self.kind.map(|kind| match kind {
                SieveKind::Orchestration => Kind::Orchestration,
                SieveKind::Entity => Kind::Entity,
            }),
            statuses: self.statuses.iter().filter_map(|name| Status::from_name(name)).collect(),
            created_from: time(self.created_from),
            created_to: time(self.created_to),
            completed_from: time(self.completed_from),
            completed_to: time(self.completed_to),
            name: self.name.clone(),
            id_prefix: self.id_prefix.clone(),
            parent: self.parent.as_deref().map(InstanceId::from_stored),
            tags: self.tags.clone(),
            input_contains: self.input_contains.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_filter_comes_back_whole() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        let filter = Filter {
            kind: Some(Kind::Orchestration),
            statuses: vec![Status::Running, Status::Failed],
            created_from: at(1),
            created_to: at(2),
            completed_from: at(3),
            completed_to: at(4),
            name: Some("Order".to_owned()),
            id_prefix: Some("order-".to_owned()),
            parent: Some(InstanceId::from_stored("parent")),
            tags: vec![("region".to_owned(), "eu".to_owned())],
            input_contains: Some("\"vip\"".to_owned()),
        };
        let job = Job::decode(&Job::new(&filter, &Bulk::Rewind("again".to_owned())).encode());
        let job = job.expect("what was encoded decodes");
        assert_eq!(job.filter.filter(), filter);
        assert_eq!(job.verb(), Bulk::Rewind("again".to_owned()));
    }

    /// A job may be under way when its host is replaced by another release.
    #[test]
    fn the_stored_form_of_a_job_does_not_change() {
        let text = r#"{"verb":"purge","filter":{"kind":"entity","statuses":["Running"],"createdTo":20},"after":[10,7],"done":1,"skipped":2,"failed":0,"total":9,"next":"pause"}"#;
        let job = Job::decode(&text.into()).expect("it is the form of the first release");
        assert_eq!(job.encode(), Value::from(text));
        assert_eq!(job.cursor().map(|cursor| cursor.iid.0), Some(7));
        let least = Job::decode(&r#"{"verb":"terminate","filter":{}}"#.into());
        assert_eq!(least.expect("all else has a default").next, Next::Page);
    }
}
