//! Values that are stored apart: everywhere a value may stand, before and after a fold and a restart.

use everstep_model::{Event, Outcome, Status, Value, kinds};
use everstep_runtime::{Client, ClientError, Options, Raised};

use crate::support::{
    Bed, Script, end, id, large, named, quiet, raise, start, text, until_state, until_why,
};

const SIZES: [usize; 2] = [20_000, 2 << 20];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_come_back_byte_for_byte_after_fold_and_restart() {
    for size in SIZES {
        let bed = Bed::new();
        let script = Script::new();
        let host = bed.open(&script, quiet());
        let client = host.client();
        let input = format!(
            "wait Go;call gate $;child run wait On,call echo $!#{size};ask @counter@k 1|{}",
            large(size)
        );
        start(&client, "i", &input).await;
        raise(&client, "i", "Go", &large(size)).await;
        script.gathered("gate", 1).await;
        // The first host folds with the call still open, the second goes without a fold.
        host.fold().await.unwrap();
        drop(host);
        let script = Script::new();
        let host = bed.open(&script, quiet());
        script.gathered("gate", 1).await;
        drop(host);
        let script = Script::new();
        script.open_gate();
        let host = bed.open(&script, quiet());
        let client = host.client();
        until_why(&client, "i", "sub-orchestration").await;
        let child = child_of(&client, "i").await;
        host.stop().await.unwrap();
        let host = bed.open(&script, quiet());
        let client = host.client();
        raise(&client, &child, "On", &large(size)).await;
        check(&client, &child, &input, size).await;
        host.fold().await.unwrap();
        check(&client, &child, &input, size).await;
        drop(host);
        let host = bed.open(&script, quiet());
        check(&host.client(), &child, &input, size).await;
        host.stop().await.unwrap();
    }
}

async fn child_of(client: &Client, name: &str) -> String {
    let events = client.history(&id(name)).await.unwrap();
    let found = events.iter().find_map(|event| match event {
        Event::ChildCreated { instance, .. } => Some(instance.as_str().to_owned()),
        _ => None,
    });
    found.expect("the child was started")
}

async fn check(client: &Client, child: &str, input: &str, size: usize) {
    let value = large(size);
    let answer = format!("{value},{value}");
    assert!(end(client, "i").await == (Status::Completed, format!("{value},{value},{answer},1")));
    assert!(end(client, child).await == (Status::Completed, answer.clone()));
    let view = client.get(&id("i")).await.unwrap();
    assert!(text(view.input.as_ref()) == input);
    assert!(text(view.output.as_ref()) == format!("{value},{value},{answer},1"));
    let child_input = format!("wait On;call echo $|{value}");
    assert!(text(client.get(&id(child)).await.unwrap().input.as_ref()) == child_input);
    let mut values = Vec::new();
    for event in client.history(&id("i")).await.unwrap() {
        let value = match event {
            Event::Started(started) => started.input,
            Event::TaskScheduled { input, .. }
            | Event::EventRaised { input, .. }
            | Event::ChildCreated { input, .. }
            | Event::Completed { output: input }
            | Event::TaskEnded { outcome: Outcome::Completed(input), .. }
            | Event::ChildEnded { outcome: Outcome::Completed(input), .. } => input,
            _ => continue,
        };
        values.push(text(Some(&value)));
    }
    let whole = format!("{value},{value},{answer},1");
    assert!(values == [input, &value, &value, &value, &child_input, &answer, &whole]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_input_and_state_go_through_continue_as_new_and_entities() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "i", "wait Go;again wait Go,call echo done!#30000").await;
    raise(&client, "i", "Go", &large(20_000)).await;
    raise(&client, "i", "Go", &large(10_000)).await;
    let (status, output) = end(&client, "i").await;
    assert_eq!(status, Status::Completed);
    assert!(output == format!("{},done", large(10_000)));
    let view = client.get(&id("i")).await.unwrap();
    assert!(text(view.input.as_ref()) == format!("wait Go;call echo done|{}", large(30_000)));
    host.stop().await.unwrap();
    let host = bed.open(&script, quiet());
    let view = host.client().get(&id("i")).await.unwrap();
    assert!(text(view.input.as_ref()) == format!("wait Go;call echo done|{}", large(30_000)));
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_uses_a_large_input_again_also_when_only_the_tables_have_it() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    let input = format!("call echo $|{}", large(20_000));
    start(&client, "i", &input).await;
    end(&client, "i").await;
    host.stop().await.unwrap();
    let host = bed.open(&script, quiet());
    let client = host.client();
    let again = client.restart(&id("i"), false).await.unwrap();
    assert!(end(&client, again.as_str()).await == (Status::Completed, large(20_000)));
    let other = client.restart(&id("i"), true).await.unwrap();
    assert_ne!(other, again);
    assert!(end(&client, other.as_str()).await == (Status::Completed, large(20_000)));
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_sends_beyond_the_limit_is_refused_with_the_limit() {
    let bed = Bed::new();
    let script = Script::new();
    let mut options: Options = quiet();
    options.partition.limits.value_bytes = 50_000;
    let host = bed.open(&script, options);
    let client = host.client();
    let text = "the input has 50001 bytes, more than the hub allows for one value (50000); store it elsewhere and pass a reference, or raise the limit `value_bytes`";
    let large = || Value::text(large(50_001));
    let refused = client.start("run", large(), named("i")).await.unwrap_err();
    assert_eq!(refused.to_string(), text);
    start(&client, "waits", "wait Go").await;
    let raised = Raised { name: "Go".to_owned(), input: large(), key: String::new() };
    assert_eq!(client.raise(&id("waits"), raised).await.unwrap_err().to_string(), text);
    let refused = client.signal(&id("@ledger@k"), "add", large(), "").await.unwrap_err();
    assert_eq!(refused.to_string(), text);
    client.terminate(&id("waits"), "enough", true).await.unwrap();
    host.stop().await.unwrap();
    // What was let in under a higher limit cannot be started again, but is read.
    let mut options: Options = quiet();
    options.partition.limits.value_bytes = 5;
    let host = bed.open(&script, options);
    let client = host.client();
    assert_eq!(end(&client, "waits").await.0, Status::Terminated);
    let refused = client.restart(&id("waits"), true).await.unwrap_err();
    assert!(matches!(refused, ClientError::TooLarge { bytes: 7, limit: 5 }), "{refused}");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_that_make_too_much_fail_and_leave_the_state() {
    let bed = Bed::new();
    let script = Script::new();
    let mut options: Options = quiet();
    options.partition.limits.value_bytes = 1_000;
    let host = bed.open(&script, options);
    let client = host.client();
    for entity in ["@counter@k", "@ledger@k"] {
        client.signal(&id(entity), "add", "7".into(), "").await.unwrap();
        until_state(&client, entity, "7").await;
        client.signal(&id(entity), "fill", "1001".into(), "").await.unwrap();
        start(&client, entity.trim_start_matches('@'), &format!("ask {entity} 1")).await;
        assert_eq!(end(&client, entity.trim_start_matches('@')).await.1, "8");
        client.signal(&id(entity), "fill", "1000".into(), "").await.unwrap();
        until_state(&client, entity, &large(1_000)).await;
    }
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_beyond_the_limit_fails_the_instance_and_says_so() {
    let bed = Bed::new();
    let script = Script::new();
    let mut options: Options = quiet();
    options.partition.limits.value_bytes = 50_000;
    let host = bed.open(&script, options);
    let client = host.client();
    start(&client, "fits", "call echo #50000").await;
    assert_eq!(end(&client, "fits").await.0, Status::Completed);
    start(&client, "input", "call echo #50001").await;
    let text = "a value of 50001 bytes is larger than the hub allows (50000); store it elsewhere and pass a reference, or raise the limit";
    let failed = (Status::Failed, format!("{}: {text}", kinds::TOO_LARGE));
    assert_eq!(end(&client, "input").await, failed);
    start(&client, "output", "call echo #25000;call echo #25000").await;
    assert_eq!(end(&client, "output").await, failed);
    let text = "activity `grow` returned 50001 bytes, more than the hub allows for one value (50000); store it elsewhere and pass a reference, or raise the limit `value_bytes`";
    start(&client, "result", "try call grow 50001;call grow 9").await;
    let (status, output) = end(&client, "result").await;
    assert_eq!(status, Status::Completed);
    assert_eq!(
        output.rsplit_once(',').unwrap(),
        (&*format!("{}: {text}", kinds::TOO_LARGE), &*large(9))
    );
    start(&client, "parent", "try children 1 call echo ~50001").await;
    assert_eq!(end(&client, "parent").await, (Status::Completed, failed.1));
    host.stop().await.unwrap();
}
