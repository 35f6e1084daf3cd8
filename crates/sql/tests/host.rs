//! What a host holds is what the views show, folded or not, with the host or without it: rows, blobs and chunks as the
//! runtime makes them.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use std::{fs, path::Path, sync::Arc};

use everstep_model::{
    Action, Completion, Event, EventId, Failure, Iid, InstanceId, Outcome, PartitionId, Tags,
    Timestamp, Value, Wait,
};
use everstep_runtime::{Client, Host, Options, StartOptions, Unfolded};
use everstep_sql::{Limits, Overlay, Session};
use everstep_store::HubOptions;
use everstep_store_embedded::{
    LoggedOptions, NetworkFolder, open_embedded, open_read_only, sqlite,
};
use everstep_worker::{
    ActivityCall, ActivityOptions, BoxFuture, Decision, EntityBatch, EntityOptions, EntityReply,
    History, TurnReply, TurnRequest, Turns, Worker,
};
use support::lines;

/// `pays` calls one activity and returns what it returns; `breaks` fails; `waits` sets a timer and waits for an event.
struct Hand;

impl Worker for Hand {
    fn identity(&self) -> &'static str {
        "1"
    }

    fn activity_options(&self, _: &str) -> Option<ActivityOptions> {
        Some(ActivityOptions::default())
    }

    fn entity_options(&self, _: &str) -> Option<EntityOptions> {
        None
    }

    fn has_orchestrator(&self, _: &str) -> bool {
        true
    }

    fn turns(&self, _: PartitionId) -> Box<dyn Turns> {
        Box::new(HandTurns)
    }

    fn activity(&self, call: ActivityCall) -> BoxFuture<Outcome> {
        Box::pin(std::future::ready(Outcome::Completed(call.input)))
    }

    fn entity(&self, _: EntityBatch) -> BoxFuture<EntityReply> {
        unreachable!("there are no entities")
    }
}

struct HandTurns;

impl Turns for HandTurns {
    fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply {
        let before = match request.history {
            History::Seen(0) => &[],
            History::Seen(_) => return TurnReply::NeedHistory,
            History::Full(events) => events,
        };
        let all: Vec<_> = before.iter().chain(request.events).collect();
        let answer = all.iter().find_map(|event| match event {
            Event::TaskEnded { outcome: Outcome::Completed(output), .. } => Some(output.clone()),
            _ => None,
        });
        let is_first = !all
            .iter()
            .any(|event| matches!(event, Event::TaskScheduled { .. } | Event::TimerCreated { .. }));
        let id = EventId(0);
        let decision = match (request.name, answer) {
            ("pays", None) if is_first => {
                let (name, input) = ("Charge".to_owned(), Value::text("17"));
                let call =
                    Action::CallActivity { id, name, input, tags: Tags::new(), origin: None };
                Decision { actions: vec![call], ..Decision::default() }
            }
            ("pays", Some(output)) => {
                let end = Action::Complete(Completion::Completed(output));
                Decision { actions: vec![end], ..Decision::default() }
            }
            ("breaks", _) => {
                let failure = Failure::new("Broken", "it broke");
                let end = Action::Complete(Completion::Failed(Box::new(failure)));
                Decision { actions: vec![end], ..Decision::default() }
            }
            ("waits", _) if is_first => {
                let fire_at = Timestamp::from_millis(32_503_680_000_000);
                let timer = Action::CreateTimer { id, fire_at, origin: None };
                let wait = Some(Wait::Event("Approval".to_owned()));
                let custom_status = Some(Value::text("\"asking\""));
                Decision { actions: vec![timer], custom_status, wait }
            }
            _ => Decision::default(),
        };
        TurnReply::Decided(decision)
    }

    fn entity(&mut self, _: &EntityBatch) -> EntityReply {
        unreachable!("there are no entities")
    }

    fn evict(&mut self, _: Iid) {}

    fn resident(&self) -> usize {
        0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_holds_is_shown_folded_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let hub = HubOptions::new("sql", 2);
    let store = open_embedded(folder.path(), &hub, LoggedOptions::default()).unwrap();
    let host = Host::start(store, Arc::new(Hand), Options::default()).unwrap();
    let client = host.client();
    for name in ["pays", "breaks", "waits"] {
        let id = InstanceId::parse(name).unwrap();
        let options = StartOptions { id: Some(id.clone()), ..StartOptions::default() };
        client.start(name, Value::text("\"in\""), options).await.unwrap();
        if name == "waits" {
            client.suspend(&id, "a pause").await.unwrap();
        } else {
            client.wait(&id).await.unwrap();
        }
    }
    let file = folder.path().join("state.db");
    check(&mut Session::open(&file, &overlay(&client).await).unwrap());
    let killed = killed(folder.path());
    host.fold().await.unwrap();
    check(&mut Session::open(&file, &overlay(&client).await).unwrap());
    check(&mut Session::open(&file, &Overlay::default()).unwrap());
    host.stop().await.unwrap();

    for folder in [folder.path(), killed.path()] {
        let reader = open_read_only(folder, NetworkFolder::Refuse).unwrap();
        let look = Host::look(reader).unwrap();
        let conn = sqlite::connect_at_rest(&folder.join("state.db")).unwrap();
        let overlay = overlay(&look.client()).await;
        check(&mut Session::over(conn, &overlay).unwrap());
        look.stop().await.unwrap();
    }
}

async fn overlay(client: &Client) -> Overlay {
    let Unfolded { rows, purged } = client.unfolded().await.unwrap();
    Overlay { rows, purged }
}

/// What a host that is killed leaves: its files, copied while it is idle.
fn killed(folder: &Path) -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, image.path().join(path.file_name().unwrap())).unwrap();
    }
    image
}

fn check(session: &mut Session) {
    let mut ask = |sql: &str| lines(&session.query(sql, &[], Limits::default()).unwrap());
    assert_eq!(
        ask("select instance, status, input, output, custom_status, failure_type, failure_message, waiting_for
             from instances order by instance"),
        [
            "breaks Failed \"in\" - - Broken it broke -",
            "pays Completed \"in\" 17 - - - -",
            "waits Suspended \"in\" - \"asking\" - - event Approval",
        ]
    );
    assert_eq!(
        ask(
            "select event, event_id, answers, coalesce(input, output) from history where instance = 'pays' and event <> 'OrchestratorStarted'"
        ),
        [
            "ExecutionStarted - - \"in\"",
            "TaskScheduled 0 - 17",
            "TaskCompleted - 0 17",
            "ExecutionCompleted - - 17",
        ]
    );
    assert_eq!(
        ask("select instance, name, state, output from activities"),
        ["pays Charge completed 17"]
    );
    assert_eq!(
        ask("select instance, name, fire_at from timers"),
        ["waits waits 3000-01-01T00:00:00.0000000Z"]
    );
    assert_eq!(ask("select reason from history where event = 'ExecutionSuspended'"), ["a pause"]);
    assert_eq!(ask("select count(*) from history where at is null"), ["0"]);
}
