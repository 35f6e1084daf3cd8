//! A program that is evicted at every turn decides what the resident one does.
//!
//! The script takes each turn twice, so it is enough to run random programs against random answers.

mod script;

use std::{sync::Arc, time::Duration};

use everstep::{Activity, App, Context, Either, Failure, InstanceId, Orchestrator, RetryPolicy};
use everstep_model::{Event, EventId, Outcome};
use proptest::prelude::*;
use script::{Script, fired, granted, raised};

const WORK: Activity<u32, u32> = Activity::new("Work");
const CHILD: Orchestrator<u32, u32> = Orchestrator::new("Child");

/// A step of a random program.
#[derive(Debug, Clone)]
enum Step {
    Call,
    CallWithRetry,
    CallWithoutAwait,
    Child,
    Sleep(u64),
    Event(u8),
    EventOrTimeout(u8, u64),
    FanOut(u8),
    Both(Box<Step>, Box<Step>),
    First(Box<Step>, Box<Step>),
    Section,
    Signal,
    Status,
}

fn step() -> impl Strategy<Value = Step> {
    let leaf = prop_oneof![
        Just(Step::Call),
        Just(Step::CallWithRetry),
        Just(Step::CallWithoutAwait),
        Just(Step::Child),
        (0..100_u64).prop_map(Step::Sleep),
        (0..3_u8).prop_map(Step::Event),
        (0..3_u8, 0..100_u64).prop_map(|(name, wait)| Step::EventOrTimeout(name, wait)),
        (0..5_u8).prop_map(Step::FanOut),
        Just(Step::Section),
        Just(Step::Signal),
        Just(Step::Status),
    ];
    leaf.prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Step::Both(a.into(), b.into())),
            (inner.clone(), inner).prop_map(|(a, b)| Step::First(a.into(), b.into())),
        ]
    })
}

type Running = std::pin::Pin<Box<dyn Future<Output = Result<u32, Failure>> + Send>>;

fn run(ctx: Context, step: Step) -> Running {
    Box::pin(async move {
        Ok(match step {
            Step::Call => ctx.call(WORK, 1).await.unwrap_or(0),
            Step::CallWithRetry => {
                let policy = RetryPolicy::fixed(Duration::from_secs(5), 3);
                ctx.call(WORK, 2).retry(policy).await.unwrap_or(0)
            }
            Step::CallWithoutAwait => {
                drop(ctx.call(WORK, 3));
                0
            }
            Step::Child => ctx.child(CHILD, 4).await?,
            Step::Sleep(seconds) => {
                ctx.sleep(Duration::from_secs(seconds)).await;
                ctx.new_guid().0[0].into()
            }
            Step::Event(name) => ctx.event(&format!("e{name}")).await?,
            Step::EventOrTimeout(name, seconds) => {
                let event = ctx.event(&format!("E{name}"));
                event.or_timeout(Duration::from_secs(seconds)).await.unwrap_or(0)
            }
            Step::FanOut(width) => {
                let calls = (0..u32::from(width)).map(|i| ctx.call(WORK, i)).collect();
                everstep::join_all(calls).await.into_iter().flatten().sum()
            }
            Step::Both(a, b) => {
                let (a, b) = everstep::join((run(ctx.clone(), *a), run(ctx, *b))).await;
                a? + b?
            }
            Step::First(a, b) => {
                match everstep::select((run(ctx.clone(), *a), run(ctx, *b))).await {
                    Either::First(value) | Either::Second(value) => value?,
                }
            }
            Step::Section => {
                let entity = InstanceId::entity("E", "k").expect("a good key");
                let _guard = ctx.lock([entity.clone()]).await?;
                ctx.call_entity(&entity, "get", &()).await?
            }
            Step::Signal => {
                let entity = InstanceId::entity("E", "other").expect("a good key");
                ctx.signal(&entity, "poke", &(ctx.random() % 10));
                0
            }
            Step::Status => {
                ctx.set_custom_status(&ctx.now().ticks());
                0
            }
        })
    })
}

fn app(program: Vec<Step>) -> App {
    let program = Arc::new(program);
    App::new("random").orchestrator("Main", move |ctx: Context, _: u32| {
        let program = Arc::clone(&program);
        async move {
            let mut sum = 0;
            for step in program.iter() {
                sum += run(ctx.clone(), step.clone()).await?;
            }
            Ok::<u32, Failure>(sum)
        }
    })
}

/// The answers that the world still owes.
fn open_answers(history: &[Event], failing: bool) -> Vec<Event> {
    let is_open = |id: &EventId| {
        !history.iter().any(|event| match event {
            Event::TaskEnded { task, .. }
            | Event::ChildEnded { task, .. }
            | Event::OperationEnded { task, .. } => task == id,
            Event::TimerFired { timer } | Event::TimerCanceled { timer } => timer == id,
            Event::LockGranted { lock } | Event::LockReleased { lock, .. } => lock == id,
            _ => false,
        })
    };
    let outcome = || {
        if failing {
            Outcome::Failed(Box::new(Failure::new("Io", "no")))
        } else {
            Outcome::Completed("1".into())
        }
    };
    let answer = |event: &Event| {
        Some(match event {
            Event::TaskScheduled { id, .. } if is_open(id) => {
                Event::TaskEnded { task: *id, outcome: outcome() }
            }
            Event::ChildCreated { id, .. } if is_open(id) => {
                Event::ChildEnded { task: *id, outcome: outcome() }
            }
            Event::OperationCalled { id, .. } if is_open(id) => {
                Event::OperationEnded { task: *id, outcome: outcome() }
            }
            Event::TimerCreated { id, .. } if is_open(id) => fired(id.0),
            Event::LockRequested { id, .. } if is_open(id) => granted(id.0),
            _ => return None,
        })
    };
    history.iter().filter_map(answer).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_evicted_program_decides_what_the_resident_one_does(
        program in prop::collection::vec(step(), 1..6),
        world in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<bool>(), any::<bool>()), 60),
    ) {
        let mut script = Script::new(app(program), "Main", "1");
        let mut decided = script.turn([]);
        for (pick, event, failing, evict) in world {
            if script.resident() == 0 && decided.last().is_some_and(|last| last.starts_with("return") || last.starts_with("fail")) {
                break;
            }
            if evict {
                script.evict();
            }
            let mut answers = open_answers(&script.history, failing);
            let mut events = Vec::new();
            if !answers.is_empty() {
                events.push(answers.swap_remove(pick.index(answers.len())));
            }
            if event < 3 {
                events.push(raised(&format!("E{event}"), "1"));
            }
            decided = script.turn(events);
        }
        let whole = script.app.replay(&InstanceId::from_stored("order-7"), &script.history);
        prop_assert_eq!(whole, Ok(()));
    }
}
