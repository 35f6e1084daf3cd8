//! What entities make of batches of operations.

use everstep::{
    App, Entity, EntityContext, Failure, InstanceId, Orchestrator, Purity, Timestamp, Worker,
    entity, kinds,
};
use everstep_model::{EntitySend, Guid, Outcome, PartitionId, Value};
use everstep_worker::{EntityBatch, EntityReply, OperationCall};
use futures_util::FutureExt as _;

const AUDIT: Orchestrator<i64, ()> = Orchestrator::new("Audit");

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Counter {
    value: i64,
}

#[entity(pure)]
impl Counter {
    fn add(&mut self, by: i64) -> i64 {
        self.value += by;
        self.value
    }

    fn get(&self) -> i64 {
        self.value
    }

    fn spoil(&mut self, ctx: &mut EntityContext) -> Result<(), Failure> {
        self.value = 999;
        ctx.signal("other", Counter::ADD, 1)?;
        Err(Failure::new("Spoiled", "on purpose"))
    }

    fn crash(&mut self) {
        self.value = 999;
        panic!("in an operation");
    }

    fn tell(&mut self, ctx: &mut EntityContext) -> Result<String, Failure> {
        ctx.signal_at(Timestamp::from_millis(5000), "other", Counter::ADD, self.value)?;
        ctx.start(AUDIT, None, self.value)?;
        Ok(ctx.key().to_owned())
    }

    fn close(&mut self, ctx: &mut EntityContext) {
        self.value = 0;
        ctx.delete();
    }
}

/// The same code with effects: it runs beside the partition.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Slow(i64);

#[entity(name = "slow")]
impl Slow {
    async fn add(&mut self, by: i64) -> Result<i64, String> {
        std::future::ready(()).await;
        self.0 += by;
        if by < 0 { Err("negative".to_owned()) } else { Ok(self.0) }
    }
}

fn batch(entity: &str, state: Option<&str>, operations: &[(&str, &str)]) -> EntityBatch {
    let call = |(name, input): &(&str, &str)| OperationCall {
        id: Guid([0; 16]),
        name: (*name).to_owned(),
        input: (*input).into(),
        sender: None,
    };
    EntityBatch {
        entity: InstanceId::parse(entity).expect("a good id"),
        state: state.map(Value::from),
        operations: operations.iter().map(call).collect(),
        now: Timestamp::EPOCH,
    }
}

/// Outcomes, then the state.
fn run(state: Option<&str>, operations: &[(&str, &str)]) -> (Vec<String>, String, usize) {
    let app = App::new("test").entity::<Counter>();
    shown(app.turns(PartitionId(0)).entity(&batch("@counter@k", state, operations)))
}

fn shown(reply: EntityReply) -> (Vec<String>, String, usize) {
    let results = reply.results.iter().map(|result| format!("{result:?}")).collect();
    let state = reply.state.map_or_else(|| "none".to_owned(), |state| format!("{state:?}"));
    (results, state, reply.sends.len())
}

#[test]
fn operations_run_in_order_and_the_first_makes_the_entity() {
    let (results, state, _) = run(None, &[("add", "2"), ("add", "3"), ("get", "")]);
    assert_eq!(results, ["ok 2", "ok 5", "ok 5"]);
    assert_eq!(state, r#"{"value":5}"#);
}

#[test]
fn a_failed_operation_leaves_no_trace_and_the_batch_goes_on() {
    let operations =
        [("add", "2"), ("spoil", ""), ("add", "3"), ("crash", ""), ("spoil", ""), ("get", "")];
    let (results, state, sends) = run(Some(r#"{"value":10}"#), &operations);
    assert_eq!(
        results,
        [
            "ok 12",
            "failed Spoiled: on purpose",
            "ok 15",
            "failed Panic: in an operation",
            "failed Spoiled: on purpose",
            "ok 15"
        ]
    );
    assert_eq!((state.as_str(), sends), (r#"{"value":15}"#, 0));
}

#[test]
fn messages_before_a_failure_are_sent_once() {
    let (results, _, sends) =
        run(Some(r#"{"value":1}"#), &[("tell", ""), ("spoil", ""), ("get", "")]);
    assert_eq!(results, ["ok \"k\"", "failed Spoiled: on purpose", "ok 1"]);
    assert_eq!(
        sends, 2,
        "the operation before the failure runs again, its messages do not go again"
    );
}

#[test]
fn an_operation_that_fails_first_makes_no_entity() {
    assert_eq!(run(None, &[("spoil", "")]).1, "none");
}

#[test]
fn a_deleted_entity_begins_anew() {
    assert_eq!(run(Some(r#"{"value":8}"#), &[("close", "")]).1, "none");
    let (results, state, _) = run(Some(r#"{"value":8}"#), &[("close", ""), ("add", "1")]);
    assert_eq!((results[1].as_str(), state.as_str()), ("ok 1", r#"{"value":1}"#));
}

#[test]
fn an_unknown_operation_is_answered_with_those_that_exist() {
    let (results, _, _) = run(None, &[("sub", "1")]);
    assert_eq!(
        results,
        [
            "failed FunctionNotFound: the entity `Counter` has no operation `sub`; it has `add`, `get`, `spoil`, `crash`, `tell`, `close`"
        ]
    );
}

#[test]
fn sends_say_where_they_go() {
    let app = App::new("test").entity::<Counter>();
    let reply = app.turns(PartitionId(0)).entity(&batch("@counter@k", None, &[("tell", "")]));
    match &reply.sends[..] {
        [EntitySend::Signal { entity, name, due, .. }, EntitySend::Start { name: started, .. }] => {
            assert_eq!((entity.as_str(), name.as_str()), ("@counter@other", "add"));
            assert_eq!((*due, started.as_str()), (Some(Timestamp::from_millis(5000)), "Audit"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_entity_with_effects_runs_as_a_future() {
    let app = App::new("test").entity::<Slow>();
    assert_eq!(app.entity_options("slow").map(|options| options.purity), Some(Purity::Effects));
    let operations = [("add", "1"), ("add", "-5"), ("add", "2")];
    let reply = Worker::entity(&app, batch("@slow@k", None, &operations)).now_or_never().unwrap();
    let (results, state, _) = shown(reply);
    assert_eq!(results, ["ok 1", "failed Error: negative", "ok 3"]);
    assert_eq!(state, "3");
}

#[test]
fn a_state_that_cannot_be_read_stays_as_it_is() {
    let (results, state, _) = run(Some("[1]x"), &[("add", "1")]);
    assert!(results[0].starts_with("failed BadValue"), "{results:?}");
    assert_eq!(state, "[1]x");
}

#[test]
fn an_entity_that_nobody_registered_is_answered() {
    let reply = App::new("empty").turns(PartitionId(0)).entity(&batch("@x@k", None, &[("a", "")]));
    match &reply.results[0] {
        Outcome::Failed(failure) => assert_eq!(failure.kind, kinds::NOT_FOUND),
        Outcome::Completed(value) => panic!("{value:?}"),
    }
}

#[test]
fn the_attribute_names_operations_and_purity() {
    assert_eq!((Counter::NAME, Counter::PURITY), ("Counter", Purity::Pure));
    assert_eq!((Slow::NAME, Slow::OPERATIONS), ("slow", &["add"][..]));
    assert_eq!(Counter::ADD.name(), "add");
}
