//! What orchestrators decide, turn by turn. The script takes every turn hot and cold.

mod script;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as Task, Poll},
    time::Duration,
};

use everstep::{
    Activity, App, Context, Either, Failure, InstanceId, Orchestrator, RetryPolicy, Timestamp,
    kinds,
};
use everstep_model::{Event, Wait};
use everstep_worker::{History, TurnReply, Worker};
use script::{Script, child_ok, entity_ok, fired, granted, lines, raised, task_failed, task_ok};

const A: Activity<u32, u32> = Activity::new("A");
const B: Activity<u32, u32> = Activity::new("B");
const CHILD: Orchestrator<u32, u32> = Orchestrator::new("Child");

/// A script around one orchestrator that takes a number.
fn script<F, Fut>(code: F) -> Script
where
    F: Fn(Context, u32) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<u32, Failure>> + Send + 'static,
{
    Script::new(app(code), "Main", "1")
}

fn app<F, Fut>(code: F) -> App
where
    F: Fn(Context, u32) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<u32, Failure>> + Send + 'static,
{
    App::new("test").orchestrator("Main", code)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn calls_follow_one_another() {
    let mut script = script(async |ctx: Context, n| {
        let a = ctx.call(A, n).await?;
        Ok(ctx.call(B, a).tag("k", "v").await? + 1)
    });
    assert_eq!(script.turn([]), ["0 call A 1"]);
    assert_eq!(script.turn([task_ok(0, "5")]), [r#"1 call B 5 {"k": "v"}"#]);
    assert_eq!(script.turn([task_ok(1, "6")]), ["return 7"]);
    assert_eq!(script.resident(), 0);
}

#[test]
fn a_failure_of_a_call_is_the_failure_of_the_orchestration_unless_caught() {
    let mut script = script(async |ctx: Context, n| {
        if ctx.call(A, n).await.is_err() {
            return ctx.call(B, n).await;
        }
        Ok(0)
    });
    script.turn([]);
    assert_eq!(script.turn([task_failed(0, "no")]), ["1 call B 1"]);
    assert_eq!(script.turn([task_failed(1, "nor here")]), ["fail Io: nor here"]);
}

#[test]
fn a_call_that_is_never_awaited_still_runs() {
    let mut script = script(async |ctx: Context, n| {
        drop(ctx.call(A, n));
        ctx.call(B, n).await
    });
    assert_eq!(script.turn([]), ["0 call A 1", "1 call B 1"]);
    assert_eq!(script.turn([task_ok(0, "9")]), [""; 0]);
    assert_eq!(script.turn([task_ok(1, "2")]), ["return 2"]);
}

#[test]
fn ids_follow_the_calls_and_not_the_polls() {
    let mut script = script(async |ctx: Context, n| {
        let (a, b) = (ctx.call(A, n), ctx.call(B, n));
        let (b, a) = everstep::join((b, a)).await;
        Ok(a? * 10 + b?)
    });
    assert_eq!(script.turn([]), ["0 call A 1", "1 call B 1"]);
    assert_eq!(script.turn([task_ok(1, "2")]), [""; 0]);
    assert_eq!(script.turn([task_ok(0, "1")]), ["return 12"]);
}

#[test]
fn retries_are_timers_and_calls() {
    let mut script = script(async |ctx: Context, n| {
        ctx.call(A, n).retry(RetryPolicy::exponential(seconds(10), 3)).await
    });
    assert_eq!(script.turn([]), ["0 call A 1 (attempt 1 of 0)"]);
    assert_eq!(script.turn([task_failed(0, "1st")]), ["1 timer 12s (attempt 2 of 0)"]);
    assert_eq!(script.turn([fired(1)]), ["2 call A 1 (attempt 2 of 0)"]);
    assert_eq!(script.turn([task_failed(2, "2nd")]), ["3 timer 24s (attempt 3 of 0)"]);
    script.evict();
    assert_eq!(script.turn([fired(3)]), ["4 call A 1 (attempt 3 of 0)"]);
    assert_eq!(script.turn([task_failed(4, "3rd")]), ["fail Io: 3rd"]);
}

#[test]
fn a_retry_goes_on_while_nobody_polls_the_call() {
    let mut script = script(async |ctx: Context, n| {
        let flaky = ctx.call(A, n).retry(RetryPolicy::fixed(seconds(1), 2)).tag("k", "v");
        ctx.call(B, n).await?;
        flaky.await
    });
    assert_eq!(script.turn([]), [r#"0 call A 1 {"k": "v"} (attempt 1 of 0)"#, "1 call B 1"]);
    assert_eq!(script.turn([task_failed(0, "x")]), ["2 timer 3s (attempt 2 of 0)"]);
    assert_eq!(script.turn([fired(2)]), [r#"3 call A 1 {"k": "v"} (attempt 2 of 0)"#]);
    assert_eq!(script.turn([task_ok(3, "4")]), [""; 0]);
    assert_eq!(script.turn([task_ok(1, "5")]), ["return 4"]);
}

#[test]
fn a_dropped_retry_cancels_its_timer() {
    let mut script = script(async |ctx: Context, n| {
        let flaky = ctx.call(A, n).retry(RetryPolicy::fixed(seconds(100), 5));
        match ctx.timeout(seconds(10), flaky).await {
            Ok(answer) => answer,
            Err(_) => ctx.call(B, n).await,
        }
    });
    assert_eq!(script.turn([]), ["0 call A 1 (attempt 1 of 0)", "1 timer 11s"]);
    assert_eq!(script.turn([task_failed(0, "x")]), ["2 timer 102s (attempt 2 of 0)"]);
    assert_eq!(script.turn([fired(1)]), ["- cancel 2", "3 call B 1"]);
    assert_eq!(script.turn([task_ok(3, "8")]), ["return 8"]);
}

#[test]
fn a_failure_marked_as_final_is_not_retried() {
    let mut script = script(async |ctx: Context, n| {
        ctx.call(A, n).retry(RetryPolicy::fixed(seconds(1), 9)).await
    });
    script.turn([]);
    let failure = Failure::new("Declined", "no funds").fatal();
    let outcome = everstep_model::Outcome::Failed(Box::new(failure));
    let ended = Event::TaskEnded { task: everstep::EventId(0), outcome };
    assert_eq!(script.turn([ended]), ["fail Declined: no funds"]);
}

#[test]
fn the_losing_timer_of_a_select_is_canceled() {
    let mut script = script(async |ctx: Context, n| {
        match everstep::select((ctx.event::<u32>("Go"), ctx.sleep(seconds(60)))).await {
            Either::First(event) => ctx.call(A, event? + n).await,
            Either::Second(()) => Ok(0),
        }
    });
    assert_eq!(script.turn([]), ["0 timer 61s"]);
    assert_eq!(script.turn([raised("GO", "4")]), ["- cancel 0", "1 call A 5"]);
    // The timer fires all the same.
    assert_eq!(script.turn([fired(0)]), [""; 0]);
    assert_eq!(script.turn([task_ok(1, "3")]), ["return 3"]);
}

#[test]
fn a_select_prefers_the_first_of_two_that_are_ready() {
    let mut script = script(async |ctx: Context, n| {
        match everstep::select((ctx.call(A, n), ctx.call(B, n))).await {
            Either::First(a) => a,
            Either::Second(_) => Ok(0),
        }
    });
    script.turn([]);
    assert_eq!(script.turn([task_ok(1, "1"), task_ok(0, "2")]), ["return 2"]);
}

#[test]
fn events_are_buffered_before_the_wait_and_served_in_order() {
    let mut script = script(async |ctx: Context, n| {
        ctx.call(A, n).await?;
        let (first, second) = (ctx.event::<u32>("e"), ctx.event::<u32>("E"));
        let (second, first) = everstep::join((second, first)).await;
        Ok(first? * 10 + second?)
    });
    script.turn([]);
    script.turn([raised("E", "1")]);
    script.turn([task_ok(0, "0")]);
    assert_eq!(script.turn([raised("e", "2")]), ["return 12"]);
}

#[test]
fn an_event_wait_times_out_as_a_failure() {
    let mut script =
        script(async |ctx: Context, _| ctx.event::<u32>("Never").or_timeout(seconds(3)).await);
    assert_eq!(script.turn([]), ["0 timer 4s"]);
    assert_eq!(script.turn([fired(0)]), ["fail Timeout: the time was up"]);
}

#[test]
fn children_have_ids_versions_and_may_be_detached() {
    let mut script = script(async |ctx: Context, n| {
        let made = ctx.child(CHILD, n).detach();
        let given = ctx.child(CHILD, n).id("mine").detach();
        assert_eq!((made.as_str().len(), given.as_str()), (36, "mine"));
        let refused = ctx.child(CHILD, n).id("a/b").await.unwrap_err();
        assert_eq!(refused.kind, "IdError");
        ctx.child(CHILD, n).version("3").retry(RetryPolicy::fixed(seconds(1), 2)).await
    });
    let first = script.turn([]);
    assert!(first[0].starts_with("0 child Child ") && first[0].ends_with(" 1 detached"));
    assert_eq!(
        first[1..],
        ["1 child Child mine 1 detached", "3 child Child v3 - 1 (attempt 1 of 3)"]
    );
    assert_eq!(script.turn([child_ok(3, "2")]), ["return 2"]);
}

#[test]
fn continue_as_new_ends_the_generation_and_keeps_events_when_asked() {
    let mut script = script(async |ctx: Context, n| {
        let _open = ctx.sleep(seconds(1000));
        ctx.event::<u32>("Next").await?;
        ctx.continue_as_new(n + 1).keep_events().version("9").await
    });
    script.turn([]);
    let events = [raised("Other", "1"), raised("next", "2"), raised("Next", "3")];
    assert_eq!(
        script.turn(events),
        [r#"again 2 Some("9") [("Other", 1), ("Next", 3)]"#],
        "the timer is not canceled: nothing is recorded for what is dropped"
    );
    assert_eq!(script.resident(), 0);
}

#[test]
fn time_guids_and_random_numbers_repeat() {
    let mut script = script(async |ctx: Context, n| {
        let first = (ctx.now(), ctx.new_guid(), ctx.random(), ctx.new_guid());
        assert_eq!(first.0, Timestamp::from_millis(1000));
        assert_ne!(first.1, first.3);
        ctx.call(A, (first.2 % 1000) as u32).await?;
        assert_eq!(ctx.now(), Timestamp::from_millis(2000));
        ctx.send_event(&InstanceId::from_stored("x"), "Guid", &first.1.to_string());
        ctx.call(B, n).await
    });
    let random = script.turn([]);
    // The rule of Durable Functions: version 5 of "{instance}_{now}_{counter}" in its name space.
    let namespace = script::guid("9e9529595e334daf827f2fa12937b875");
    let guid = everstep::Guid::v5(namespace, "order-7_1970-01-01T00:00:01.0000000Z_0");
    assert_eq!(
        script.turn([task_ok(0, "0")]),
        [format!("1 send x Guid \"{guid}\""), "2 call B 1".to_owned()]
    );
    assert_eq!(random.len(), 1);
}

#[test]
fn an_orchestration_knows_itself() {
    let mut script = script(async |ctx: Context, _| {
        assert_eq!(ctx.instance_id().as_str(), "order-7");
        assert_eq!(ctx.execution_id().as_str(), "e1");
        assert_eq!((&*ctx.name(), ctx.version().as_str()), ("Main", "2.1"));
        assert_eq!(ctx.tags()["team"], "blue");
        assert_eq!(ctx.parent(), None);
        Ok(0)
    });
    assert_eq!(script.turn([]), ["return 0"]);
}

#[test]
fn entities_are_called_signaled_and_locked() {
    let mut script = script(async |ctx: Context, n| {
        let (x, y) = (InstanceId::entity("E", "x").unwrap(), InstanceId::entity("E", "y").unwrap());
        ctx.signal_at(Timestamp::from_millis(9000), &y, "poke", &n);
        let guard = ctx.lock([y.clone(), x.clone(), y.clone()]).await?;
        let got: u32 = ctx.call_entity(&x, "get", &()).await?;
        guard.release();
        ctx.signal(&y, "poke", &got);
        Ok(got)
    });
    assert_eq!(script.turn([]), ["0 signal @e@y poke 1 at 9s", r#"1 lock ["@e@x", "@e@y"]"#]);
    assert_eq!(script.turn([granted(1)]), ["2 ask @e@x get null"]);
    assert_eq!(
        script.turn([entity_ok(2, "5")]),
        ["3 unlock 1", "4 signal @e@y poke 5", "return 5"]
    );
}

#[test]
fn the_rules_of_critical_sections_are_kept() {
    let mut script = script(async |ctx: Context, n| {
        let (x, y) = (InstanceId::entity("E", "x").unwrap(), InstanceId::entity("E", "y").unwrap());
        let _guard = ctx.lock([x.clone()]).await?;
        let kind = |failure: Failure| failure.kind;
        assert_eq!(ctx.lock([y.clone()]).await.map_err(kind).unwrap_err(), kinds::RULE);
        assert_eq!(ctx.child(CHILD, n).await.map_err(kind).unwrap_err(), kinds::RULE);
        assert_eq!(
            ctx.call_entity::<u32>(&y, "get", &()).await.map_err(kind).unwrap_err(),
            kinds::RULE
        );
        let open = ctx.call_entity::<u32>(&x, "get", &());
        assert_eq!(
            ctx.call_entity::<u32>(&x, "get", &()).await.map_err(kind).unwrap_err(),
            kinds::RULE
        );
        open.await?;
        ctx.call_entity::<u32>(&x, "get", &()).await?;
        ctx.signal(&x, "poke", &());
        Ok(0)
    });
    script.turn([]);
    assert_eq!(script.turn([granted(0)]), ["1 ask @e@x get null"]);
    assert_eq!(script.turn([entity_ok(1, "1")]), ["2 ask @e@x get null"]);
    let end = script.turn([entity_ok(2, "1")]);
    assert_eq!(end.len(), 2, "the guard is dropped by the return: {end:?}");
    assert!(end[1].starts_with("fail RuleViolation: the entity `@e@x` is signaled"));
}

#[test]
fn a_lock_that_is_not_awaited_is_given_back() {
    let mut script = script(async |ctx: Context, n| {
        let x = InstanceId::entity("E", "x").unwrap();
        drop(ctx.lock([x.clone()]));
        let _second = ctx.lock([x]);
        ctx.call(A, n).await
    });
    assert_eq!(
        script.turn([]),
        [r#"0 lock ["@e@x"]"#, "1 unlock 0", r#"2 lock ["@e@x"]"#, "3 call A 1"]
    );
    assert_eq!(script.turn([granted(2), task_ok(3, "1")]), ["4 unlock 2", "return 1"]);
}

#[test]
fn eviction_records_nothing_whatever_is_dropped() {
    let mut script = script(async |ctx: Context, n| {
        struct Noisy(Context);
        impl Drop for Noisy {
            fn drop(&mut self) {
                drop(self.0.call(A, 99));
                self.0.set_custom_status(&"dropped");
                panic!("a destructor may panic as well");
            }
        }
        let x = InstanceId::entity("E", "x").unwrap();
        let _guard = ctx.lock([x]).await?;
        let _timer = ctx.sleep(seconds(100));
        let noisy = Noisy(ctx.clone());
        let result = ctx.call(B, n).await;
        std::mem::forget(noisy);
        result
    });
    script.turn([]);
    assert_eq!(script.turn([granted(0)]), ["1 timer 102s", "2 call B 1"]);
    script.evict();
    assert_eq!(script.resident(), 0);
    assert_eq!(script.turn([task_ok(2, "3")]), ["3 unlock 0", "return 3"]);
}

#[test]
fn the_custom_status_is_limited() {
    let mut script = script(async |ctx: Context, n| {
        ctx.set_custom_status(&"a".repeat(8190));
        ctx.call(A, n).await?;
        ctx.set_custom_status(&"a".repeat(8191));
        ctx.call(A, n).await
    });
    let first = script.decide([]);
    assert_eq!(first.custom_status.map(|status| status.len()), Some(8192));
    let failed = script.turn([task_ok(0, "1")]);
    assert!(
        failed.last().unwrap().starts_with("fail LimitExceeded: The UTF-16 size"),
        "{failed:?}"
    );
}

#[test]
fn what_is_awaited_is_told_in_each_turn() {
    let mut script = script(async |ctx: Context, n| {
        let call = ctx.call(A, n);
        let (a, _) = everstep::join((call, ctx.event::<u32>("Go"))).await;
        a
    });
    let both = Wait::Any(vec![Wait::Task(everstep::EventId(0)), Wait::Event("Go".into())]);
    assert_eq!(script.decide([]).wait, Some(both.clone()));
    assert_eq!(script.decide([raised("Other", "1")]).wait, Some(both));
    assert_eq!(script.decide([task_ok(0, "1")]).wait, Some(Wait::Event("Go".into())));
}

#[test]
fn awaiting_what_is_not_durable_is_reported_at_once() {
    let mut script = script(async |_: Context, _| std::future::pending().await);
    let failed = script.turn([]);
    assert!(
        failed[0].starts_with(
            "fail RuleViolation: the orchestrator awaits something that is not durable"
        )
    );
    assert!(failed[0].contains("move it into an activity"));
}

#[test]
fn a_wake_from_outside_is_reported_in_the_next_turn() {
    /// Gives its waker away and waits.
    struct Foreign(std::sync::mpsc::Sender<std::task::Waker>);
    impl Future for Foreign {
        type Output = ();
        fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
            self.0.send(task.waker().clone()).unwrap();
            Poll::Pending
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let code = move |ctx: Context, n| {
        let foreign = Foreign(sender.clone());
        async move {
            match everstep::select((ctx.call(A, n), foreign)).await {
                Either::First(answer) => answer,
                Either::Second(()) => Ok(0),
            }
        }
    };
    let app = app(code);
    let mut turns = app.turns(everstep_model::PartitionId(0));
    let mut script = Script::new(app, "Main", "1");
    script.turn([]);
    let turn = [Event::TurnStarted { now: Timestamp::EPOCH }];
    script.ask(&mut *turns, History::Full(&script.history), &turn);
    receiver.try_iter().for_each(std::task::Waker::wake);
    let seen = script.history.len() as u32 + 1;
    match script.ask(&mut *turns, History::Seen(seen), &turn) {
        TurnReply::Decided(decision) => {
            assert!(lines(&decision)[0].starts_with("fail RuleViolation"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_future_that_wakes_itself_for_ever_is_stopped() {
    let mut script = script(async |ctx: Context, n| {
        let _open = ctx.call(A, n);
        std::future::poll_fn(|task| {
            task.waker().wake_by_ref();
            Poll::<()>::Pending
        })
        .await;
        Ok(0)
    });
    let failed = script.turn([]);
    assert!(failed[1].starts_with("fail RuleViolation: the orchestrator wakes itself without end"));
}

#[test]
fn a_panic_is_a_failure_of_the_execution() {
    let mut script = script(async |ctx: Context, n| {
        let _timer = ctx.sleep(seconds(5));
        assert!(n > 1, "the number is {n}");
        Ok(0)
    });
    assert_eq!(script.turn([]), ["0 timer 6s", "fail Panic: the number is 1"]);
}

#[test]
fn an_unknown_name_is_not_a_failure() {
    let mut script = Script::new(App::new("empty"), "Main", "1");
    assert_eq!(script.reply([]), TurnReply::UnknownFunction);
}

#[test]
fn names_are_found_without_regard_to_case() {
    let mut script = Script::new(app(async |_: Context, n| Ok(n)), "mAIN", "1");
    assert_eq!(script.turn([]), ["return 1"]);
}

#[test]
fn an_input_of_another_form_fails_the_execution() {
    let mut script = Script::new(app(async |_: Context, n| Ok(n)), "Main", "\"one\"");
    assert!(script.turn([])[0].starts_with("fail BadValue: expected a `u32`, found `\"one\"`"));
}

#[test]
fn a_resident_that_has_seen_other_events_asks_for_the_history() {
    let app = app(async |ctx: Context, n| ctx.call(A, n).await);
    let mut script = Script::new(app, "Main", "1");
    script.turn([]);
    // A client's word that asked nothing of the code.
    script.history.push(Event::TurnStarted { now: Timestamp::from_millis(1500) });
    script.history.push(Event::Suspended { reason: String::new() });
    assert_eq!(script.turn([Event::Resumed { reason: String::new() }]), [""; 0]);
    assert_eq!(script.turn([task_ok(0, "1")]), ["return 1"]);
}

fn parked(history: Vec<Event>, code: App, events: Vec<Event>) -> String {
    let mut script = Script::new(code, "Main", "1");
    script.history = history;
    match script.reply(events) {
        TurnReply::NonDeterminism { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn code_that_makes_another_call_is_found() {
    let mut script = script(async |ctx: Context, n| ctx.call(A, n).await);
    script.turn([]);
    let history = script.history;
    let found = |code| parked(history.clone(), code, vec![task_ok(0, "1")]);
    let other_name = found(app(async |ctx: Context, n| ctx.call(B, n).await));
    assert!(other_name.starts_with(
        "event 2 of the history is a call of activity `A` (id 0), but the code calls activity `B` (id 0). "
    ), "{other_name}");
    let other_kind = found(app(async |ctx: Context, n| {
        ctx.sleep(seconds(1)).await;
        Ok(n)
    }));
    assert!(other_kind.contains("but the code starts a timer (id 0)"), "{other_kind}");
    let other_id = found(app(async |ctx: Context, n| {
        ctx.send_event(&InstanceId::from_stored("x"), "E", &n);
        ctx.call(A, n).await
    }));
    assert!(other_id.contains("but the code sends event `E` (id 0)"), "{other_id}");
    let missing = found(app(async |ctx: Context, _| ctx.event::<u32>("E").await));
    assert!(missing.contains("but the code does nothing of the kind at this point"), "{missing}");
    let early = found(app(async |_: Context, n| Ok(n)));
    assert!(early.contains("but the code returns"), "{early}");
    let extra = found(app(async |ctx: Context, n| {
        let (a, b) = (ctx.call(A, n), ctx.call(B, n));
        everstep::join((a, b)).await.0
    }));
    assert!(
        extra.starts_with(
            "before event 3 of the history, the code calls activity `B` (id 1), which the history does not hold. "
        ),
        "{extra}"
    );
}

#[test]
fn names_are_compared_without_case_and_inputs_not_at_all() {
    let mut script = script(async |ctx: Context, n| ctx.call(A, n).await);
    script.turn([]);
    let mut script = script.with_app(app(async |ctx: Context, n| {
        ctx.call(Activity::<u32, u32>::new("a"), n + 5).await
    }));
    assert_eq!(script.turn([task_ok(0, "1")]), ["return 1"]);
}

#[test]
fn a_rewound_execution_goes_on_from_the_cut() {
    let code = || {
        app(async |ctx: Context, n| {
            let (a, b) = (ctx.call(A, n), ctx.call(B, n));
            let a = a.await?;
            let next = ctx.call(A, a);
            b.await?;
            next.await
        })
    };
    let mut script = Script::new(code(), "Main", "1");
    script.turn([]);
    // What a rewind leaves of: a turn with A's result, whose decision was cut off, and with B's failure.
    let now = Timestamp::from_millis(2000);
    script.history.extend([
        Event::TurnStarted { now },
        task_ok(0, "5"),
        Event::Rewound { reason: "fixed".into() },
    ]);
    assert_eq!(script.turn([]), ["2 call A 5"]);
    assert_eq!(script.turn([task_ok(1, "6")]), [""; 0]);
    assert_eq!(script.turn([task_ok(2, "7")]), ["return 7"]);
    assert_eq!(script.app.replay(&InstanceId::from_stored("order-7"), &script.history), Ok(()));
}

/// Counts how often a future is polled.
struct Counted<F>(F, Arc<AtomicUsize>);

impl<F: Future + Unpin> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll(task)
    }
}

#[test]
fn a_fan_in_polls_each_call_twice() {
    const WIDTH: u32 = 1000;
    let polls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polls);
    let app = app(move |ctx: Context, n| {
        let counter = Arc::clone(&counter);
        async move {
            let calls =
                (0..WIDTH).map(|i| Counted(ctx.call(A, n + i), Arc::clone(&counter))).collect();
            let all = everstep::try_join_all(calls).await?;
            Ok(all.into_iter().sum())
        }
    });
    let mut turns = app.turns(everstep_model::PartitionId(0));
    let mut script = Script::new(app, "Main", "1");
    let mut seen = 0;
    let mut ask = |script: &Script, events: &[Event]| {
        let reply = script.ask(&mut *turns, History::Seen(seen), events);
        let TurnReply::Decided(decision) = reply else { panic!("{reply:?}") };
        seen += (events.len() + decision.actions.len()) as u32;
        decision
    };
    let now = Timestamp::EPOCH;
    script.history.push(Event::TurnStarted { now });
    ask(&script, &script.history);
    let mut last = None;
    for task in (0..WIDTH).rev() {
        last = Some(ask(&script, &[Event::TurnStarted { now }, task_ok(task, "1")]));
    }
    assert_eq!(lines(&last.unwrap()), ["return 1000"]);
    assert_eq!(polls.load(Ordering::Relaxed), 2 * WIDTH as usize);
}

#[test]
fn joins_of_other_libraries_work() {
    let mut script = script(async |ctx: Context, n| {
        let (a, b) = futures_util::future::join(ctx.call(A, n), ctx.call(B, n)).await;
        let more = (0..50).map(|i| ctx.call(A, i));
        let more: u32 = futures_util::future::try_join_all(more).await?.into_iter().sum();
        Ok(a? + b? + more)
    });
    script.turn([]);
    script.turn([task_ok(1, "1")]);
    assert_eq!(script.turn([task_ok(0, "1")]).len(), 50);
    let answers: Vec<_> = (2..52).rev().map(|task| task_ok(task, "1")).collect();
    assert_eq!(script.turn(answers), ["return 52"]);
}

#[test]
fn select_all_gives_the_first_and_the_others() {
    let mut script = script(async |ctx: Context, n| {
        let calls = (0..3).map(|i| ctx.call(A, n + i)).collect();
        let (first, index, others) = everstep::select_all(calls).await;
        let rest: u32 = everstep::try_join_all(others).await?.into_iter().sum();
        Ok(first? * 100 + index as u32 * 10 + rest)
    });
    script.turn([]);
    script.turn([task_ok(1, "7")]);
    assert_eq!(script.turn([task_ok(0, "1"), task_ok(2, "2")]), ["return 713"]);
}
