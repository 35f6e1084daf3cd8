//! The harness for users, used as users do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use everstep::{
    ActivityContext, App, Context, Either, Failure, InstanceId, RetryPolicy, activity, entity,
    orchestrator,
    testing::{self, Error, Options, Replay, TestHub, TestRun},
};
use everstep_model::Status;

const DAY: Duration = Duration::from_hours(24);

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Ledger(u32);

#[entity]
impl Ledger {
    fn add(&mut self, by: u32) -> u32 {
        self.0 += by;
        self.0
    }
}

/// Fails the first time.
#[activity]
async fn flaky(ctx: ActivityContext, number: u32) -> Result<u32, String> {
    if ctx.attempt() == 1 { Err("not yet".to_owned()) } else { Ok(number * 10) }
}

#[activity]
async fn double(_: ActivityContext, number: u32) -> Result<u32, Failure> {
    Ok(number * 2)
}

#[orchestrator]
async fn part(ctx: Context, number: u32) -> Result<u32, Failure> {
    let retry = RetryPolicy::fixed(Duration::from_secs(5), 3);
    ctx.sleep(Duration::from_mins(1)).await;
    ctx.call(flaky, number).retry(retry).await
}

/// Activities, retries, timers, an event, children, an entity, a lock and generations.
#[orchestrator]
async fn everything(ctx: Context, (left, sum): (u32, u32)) -> Result<u32, Failure> {
    let total = ctx.entity::<Ledger>("all");
    if left == 0 {
        let section = ctx.lock([total.id()?]).await?;
        let all = total.call(Ledger::ADD, sum).await?;
        section.release();
        return Ok(all);
    }
    let parts = (1..=2).map(|number| ctx.child(part, number)).collect();
    let parts: u32 = everstep::try_join_all(parts).await?.into_iter().sum();
    let bonus: u32 = ctx.event("Bonus").await?;
    let twice = ctx.call(double, bonus).await?;
    ctx.continue_as_new((left - 1, sum + parts + twice)).keep_events().await
}

#[orchestrator]
async fn approval(ctx: Context, (): ()) -> Result<String, Failure> {
    ctx.set_custom_status(&"waiting");
    match everstep::select((ctx.event::<String>("Approve"), ctx.sleep(90 * DAY))).await {
        Either::First(by) => Ok(format!("approved by {}", by?)),
        Either::Second(()) => Ok("forgotten".to_owned()),
    }
}

fn app() -> App {
    App::new("1").entity::<Ledger>().add(flaky).add(double).add(part).add(everything).add(approval)
}

fn play(hub: &mut TestHub) -> Result<(u32, Option<u32>), Error> {
    let run = hub.start(everything, (2, 0))?;
    hub.raise(run.id(), "Bonus", &1_u32)?;
    hub.raise(run.id(), "Bonus", &3_u32)?;
    let sum = hub.result(&run)?;
    hub.signal("all", Ledger::ADD, 1_000)?;
    Ok((sum, hub.entity::<Ledger>("all")?.map(|ledger| ledger.0)))
}

#[test]
fn a_timer_of_ninety_days_fires_without_waiting() {
    let mut hub = TestHub::new(app());
    let began = hub.now();
    let run = hub.start(approval, ()).unwrap();
    hub.advance(89 * DAY);
    assert_eq!(hub.status(run.id()), Ok(Status::Running));
    assert_eq!(hub.custom_status(run.id()), Ok(Some("waiting".to_owned())));
    assert_eq!(hub.result(&run), Ok("forgotten".to_owned()));
    let took = hub.now().since(began);
    assert!((90 * DAY..91 * DAY).contains(&took), "{took:?}");
}

#[test]
fn an_event_ends_the_wait_before_any_time_passes() {
    let mut hub = TestHub::new(app());
    let began = hub.now();
    let run = hub.start(approval, ()).unwrap();
    hub.raise(run.id(), "approve", "Ada").unwrap();
    assert_eq!(hub.result(&run), Ok("approved by Ada".to_owned()));
    assert_eq!(hub.now(), began);
}

#[test]
fn a_mock_answers_in_the_place_of_the_activity_and_counts() {
    let mut hub = TestHub::new(app());
    let calls = hub.mock(flaky, |number| match number {
        1 => Ok(100),
        _ => Err(Failure::new("Broken", "always")),
    });
    let run = hub.start(part, 1).unwrap();
    assert_eq!(hub.result(&run), Ok(100));
    assert_eq!(calls.count(), 1);
    let run = hub.start(part, 2).unwrap();
    assert_eq!(hub.result(&run), Err(Error::Failed(Failure::new("Broken", "always"))));
    assert_eq!(calls.count(), 4, "the retries reach the mock too");
}

#[test]
fn a_call_without_an_activity_waits_until_there_is_a_mock() {
    let app = App::new("1").add(part);
    let mut hub = TestHub::new(app);
    let run = hub.start(part, 1).unwrap();
    let stuck = hub.result(&run).unwrap_err().to_string();
    assert!(stuck.contains("`flaky`") && stuck.contains("registered"), "{stuck}");
    hub.mock(flaky, |number| Ok(number + 1));
    assert_eq!(hub.result(&run), Ok(2));
}

#[test]
fn a_crash_anywhere_changes_nothing() {
    let swept = testing::crash_everywhere(&app(), play).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(swept.result, Ok((68, Some(1_068))));
    assert!(swept.runs > 40, "a crash before and after each of many commits: {}", swept.runs);
}

#[test]
fn a_correct_program_gives_the_same_in_any_order() {
    let explored = testing::explore(&app(), 0..50, play).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(explored.result, Ok((68, Some(1_068))));
    assert_eq!(explored.runs, 51);
}

#[test]
fn crashes_and_other_orders_together_change_nothing() {
    let options = Options { seed: Some(7), partitions: 2, ..Options::default() };
    let swept = testing::crash_everywhere_with(&app(), &options, play);
    let swept = swept.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(swept.result, Ok((68, Some(1_068))));
}

#[test]
fn a_result_that_depends_on_a_crash_is_reported_with_its_commit() {
    let attempts = AtomicU32::new(0);
    let error = testing::crash_everywhere(&app(), |hub| {
        let run = hub.start(part, 1).unwrap();
        hub.result(&run).unwrap();
        // Like a counter outside: it goes on where the run before left it.
        attempts.fetch_add(1, Ordering::Relaxed) / 3
    });
    let error = error.unwrap_err();
    assert!(error.place.starts_with("after a crash right before commit 2 of "), "{error}");
    assert_eq!((error.expected.as_str(), error.found.as_str()), ("0", "1"));
}

#[test]
fn an_activity_that_ran_when_the_crash_came_runs_again() {
    let error = testing::crash_everywhere(&app(), |hub| {
        let calls = hub.mock(double, |number| Ok(number * 2));
        let run = hub.start(everything, (1, 0)).unwrap();
        hub.raise(run.id(), "Bonus", &1_u32).unwrap();
        hub.result(&run).unwrap();
        calls.count()
    });
    assert_eq!(error.unwrap_err().found, "2");
}

/// Decides by something that no history holds.
fn moody() -> (App, everstep::Orchestrator<(), u32>) {
    let turns = Arc::new(AtomicU32::new(0));
    let name = everstep::Orchestrator::new("Moody");
    let app = app().orchestrator(name, move |ctx: Context, ()| {
        let turn = turns.fetch_add(1, Ordering::Relaxed);
        async move {
            if turn.is_multiple_of(2) {
                ctx.call(double, 1).await
            } else {
                ctx.sleep(DAY).await;
                Ok(0)
            }
        }
    });
    (app, name)
}

#[test]
fn an_orchestrator_that_is_not_deterministic_is_reported() {
    let (app, name) = moody();
    let mut hub = TestHub::new(app);
    let run: TestRun<u32> = hub.start(name, ()).unwrap();
    let error = hub.result(&run).unwrap_err();
    assert!(matches!(error, Error::Stuck { .. }), "{error}");
    assert!(error.to_string().contains("it is parked: event 2 of the history is"), "{error}");
}

#[test]
fn without_a_replay_in_each_turn_a_crash_finds_it() {
    let (app, name) = moody();
    let options = Options { replay: Replay::AfterCrashes, ..Options::default() };
    let mut hub = TestHub::with_options(app, options);
    let run = hub.start(name, ()).unwrap();
    assert_eq!(hub.result(&run), Ok(2));
    let run = hub.start(name, ()).unwrap();
    hub.run();
    hub.crash();
    assert!(matches!(hub.result(&run), Err(Error::Stuck { .. })));
}

#[test]
fn what_is_stuck_says_what_it_waits_for_down_to_the_child() {
    let parent = everstep::Orchestrator::<(), u32>::new("Parent");
    let child = everstep::Orchestrator::<(), u32>::new("Child");
    let app = App::new("1")
        .orchestrator(parent, move |ctx: Context, ()| async move {
            ctx.child(child, ()).id("the-child").await
        })
        .orchestrator(child, |ctx: Context, ()| async move { ctx.event::<u32>("Go").await });
    let mut hub = TestHub::new(app);
    let run = hub.start(parent, ()).unwrap();
    let stuck = hub.result(&run).unwrap_err().to_string();
    assert!(
        stuck.starts_with("`run-1` will never end: sub-orchestration `the-child` has not ended ("),
        "{stuck}"
    );
    assert!(stuck.contains("`Go`"), "{stuck}");
}

#[test]
fn suspend_resume_and_terminate_do_what_a_client_would_see() {
    let mut hub = TestHub::new(app());
    let run = hub.start(approval, ()).unwrap();
    hub.suspend(run.id()).unwrap();
    assert_eq!(hub.status(run.id()), Ok(Status::Suspended));
    hub.raise(run.id(), "Approve", "Ada").unwrap();
    assert_eq!(hub.status(run.id()), Ok(Status::Suspended));
    hub.resume(run.id()).unwrap();
    assert_eq!(hub.result(&run), Ok("approved by Ada".to_owned()));

    let run = hub.start(approval, ()).unwrap();
    hub.run();
    hub.terminate(run.id(), "no more").unwrap();
    assert_eq!(hub.result(&run), Err(Error::Failed(Failure::new("Terminated", "no more"))));
    let late = hub.raise(run.id(), "Approve", "Ada");
    assert!(matches!(late, Err(Error::WrongStatus { status: Status::Terminated, .. })));
    let nobody = InstanceId::orchestration("nobody").unwrap();
    assert_eq!(hub.status(&nobody), Err(Error::NotFound(nobody)));
}

#[test]
fn time_moves_no_further_than_it_is_told() {
    let mut hub = TestHub::new(app());
    let run = hub.start(approval, ()).unwrap();
    let began = hub.now();
    hub.run_until_idle_or(DAY);
    assert_eq!(hub.now(), began, "no timer is due within a day");
    hub.run_until_idle_or(100 * DAY);
    assert_eq!(hub.status(run.id()), Ok(Status::Completed));
}

#[test]
fn an_orchestration_that_ticks_for_ever_does_not_keep_a_test() {
    let name = everstep::Orchestrator::<(), ()>::new("Clock");
    let app = App::new("1").orchestrator(name, |ctx: Context, ()| async move {
        ctx.sleep(DAY).await;
        ctx.continue_as_new::<Result<(), Failure>>(()).await
    });
    let mut hub = TestHub::with_options(app, Options { skips: 100, ..Options::default() });
    let run = hub.start(name, ()).unwrap();
    assert!(matches!(hub.result(&run), Err(Error::Endless { .. })));
}

#[test]
fn large_values_come_back_whole() {
    let name = everstep::Orchestrator::<String, String>::new("Echo");
    let app = App::new("1").orchestrator(name, |_: Context, text: String| async move {
        Ok::<_, Failure>(text.repeat(2))
    });
    let mut hub = TestHub::new(app);
    let run = hub.start(name, "x".repeat(300_000)).unwrap();
    assert_eq!(hub.result(&run).map(|text| text.len()), Ok(600_000));
}

#[test]
fn a_kept_history_is_replayed_and_a_change_of_the_code_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("approval.history");
    let mut hub = TestHub::new(app());
    let run = hub.start(approval, ()).unwrap();
    hub.result(&run).unwrap();
    hub.save_history(run.id(), &path).unwrap();
    assert_eq!(testing::replay_file(&app(), &path), Ok(()));

    let name = everstep::Orchestrator::<(), u32>::new("approval");
    let changed = App::new("2")
        .add(double)
        .orchestrator(name, |ctx: Context, ()| async move { ctx.call(double, 1).await });
    let failure = testing::replay_file(&changed, &path).unwrap_err();
    assert!(failure.message.contains("approval.history: "), "{failure}");

    std::fs::write(&path, "something else").unwrap();
    let failure = testing::replay_file(&app(), &path).unwrap_err();
    assert!(failure.message.ends_with("this is not a history; save it again"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_activity_may_use_the_timers_of_a_runtime() {
    let runtime = Some(tokio::runtime::Handle::current());
    let name = everstep::Orchestrator::<(), u32>::new("Slow");
    let app = App::new("1")
        .activity("Nap", |_: ActivityContext, ()| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<u32, Failure>(7)
        })
        .orchestrator(name, |ctx: Context, ()| async move { ctx.call_by_name("Nap", &()).await });
    let mut hub = TestHub::with_options(app, Options { runtime, ..Options::default() });
    let run = hub.start(name, ()).unwrap();
    assert_eq!(hub.result(&run), Ok(7));
}
