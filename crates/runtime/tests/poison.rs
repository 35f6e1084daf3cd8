//! Activities that take their process down. The process is a child: this program once more, told by its environment to
//! run a host in a folder.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use everstep_model::{
    Action, Completion, Event, EventId, Iid, InstanceId, Outcome, PartitionId, ReusePolicy, Tags,
    Value,
};
use everstep_runtime::{ClientError, Host, Options, StartOptions};
use everstep_store::HubOptions;
use everstep_store_embedded::{Embedded, LoggedOptions, open_embedded};
use everstep_worker::{
    ActivityCall, ActivityOptions, BoxFuture, Decision, EntityBatch, EntityOptions, EntityReply,
    History, TurnReply, TurnRequest, Turns, Worker,
};

const FOLDER: &str = "EVERSTEP_POISON_FOLDER";
const ROLE: &str = "EVERSTEP_POISON_ROLE";
/// Activities that run at once.
const AT_ONCE: usize = 8;
const INNOCENT: u32 = 20;

/// The orchestrator's name says what it calls, all at once: `guilty` among many that are innocent, or one that `hangs`.
struct Hand {
    folder: PathBuf,
    running: Arc<AtomicUsize>,
}

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
        let (crashes, running) = (self.folder.join("crashes"), self.running.clone());
        Box::pin(async move {
            running.fetch_add(1, Ordering::SeqCst);
            // In the first process nobody ends before all slots are taken: those who have one run beside the guilty.
            let first = !crashes.exists();
            while first && running.load(Ordering::SeqCst) < AT_ONCE && &*call.name != "hangs" {
                tokio::task::yield_now().await;
            }
            match &*call.name {
                "guilty" => {
                    let file = fs::File::options().create(true).append(true).open(&crashes);
                    let written = file.and_then(|mut file| file.write_all(b"x"));
                    written.expect("the folder can be written");
                    std::process::abort();
                }
                "innocent" if !first => Outcome::Completed(call.input),
                _ => std::future::pending().await,
            }
        })
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
        let outcomes: Vec<_> = all
            .iter()
            .filter_map(|event| match event {
                Event::TaskEnded { outcome, .. } => Some(outcome),
                _ => None,
            })
            .collect();
        let called = all.iter().any(|event| matches!(event, Event::TaskScheduled { .. }));
        let calls = if request.name == "hangs" { 1 } else { INNOCENT + 1 };
        let actions = match called {
            false => (0..calls).map(|id| call(request.name, id)).collect(),
            true if outcomes.len() as u32 == calls => {
                let output = Value::text(summary(&outcomes));
                vec![Action::Complete(Completion::Completed(output))]
            }
            true => Vec::new(),
        };
        TurnReply::Decided(Decision { actions, ..Decision::default() })
    }

    fn entity(&mut self, _: &EntityBatch) -> EntityReply {
        unreachable!("there are no entities")
    }

    fn evict(&mut self, _: Iid) {}

    fn resident(&self) -> usize {
        0
    }
}

fn call(name: &str, id: u32) -> Action {
    let is_innocent = name == "guilty" && id != INNOCENT / 2;
    let name = if is_innocent { "innocent" } else { name }.to_owned();
    let (input, tags) = (Value::text(id.to_string()), Tags::new());
    Action::CallActivity { id: EventId(id), name, input, tags, origin: None }
}

fn summary(outcomes: &[&Outcome]) -> String {
    let failures: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Failed(failure) => Some(format!("{}: {}", failure.kind, failure.message)),
            Outcome::Completed(_) => None,
        })
        .collect();
    format!("{} completed; {}", outcomes.len() - failures.len(), failures.join("; "))
}

/// Not a test of its own: what a child process does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Ok(folder), Ok(role)) = (std::env::var(FOLDER), std::env::var(ROLE)) else { return };
    let folder = PathBuf::from(folder);
    let running = Arc::new(AtomicUsize::new(0));
    let host = host(&folder, &role, running.clone());
    let client = host.client();
    let name = if role == "guilty" { "guilty" } else { "hangs" };
    let id = InstanceId::parse(name).unwrap();
    // It may have ended by the time this asks: it is not to run once more.
    let reuse = ReusePolicy::never();
    let options = StartOptions { id: Some(id.clone()), reuse, ..StartOptions::default() };
    let started = client.start(name, Value::text(""), options).await;
    assert!(matches!(started, Ok(_) | Err(ClientError::AlreadyExists { .. })), "{started:?}");
    let text = if role == "guilty" {
        let view = client.wait(&id).await.unwrap();
        let output = view.output.expect("it completed");
        String::from_utf8_lossy(output.inline().expect("it is short")).into_owned()
    } else {
        while running.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        host.fold().await.unwrap();
        if role == "crashes" {
            std::process::abort();
        }
        if role == "is killed while it stops" {
            let running = folder.join("running");
            let noted = fs::read(&running).unwrap().len();
            tokio::spawn(host.stop());
            while fs::read(&running).unwrap().len() == noted {
                tokio::task::yield_now().await;
            }
            std::process::abort();
        }
        client.why(&id).await.unwrap().reasons[0].0.to_string()
    };
    fs::write(folder.join("result"), text).unwrap();
    host.stop().await.unwrap();
}

fn host(folder: &Path, role: &str, running: Arc<AtomicUsize>) -> Host<Embedded> {
    let hub = HubOptions::new("poison", 2);
    let store =
        open_embedded(folder, &hub, LoggedOptions::default()).expect("nobody else has it open");
    let options = Options {
        activities: AT_ONCE,
        drain: if role.starts_with("is killed") { Duration::from_mins(10) } else { Duration::ZERO },
        running_file: Some(folder.join("running")),
        ..Options::default()
    };
    Host::start(store, Arc::new(Hand { folder: folder.to_owned(), running }), options)
        .expect("what the last process left can be read")
}

/// Runs a child process; its result if it did not go down.
fn run(folder: &Path, role: &str) -> Option<String> {
    let output = Command::new(std::env::current_exe().expect("it runs"))
        .args(["--exact", "child", "--nocapture"])
        .env(FOLDER, folder)
        .env(ROLE, role)
        .output()
        .expect("what runs can be run again");
    // A failed assertion ends the child with a code; only an abort ends it without one.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || output.status.code().is_none(), "{said}");
    let result = || fs::read_to_string(folder.join("result")).expect("a child that ends has one");
    output.status.success().then(result)
}

#[test]
#[cfg(unix)]
fn an_activity_that_takes_its_process_down_three_times_fails_and_its_neighbours_complete() {
    let folder = tempfile::tempdir().unwrap();
    let mut ended = (0..10).map(|_| run(folder.path(), "guilty"));
    let result = ended.by_ref().flatten().next().expect("it ends");
    assert!(
        result.starts_with("20 completed; Poison: activity `guilty` took its process down 3 times"),
        "{result}"
    );
    assert_eq!(fs::read(folder.path().join("crashes")).unwrap().len(), 3);
}

#[test]
#[cfg(unix)]
fn an_unclean_end_gives_a_strike_and_a_clean_stop_none() {
    let folder = tempfile::tempdir().unwrap();
    let calm = run(folder.path(), "looks").expect("nothing takes it down");
    assert_eq!(calm, "activity `hangs` (call 0, attempt 1) is running");
    let after_stop = run(folder.path(), "looks").expect("nothing takes it down");
    assert_eq!(after_stop, calm);
    assert_eq!(run(folder.path(), "is killed while it stops"), None);
    let after_kill = run(folder.path(), "looks").expect("nothing takes it down");
    assert_eq!(after_kill, calm);
    assert_eq!(run(folder.path(), "crashes"), None);
    let struck = run(folder.path(), "looks").expect("nothing takes it down");
    assert_eq!(
        struck,
        format!("{calm}; it took its process down once, or ran beside what did; runs alone")
    );
    let after_stop = run(folder.path(), "looks").expect("nothing takes it down");
    assert_eq!(after_stop, struck);
    assert_eq!(run(folder.path(), "crashes"), None);
    let twice = run(folder.path(), "looks").expect("nothing takes it down");
    assert_eq!(twice, format!("{calm}; it took its process down 2 times; runs alone"));
}
