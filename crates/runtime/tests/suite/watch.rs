//! Watching an instance.

use std::sync::Arc;

use everstep_model::{
    HubId, InstanceId, PartitionId, ReusePolicy, Start, Status, Tags, Timestamp, Value,
};
use everstep_runtime::{
    Client, ClientError, Watch,
    partition::{Code, Input, Options, Output, Partition, Request, Response, Seen, Ticket},
};
use everstep_store::{Hub, Mode};
use everstep_worker::{EntityOptions, Worker as _};

use crate::support::{Bed, Script, end, id, quiet, raise, start, text, until_why};

/// The next view, as status, custom status and output.
async fn next(watch: &mut Watch) -> Option<(Status, Option<String>, Option<String>)> {
    let view = watch.next().await.unwrap()?;
    let of = |value: &Option<_>| value.as_ref().map(|value| text(Some(value)));
    Some((view.status, of(&view.custom_status), of(&view.output)))
}

async fn is_at(client: &Client, name: &str, event: &str) {
    until_why(client, name, &format!("event `{event}`")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_tells_each_change_once_and_ends_with_the_instance() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "i", "wait A;say half;wait B;wait C").await;
    is_at(&client, "i", "A").await;
    let mut watch = client.watch(&id("i"));
    assert_eq!(next(&mut watch).await, Some((Status::Running, None, None)));
    raise(&client, "i", "A", "1").await;
    let half = Some("half".to_owned());
    assert_eq!(next(&mut watch).await, Some((Status::Running, half.clone(), None)));
    // A step that changes nothing to be seen is not told.
    raise(&client, "i", "B", "2").await;
    is_at(&client, "i", "C").await;
    client.suspend(&id("i"), "hold on").await.unwrap();
    assert_eq!(next(&mut watch).await, Some((Status::Suspended, half.clone(), None)));
    // It goes on where it was when memory lets go of everything, and when the host changes.
    host.stop().await.unwrap();
    assert!(matches!(watch.next().await, Err(ClientError::Busy)));
    let host = bed.open(&script, quiet());
    let client = host.client();
    let mut watch = client.watch(&id("i"));
    assert_eq!(next(&mut watch).await, Some((Status::Suspended, half.clone(), None)));
    client.resume(&id("i"), "go on").await.unwrap();
    assert_eq!(next(&mut watch).await, Some((Status::Running, half.clone(), None)));
    raise(&client, "i", "C", "3").await;
    let ended = next(&mut watch).await;
    assert_eq!(ended, Some((Status::Completed, half, Some("1,2,3".to_owned()))));
    assert_eq!(next(&mut watch).await, None);
    assert_eq!(next(&mut watch).await, None);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_execution_is_a_change_and_a_purge_ends_the_watch() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "i", "wait A;again wait B").await;
    is_at(&client, "i", "A").await;
    let mut watch = client.watch(&id("i"));
    let first = watch.next().await.unwrap().unwrap();
    raise(&client, "i", "A", "1").await;
    let second = watch.next().await.unwrap().unwrap();
    assert_ne!(first.execution_id, second.execution_id);
    let mut watch = client.watch(&id("i"));
    watch.next().await.unwrap();
    client.terminate(&id("i"), "enough", true).await.unwrap();
    assert_eq!(end(&client, "i").await.0, Status::Terminated);
    client.purge(&id("i")).await.unwrap();
    // The termination was told, or the purge came first.
    match watch.next().await {
        Ok(view) => assert_eq!(view.unwrap().status, Status::Terminated),
        Err(error) => assert!(matches!(error, ClientError::NotFound(_)), "{error}"),
    }
    let none = client.watch(&id("none")).next().await.unwrap_err();
    assert!(matches!(none, ClientError::NotFound(_)), "{none}");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_after_a_wait_that_was_given_up() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "i", "wait A").await;
    is_at(&client, "i", "A").await;
    let mut watch = client.watch(&id("i"));
    watch.next().await.unwrap();
    {
        let mut change = std::pin::pin!(watch.next());
        assert!(futures_now(change.as_mut()).await.is_none(), "nothing changes");
    }
    // The same watch goes on after it was given up once.
    raise(&client, "i", "A", "1").await;
    assert_eq!(next(&mut watch).await.unwrap().0, Status::Completed);
    host.stop().await.unwrap();
}

/// What a future gives at once.
async fn futures_now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut future = Some(future);
    std::future::poll_fn(|context| {
        let polled = future.take().expect("it is polled once").poll(context);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Code that has everything.
struct Everything;

impl Code for Everything {
    fn identity(&self) -> String {
        "first".to_owned()
    }

    fn entity(&self, _: &str) -> Option<EntityOptions> {
        None
    }

    fn has_activity(&self, _: &str) -> bool {
        true
    }
}

/// Gives a partition an input and makes everything durable; returns what it answered.
fn step(partition: &mut Partition, input: Input) -> Vec<Response> {
    let mut out = Vec::new();
    partition.step(Timestamp::EPOCH, input, &mut out);
    partition.close_group(Timestamp::EPOCH, &mut out);
    let mut answers = Vec::new();
    while !out.is_empty() {
        for output in std::mem::take(&mut out) {
            match output {
                Output::Append(record, _) => {
                    let durable = Input::Durable(record.group);
                    partition.step(Timestamp::EPOCH, durable, &mut out);
                }
                Output::Reply(_, response) => answers.push(response),
                Output::Changed(_) => {}
                Output::Load(_) | Output::LoadHistory(..) => unreachable!("all is in memory"),
            }
        }
    }
    answers
}

/// Folds, and lets memory shed what it can.
fn fold(partition: &mut Partition) -> usize {
    let folded = Input::Folded(partition.hand_over().number);
    step(partition, folded);
    partition.memory()
}

#[test]
fn who_waited_and_went_away_does_not_keep_an_instance_in_memory() {
    let hub = Hub { id: HubId([1; 16]), name: "h".to_owned(), partitions: 1, epoch: 1 };
    let options = Options { memory_bytes: 1, ..Options::default() };
    let turns = Script::new().turns(PartitionId(0));
    let code = Arc::new(Everything);
    let mut partition = Partition::new(PartitionId(0), &hub, Mode::Log, options, code, turns);
    let id: InstanceId = id("i");
    let start = Start {
        name: "run".to_owned(),
        version: String::new(),
        input: Value::text("wait Go"),
        execution_id: None,
        parent: None,
        tags: Tags::new(),
        scheduled: None,
        trace: None,
        reuse: ReusePolicy::ended(),
    };
    let start = Request::Start(Some(id.clone()), Box::new(start));
    step(&mut partition, Input::Request(Ticket(0), start));
    let answers = step(&mut partition, Input::Request(Ticket(1), Request::Get(id.clone())));
    let [Response::Instance(instance)] = &*answers else { panic!("{answers:?}") };
    let seen = Box::new(Seen::of(instance));
    let tickets = [Ticket(2), Ticket(3)];
    let asked = [Request::Wait(id.clone()), Request::Watch(id.clone(), seen)];
    for (ticket, request) in tickets.into_iter().zip(asked) {
        assert!(step(&mut partition, Input::Request(ticket, request)).is_empty());
    }
    for ticket in tickets {
        assert!(fold(&mut partition) > 0, "somebody waits");
        step(&mut partition, Input::Forget(id.clone(), ticket));
    }
    assert_eq!(fold(&mut partition), 0);
}
