//! What host.json bounds in durable code: activities by name, actions of a turn, versions of orchestrations.
//!
//! B1  An activity has the least of the concurrency that its code and the file name. Of times the first of these that
//!     is said: the file's for the function, the code's, `functionTimeout`.
//! B2  A turn that takes more actions than it may fails its orchestration; none of them is carried out.
//! B3  A version is looked at where the beginning of a history is seen. An execution that is resident has been seen
//!     there, for a worker knows none that it was not asked for.
//! B4  A version that does not match fails its instance, or parks it: the next start tries it again, as `why` says.

use std::{cmp::Ordering, sync::Arc, time::Duration};

use everstep::{ActivityOptions, Failure};
use everstep_functions::config::{
    HostConfig,
    host_json::{Everstep, VersionFailure, VersionMatch},
};
use everstep_model::{Action, Completion, Event, Iid, InstanceId, Outcome, PartitionId, Timestamp};
use everstep_worker::{
    ActivityCall, Answers, BoxFuture, Decision, EntityBatch, EntityOptions, EntityReply, History,
    TurnReply, TurnRequest, Turns, Worker,
};

/// A worker within the bounds of a file.
pub(crate) struct Bounded {
    app: Arc<dyn Worker>,
    everstep: Everstep,
    timeout: Option<Duration>,
    rules: Arc<Rules>,
}

/// What holds for turns.
#[derive(Debug, Clone)]
struct Rules {
    actions: usize,
    version: String,
    matching: VersionMatch,
    otherwise: VersionFailure,
}

impl Bounded {
    /// `timeout` is that of activities for which nothing else is said.
    pub(crate) fn new(
        app: Arc<dyn Worker>,
        config: &HostConfig,
        timeout: Option<Duration>,
    ) -> Self {
        let durable = &config.durable_task;
        let rules = Arc::new(Rules {
            actions: durable.max_orchestration_actions,
            version: durable.default_version.clone().unwrap_or_default(),
            matching: durable.version_match_strategy,
            otherwise: durable.version_failure_strategy,
        });
        Self { app, everstep: config.everstep.clone(), timeout, rules }
    }
}

impl Worker for Bounded {
    fn identity(&self) -> &str {
        self.app.identity()
    }

    fn activity_options(&self, name: &str) -> Option<ActivityOptions> {
        let options = self.app.activity_options(name)?;
        let limits = self.everstep.limits(name);
        let concurrency = [options.concurrency, limits.max_concurrency].into_iter().flatten().min();
        let timeout = limits.timeout.or(options.timeout).or(self.timeout);
        Some(ActivityOptions { concurrency, timeout })
    }

    fn activity_interval(&self, name: &str) -> Option<Duration> {
        self.everstep.limits(name).interval().or_else(|| self.app.activity_interval(name))
    }

    fn entity_options(&self, name: &str) -> Option<EntityOptions> {
        self.app.entity_options(name)
    }

    fn has_orchestrator(&self, name: &str) -> bool {
        self.app.has_orchestrator(name)
    }

    fn answer_through(&self, answers: Arc<dyn Answers>) {
        let rules = Arc::clone(&self.rules);
        self.app.answer_through(Arc::new(BoundedAnswers { answers, rules }));
    }

    fn turns(&self, partition: PartitionId) -> Box<dyn Turns> {
        let rules = Arc::clone(&self.rules);
        Box::new(BoundedTurns { app: self.app.turns(partition), rules })
    }

    fn activity(&self, call: ActivityCall) -> BoxFuture<Outcome> {
        self.app.activity(call)
    }

    fn entity(&self, batch: EntityBatch) -> BoxFuture<EntityReply> {
        self.app.entity(batch)
    }
}

struct BoundedTurns {
    app: Box<dyn Turns>,
    rules: Arc<Rules>,
}

impl Turns for BoundedTurns {
    fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply {
        if let Some(reply) = version_of(request).and_then(|version| self.rules.refuse(version)) {
            return reply;
        }
        let reply = self.app.turn(request);
        self.rules.bound(reply)
    }

    fn entity(&mut self, batch: &EntityBatch) -> EntityReply {
        self.app.entity(batch)
    }

    fn evict(&mut self, iid: Iid) {
        self.app.evict(iid);
    }

    fn resident(&self) -> usize {
        self.app.resident()
    }
}

struct BoundedAnswers {
    answers: Arc<dyn Answers>,
    rules: Arc<Rules>,
}

impl Answers for BoundedAnswers {
    fn turn_answered(&self, instance: &InstanceId, now: Timestamp, reply: TurnReply) {
        self.answers.turn_answered(instance, now, self.rules.bound(reply));
    }
}

/// The version of an execution whose beginning is shown.
fn version_of<'a>(request: &TurnRequest<'a>) -> Option<&'a str> {
    let first = match request.history {
        History::Full([first, ..]) => Some(first),
        History::Seen(0) | History::Full([]) => request.events.first(),
        History::Seen(_) => None,
    };
    match first {
        Some(Event::Started(started)) => Some(&started.version),
        _ => None,
    }
}

impl Rules {
    fn bound(&self, reply: TurnReply) -> TurnReply {
        match reply {
            TurnReply::Decided(decision) if decision.actions.len() > self.actions => {
                let text = format!(
                    "the orchestrator took {} actions in one turn, and {} are allowed; raise extensions.durableTask.maxOrchestrationActions in host.json, or await some before the others",
                    decision.actions.len(),
                    self.actions
                );
                failed(Failure::new("TooManyActions", text).fatal())
            }
            reply => reply,
        }
    }

    /// What to answer for an instance that is not to run here.
    fn refuse(&self, version: &str) -> Option<TurnReply> {
        let (matches, rule) = match self.matching {
            VersionMatch::None => (true, ""),
            VersionMatch::Strict => (version == self.version, "Strict"),
            VersionMatch::CurrentOrOlder => {
                (compare(version, &self.version) != Ordering::Greater, "CurrentOrOlder")
            }
        };
        if matches {
            return None;
        }
        let reason = format!(
            "the version of the instance is `{version}` and that of the app is `{}`, which does not match: extensions.durableTask.versionMatchStrategy in host.json is {rule}",
            self.version
        );
        Some(match self.otherwise {
            VersionFailure::Fail => failed(Failure::new("VersionMismatch", reason).fatal()),
            VersionFailure::Reject => TurnReply::NonDeterminism { reason },
        })
    }
}

fn failed(failure: Failure) -> TurnReply {
    let actions = vec![Action::Complete(Completion::Failed(Box::new(failure)))];
    TurnReply::Decided(Decision { actions, ..Decision::default() })
}

/// Numbers between points compare as numbers; none is the oldest.
fn compare(one: &str, other: &str) -> Ordering {
    let parts = |text: &str| -> Vec<Result<u64, String>> {
        let parts = text.split('.').filter(|part| !part.is_empty());
        parts.map(|part| part.parse().map_err(|_| part.to_owned())).collect()
    };
    let (one, other) = (parts(one), parts(other));
    for (one, other) in one.iter().zip(&other) {
        let order = match (one, other) {
            (Ok(one), Ok(other)) => one.cmp(other),
            (Err(one), Err(other)) => one.cmp(other),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    one.len().cmp(&other.len())
}

#[cfg(test)]
mod tests {
    use everstep::{Activity, App, Context, Orchestrator, StartOptions, Value};
    use everstep_model::Status;

    use super::*;
    use crate::{FunctionApp, start::testing::Running};

    const NOTHING: Activity<(), ()> = Activity::new("Nothing");

    async fn host(durable: &str) -> Running {
        let app = App::new("1")
            .activity(NOTHING, async |_: everstep::ActivityContext, (): ()| Ok::<(), Failure>(()))
            .orchestrator(Orchestrator::new("Many"), async |context: Context, count: u32| {
                let calls = (0..count).map(|_| context.call(NOTHING, ()));
                everstep::join_all(calls.collect::<Vec<_>>()).await;
                Ok::<(), Failure>(())
            });
        let text = format!(
            r#"{{"version": "2.0", "extensions": {{"durableTask": {{{durable}}}, "everstep": {{"functions": {{
                "Nothing": {{"maxConcurrency": 2, "ratePerSecond": 4, "timeout": "00:00:07"}} }}}}}}}}"#
        );
        Running::with_file(FunctionApp::new(app), "host.json", &text).await
    }

    async fn run(host: &Running, version: &str, count: u32) -> everstep_runtime::View {
        let client = &host.site.client;
        let options = StartOptions { version: version.to_owned(), ..StartOptions::default() };
        let id = client.start("Many", Value::text(count.to_string()), options).await.unwrap();
        client.wait(&id).await.unwrap()
    }

    #[tokio::test]
    async fn a_turn_with_too_many_actions_fails_its_orchestration() {
        let host = host(r#""maxOrchestrationActions": 2"#).await;
        assert_eq!(run(&host, "", 2).await.status, Status::Completed);
        let view = run(&host, "", 3).await;
        assert_eq!(view.status, Status::Failed);
        assert_eq!(
            view.failure.unwrap().message,
            "the orchestrator took 3 actions in one turn, and 2 are allowed; raise extensions.durableTask.maxOrchestrationActions in host.json, or await some before the others"
        );
        host.stop().await;
    }

    #[tokio::test]
    async fn a_version_that_does_not_match_fails_or_waits() {
        let fails = host(
            r#""defaultVersion": "1.2", "versionMatchStrategy": "Strict", "versionFailureStrategy": "Fail""#,
        )
        .await;
        assert_eq!(run(&fails, "1.2", 0).await.status, Status::Completed);
        assert_eq!(
            run(&fails, "1.3", 0).await.failure.unwrap().message,
            "the version of the instance is `1.3` and that of the app is `1.2`, which does not match: extensions.durableTask.versionMatchStrategy in host.json is Strict"
        );
        fails.stop().await;

        let waits =
            host(r#""defaultVersion": "1.2", "versionMatchStrategy": "CurrentOrOlder""#).await;
        assert_eq!(run(&waits, "1.1", 0).await.status, Status::Completed);
        let client = &waits.site.client;
        let options = StartOptions { version: "1.10".to_owned(), ..StartOptions::default() };
        let id = client.start("Many", Value::text("0"), options).await.unwrap();
        let why = format!("/runtime/webhooks/durabletask/instances/{id}/why");
        let told = loop {
            let answer = waits.ask(&format!("GET {why}"), "").await;
            if answer.body.contains("does not match") {
                break answer.body;
            }
            tokio::task::yield_now().await;
        };
        assert!(told.contains("the version of the instance is `1.10`"), "{told}");
        waits.stop().await;
    }

    #[tokio::test]
    async fn the_file_bounds_what_the_code_leaves_open() {
        let host = host("").await;
        let config = &host.site.config;
        let app = App::new("1")
            .activity(NOTHING, async |_: everstep::ActivityContext, (): ()| Ok::<(), Failure>(()));
        let bounded = Bounded::new(Arc::new(app), config, config.function_timeout);
        let options = bounded.activity_options("Nothing").unwrap();
        assert_eq!(options.concurrency, Some(2));
        assert_eq!(options.timeout, Some(Duration::from_secs(7)));
        assert_eq!(bounded.activity_interval("nothing"), Some(Duration::from_millis(250)));
        assert_eq!(bounded.activity_options("Other"), None);
        host.stop().await;
    }

    #[test]
    fn versions_compare_number_by_number() {
        assert_eq!(compare("1.10", "1.9"), Ordering::Greater);
        assert_eq!(compare("1.9", "1.9.1"), Ordering::Less);
        assert_eq!(compare("", "0"), Ordering::Less);
        assert_eq!(compare("2.0", "2.0"), Ordering::Equal);
        assert_eq!(compare("1.b", "1.9"), Ordering::Greater);
    }
}
