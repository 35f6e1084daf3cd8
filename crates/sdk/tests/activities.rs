//! What becomes of one attempt of an activity.

use std::sync::Arc;

use everstep::{
    Activity, ActivityContext, ActivityOptions, App, Context, EventId, ExecutionId, Failure,
    InstanceId, Worker, activity, orchestrator,
};
use everstep_worker::ActivityCall;
use futures_util::FutureExt as _;

/// Doubles.
#[activity]
async fn double(number: u32) -> Result<u32, Failure> {
    number.checked_mul(2).ok_or_else(|| everstep::failure("too large").fatal())
}

#[activity(name = "WhoAmI")]
async fn who(ctx: ActivityContext) -> Result<String, String> {
    Ok(format!("{} {} {}", ctx.name(), ctx.attempt(), ctx.idempotency_key()))
}

#[activity]
async fn explode() -> Result<(), String> {
    panic!("boom")
}

#[orchestrator]
async fn nothing(_: Context) -> Result<(), Failure> {
    Ok(())
}

fn app() -> App {
    App::new("7").add(double).add(who).add(explode).add(nothing)
}

fn run(name: &str, input: &str) -> String {
    let call = ActivityCall {
        instance: InstanceId::from_stored("order-7"),
        name: Arc::from(name),
        input: input.into(),
        task: EventId(4),
        execution_id: ExecutionId::new("e1"),
        attempt: 2,
        trace: None,
    };
    let outcome = Worker::activity(&app(), call).now_or_never();
    format!("{:?}", outcome.expect("nothing to wait for"))
}

#[test]
fn an_attempt_ends_with_a_value_a_failure_or_a_panic() {
    assert_eq!(run("double", "4"), "ok 8");
    assert_eq!(run("DOUBLE", "4294967295"), "failed Error: too large");
    assert_eq!(run("whoami", ""), "ok \"whoami 2 e1:4\"");
    assert_eq!(run("explode", "null"), "failed Panic: boom");
    assert!(run("double", "\"four\"").starts_with("failed BadValue: expected a `u32`"));
    assert_eq!(run("triple", "1"), "failed FunctionNotFound: no activity `triple` is registered");
}

#[test]
fn a_worker_tells_what_it_has() {
    let app = app();
    assert_eq!(app.identity(), "7");
    assert_eq!(app.activity_options("WHOAMI"), Some(ActivityOptions::default()));
    assert_eq!(app.activity_options("nothing"), None);
    assert!(app.has_orchestrator("Nothing") && !app.has_orchestrator("double"));
}

#[test]
fn the_code_behind_an_attribute_can_be_tested_by_itself() {
    assert_eq!(double::run(21).now_or_never(), Some(Ok(42)));
}

#[test]
#[should_panic(expected = "the activity `double` is registered twice")]
fn a_name_is_registered_once() {
    let _ = app().add(double);
}

#[test]
#[should_panic(expected = "the activity `Everstep.mine` has a name that begins with `everstep.`")]
fn names_of_everstep_are_not_given_away() {
    const MINE: Activity<(), ()> = Activity::new("Everstep.mine");
    let _ =
        App::new("1").activity(MINE, |_: ActivityContext, (): ()| async { Ok::<_, Failure>(()) });
}
