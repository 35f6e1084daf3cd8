//! A memory that holds a fraction of the instances.

use everstep_model::Status;
use everstep_runtime::{Client, Options};

use crate::support::{Bed, Script, end, history, quiet, raise, start};

const COUNT: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_were_evicted_and_replayed_have_the_same_histories() {
    let large = run(quiet()).await;
    let small = run(Options { memory_bytes: 40 << 10, ..quiet() }).await;
    assert_eq!(small, large);
}

/// Raises one event after the other to all instances, with a fold in between: with little memory, hardly any instance
/// is in it when its next event comes.
async fn run(options: Options) -> Vec<(String, Vec<String>)> {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, options);
    let client = host.client();
    for number in 0..COUNT {
        start(&client, &name(number), "wait A;wait B;wait C;call echo x;call echo y").await;
    }
    for event in ["A", "B", "C"] {
        host.fold().await.unwrap();
        for number in 0..COUNT {
            raise(&client, &name(number), event, &number.to_string()).await;
        }
    }
    let found = results(&client).await;
    host.stop().await.unwrap();
    found
}

async fn results(client: &Client) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for number in 0..COUNT {
        let (status, output) = end(client, &name(number)).await;
        assert_eq!(status, Status::Completed);
        found.push((output, history(client, &name(number)).await));
    }
    found
}

fn name(number: usize) -> String {
    format!("i{number}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entities_and_parents_survive_a_memory_that_is_far_too_small() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, Options { memory_bytes: 1, ..quiet() });
    let client = host.client();
    for number in 0..20 {
        start(&client, &name(number), "children 3 ask @counter@k 1,ask @ledger@k 1").await;
        host.fold().await.unwrap();
    }
    for number in 0..20 {
        assert_eq!(end(&client, &name(number)).await.0, Status::Completed);
    }
    crate::support::until_state(&client, "@counter@k", "60").await;
    crate::support::until_state(&client, "@ledger@k", "60").await;
    host.stop().await.unwrap();
}
