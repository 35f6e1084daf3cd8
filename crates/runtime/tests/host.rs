//! The host over the memory store, with a worker written by hand.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use everstep_model::{
    Action, Completion, Event, EventId, Failure, Iid, InstanceId, Outcome, PartitionId, Status,
    Value, Wait,
};
use everstep_runtime::{Client, ClientError, Host, Options, Raised, StartOptions};
use everstep_store::{Filter, Order};
use everstep_store_memory::MemoryStore;
use everstep_worker::{
    ActivityCall, ActivityOptions, BoxFuture, Decision, EntityBatch, EntityOptions, EntityReply,
    History, Purity, TurnReply, TurnRequest, Turns, Worker,
};

/// Orchestrators: `steps` calls `echo` as often as its input says; `approval` waits for `Approve`.
#[derive(Default)]
struct Hand {
    calls: Arc<AtomicUsize>,
}

impl Worker for Hand {
    fn identity(&self) -> &'static str {
        "1"
    }

    fn activity_options(&self, name: &str) -> Option<ActivityOptions> {
        (name != "missing").then(ActivityOptions::default)
    }

    fn entity_options(&self, name: &str) -> Option<EntityOptions> {
        match name {
            "counter" => Some(EntityOptions { purity: Purity::Pure }),
            "ledger" => Some(EntityOptions { purity: Purity::Effects }),
            _ => None,
        }
    }

    fn has_orchestrator(&self, name: &str) -> bool {
        ["steps", "approval"].contains(&name)
    }

    fn turns(&self, _partition: PartitionId) -> Box<dyn Turns> {
        Box::<HandTurns>::default()
    }

    fn activity(&self, call: ActivityCall) -> BoxFuture<Outcome> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match &*call.name {
                "panic" => panic!("on purpose"),
                "fail" => Outcome::Failed(Box::new(Failure::new("Test", "no"))),
                _ => Outcome::Completed(call.input),
            }
        })
    }

    fn entity(&self, batch: EntityBatch) -> BoxFuture<EntityReply> {
        Box::pin(async move { add(&batch) })
    }
}

fn add(batch: &EntityBatch) -> EntityReply {
    let number = |value: &Value| -> i64 { text(Some(value)).parse().unwrap_or(0) };
    let mut sum = batch.state.as_ref().map_or(0, number);
    let mut results = Vec::new();
    for operation in &batch.operations {
        sum += number(&operation.input);
        results.push(Outcome::Completed(Value::text(sum.to_string())));
    }
    EntityReply { results, state: Some(Value::text(sum.to_string())), sends: Vec::new() }
}

#[derive(Default)]
struct HandTurns {
    seen: HashMap<Iid, Vec<Event>>,
}

impl Turns for HandTurns {
    fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply {
        let mut all = match request.history {
            History::Seen(0) => Vec::new(),
            History::Seen(count) => match self.seen.remove(&request.iid) {
                Some(seen) if seen.len() as u32 == count => seen,
                _ => return TurnReply::NeedHistory,
            },
            History::Full(events) => events.to_vec(),
        };
        all.extend(request.events.iter().cloned());
        let reply = match request.name {
            "steps" => steps(&all),
            "approval" => approval(&all),
            _ => return TurnReply::UnknownFunction,
        };
        if let TurnReply::Decided(decision) = &reply {
            for action in &decision.actions {
                if let Action::CallActivity { id, name, input, tags, origin } = action.clone() {
                    all.push(Event::TaskScheduled { id, name, input, tags, origin });
                }
            }
        }
        self.seen.insert(request.iid, all);
        reply
    }

    fn entity(&mut self, batch: &EntityBatch) -> EntityReply {
        add(batch)
    }

    fn evict(&mut self, iid: Iid) {
        self.seen.remove(&iid);
    }

    fn resident(&self) -> usize {
        self.seen.len()
    }
}

fn input(all: &[Event]) -> String {
    all.iter()
        .find_map(|event| match event {
            Event::Started(started) => Some(text(Some(&started.input))),
            _ => None,
        })
        .expect("a history begins with its start")
}

fn decided(action: Action) -> TurnReply {
    TurnReply::Decided(Decision { actions: vec![action], ..Decision::default() })
}

fn steps(all: &[Event]) -> TurnReply {
    let text = input(all);
    let (name, count) = text.split_once('*').unwrap_or(("echo", &text));
    let count: usize = count.parse().expect("the input ends in a number");
    let ended: Vec<_> = all
        .iter()
        .filter_map(|event| match event {
            Event::TaskEnded { outcome, .. } => Some(outcome.clone()),
            _ => None,
        })
        .collect();
    if let Some(Outcome::Failed(failure)) = ended.last() {
        return decided(Action::Complete(Completion::Failed(failure.clone())));
    }
    if ended.len() == count {
        return decided(Action::Complete(Completion::Completed(Value::text(count.to_string()))));
    }
    // After a rewind the call stands in the history and is open; deciding it again would break the rule of ids.
    let scheduled = all.iter().filter(|event| matches!(event, Event::TaskScheduled { .. })).count();
    if scheduled > ended.len() {
        return TurnReply::Decided(Decision::default());
    }
    decided(Action::CallActivity {
        id: EventId(ended.len() as u32),
        name: name.to_owned(),
        input: Value::text("x".repeat(10)),
        tags: everstep_model::Tags::new(),
        origin: None,
    })
}

fn approval(all: &[Event]) -> TurnReply {
    let raised = all.iter().find_map(|event| match event {
        Event::EventRaised { name, input, .. } if name.eq_ignore_ascii_case("approve") => {
            Some(input.clone())
        }
        _ => None,
    });
    match raised {
        Some(input) => decided(Action::Complete(Completion::Completed(input))),
        None => TurnReply::Decided(Decision {
            wait: Some(Wait::Event("Approve".to_owned())),
            ..Decision::default()
        }),
    }
}

fn host() -> (Host<MemoryStore>, Client, Arc<AtomicUsize>) {
    let hand = Hand::default();
    let calls = hand.calls.clone();
    let host = Host::start(MemoryStore::new(4), Arc::new(hand), Options::default())
        .expect("an empty store opens");
    let client = host.client();
    (host, client, calls)
}

fn text(value: Option<&Value>) -> String {
    let bytes = value.expect("a value").inline().expect("a value at hand");
    String::from_utf8_lossy(bytes).into_owned()
}

fn id(text: &str) -> InstanceId {
    InstanceId::parse(text).expect("an id")
}

fn named(text: &str) -> StartOptions {
    StartOptions { id: Some(id(text)), ..StartOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_runs_to_its_end() {
    let (host, client, calls) = host();
    let started = client.start("steps", "5".into(), StartOptions::default()).await.unwrap();
    let view = client.wait(&started).await.unwrap();
    assert_eq!((view.status, text(view.output.as_ref())), (Status::Completed, "5".to_owned()));
    assert_eq!(calls.load(Ordering::Relaxed), 5);
    assert_eq!(client.history(&started).await.unwrap().len(), 1 + 6 + 5 + 5 + 1);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_run_at_once_and_lists_show_each_once() {
    let (host, client, _) = host();
    for number in 0..200 {
        client.start("steps", "3".into(), named(&format!("i{number}"))).await.unwrap();
    }
    for number in 0..200 {
        client.wait(&id(&format!("i{number}"))).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = client.list(&Filter::default(), Order::OldestFirst, after, 7).await.unwrap();
        seen.extend(page.rows.into_iter().map(|view| view.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let unique: std::collections::HashSet<_> = seen.iter().cloned().collect();
    assert_eq!((seen.len(), unique.len()), (200, 200));
    let counts = client.counts().await.unwrap();
    assert_eq!(
        counts.iter().map(|(.., status, count)| (*status, *count)).collect::<Vec<_>>(),
        [(Status::Completed, 200)]
    );
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_waited_for_and_why_says_so() {
    let (host, client, _) = host();
    let approval = client.start("approval", "".into(), named("a")).await.unwrap();
    let facts = client.why(&approval).await.unwrap();
    assert_eq!(facts.reasons[0].0.to_string(), "event `Approve` was not raised; raise it");
    let raised = Raised { name: "APPROVE".into(), input: "yes".into(), key: String::new() };
    client.raise(&approval, raised.clone()).await.unwrap();
    assert_eq!(text(client.wait(&approval).await.unwrap().output.as_ref()), "yes");
    let late = client.raise(&approval, raised).await.unwrap_err();
    assert_eq!(late.to_string(), "instance `a` is Completed, so it cannot be sent an event");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entities_count_pure_or_not() {
    let (host, client, _) = host();
    for name in ["@counter@k", "@ledger@k"] {
        for _ in 0..50 {
            client.signal(&id(name), "add", "2".into(), "").await.unwrap();
        }
        loop {
            let state = client.entity_state(&id(name)).await.unwrap();
            if state.is_some_and(|state| text(Some(&state)) == "100") {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_panics_and_the_verbs_of_a_client() {
    let (host, client, _) = host();
    let panics = client.start("steps", "panic*1".into(), named("p")).await.unwrap();
    let view = client.wait(&panics).await.unwrap();
    let failure = view.failure.unwrap();
    assert_eq!(
        (view.status, failure.kind.as_str(), failure.message.as_str()),
        (Status::Failed, "Panic", "on purpose")
    );

    let approval = client.start("approval", "".into(), named("b")).await.unwrap();
    let again = client.start("approval", "".into(), named("b")).await.unwrap_err();
    assert!(matches!(again, ClientError::AlreadyExists { status: Status::Running, .. }), "{again}");
    client.suspend(&approval, "wait").await.unwrap();
    let event = Raised { name: "approve".into(), input: "later".into(), key: "k".into() };
    client.raise(&approval, event.clone()).await.unwrap();
    client.raise(&approval, event).await.unwrap();
    assert_eq!(client.get(&approval).await.unwrap().status, Status::Suspended);
    assert_eq!(
        client.purge(&approval).await.unwrap_err().to_string(),
        "instance `b` is Suspended, so it cannot be purged; terminate it first"
    );
    client.resume(&approval, "go").await.unwrap();
    assert_eq!(text(client.wait(&approval).await.unwrap().output.as_ref()), "later");
    client.purge(&approval).await.unwrap();
    assert!(matches!(client.get(&approval).await, Err(ClientError::NotFound(_))));

    let other = client.start("approval", "".into(), named("b")).await.unwrap();
    client.terminate(&other, "enough", true).await.unwrap();
    let view = client.wait(&other).await.unwrap();
    assert_eq!(
        (view.status, text(view.output.as_ref())),
        (Status::Terminated, "enough".to_owned())
    );

    let unknown = client.start("nobody", "".into(), named("u")).await.unwrap();
    assert_eq!(
        client.why(&unknown).await.unwrap().reasons[0].0.to_string(),
        "no function `nobody` is registered; register it or fix the name"
    );
    client.terminate(&unknown, "never mind", true).await.unwrap();
    assert_eq!(client.wait(&unknown).await.unwrap().status, Status::Terminated);
    let missing = client.start("steps", "missing*1".into(), named("m")).await.unwrap();
    let facts = client.why(&missing).await.unwrap();
    assert_eq!(
        facts.reasons[0].0.to_string(),
        "activity `missing` (call 0, attempt 1) is not registered; register it or fix the name"
    );
    let timeout = client.wait_for(&missing, Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(
        timeout.to_string(),
        "instance `m` did not end within 1ms; it goes on, ask `why` what it waits for"
    );
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_instance_is_rewound() {
    let (host, client, calls) = host();
    let fails = client.start("steps", "fail*1".into(), named("f")).await.unwrap();
    assert_eq!(client.wait(&fails).await.unwrap().status, Status::Failed);
    client.rewind(&fails, "again").await.unwrap();
    assert_eq!(client.wait(&fails).await.unwrap().status, Status::Failed);
    assert_eq!(calls.load(Ordering::Relaxed), 2, "the failed call ran again");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_shows_the_newest_state_of_an_entity_that_was_folded_before() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let store = everstep_store_embedded::open_embedded(
            folder.path(),
            &everstep_store::HubOptions::new("test", 4),
            everstep_store_embedded::LoggedOptions::default(),
        );
        Host::start(store.unwrap(), Arc::new(Hand::default()), Options::default()).unwrap()
    };
    let counter = id("@counter@k");
    let host = open();
    host.client().signal(&counter, "add", "2".into(), "").await.unwrap();
    host.stop().await.unwrap();
    let host = open();
    host.client().signal(&counter, "add", "3".into(), "").await.unwrap();
    let page = host.client().list(&Filter::default(), Order::OldestFirst, None, 10).await.unwrap();
    let states: Vec<_> = page.rows.iter().map(|view| text(view.output.as_ref())).collect();
    assert_eq!(states, ["5"]);
    let counts = host.client().counts().await.unwrap();
    assert_eq!(counts.iter().map(|(.., count)| *count).sum::<u64>(), 1);
    host.stop().await.unwrap();
}
