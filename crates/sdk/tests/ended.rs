//! A host that has ended, and what is left of it.

use std::{path::Path, sync::Arc, time::Duration};

use everstep::{App, Context, Failure, Orchestrator};
use everstep_model::{InstanceId, Timestamp, Value};
use everstep_runtime::{ClientError, Host, Options, StartOptions};
use everstep_store::HubOptions;
use everstep_store_embedded::{Embedded, LoggedOptions, open_embedded};

const APPROVAL: Orchestrator<u32, u32> = Orchestrator::new("Approval");
const PARENT: Orchestrator<u32, u32> = Orchestrator::new("Parent");

fn app() -> App {
    App::new("1")
        .orchestrator(
            APPROVAL,
            |ctx: Context, _: u32| async move { ctx.event::<u32>("Approve").await },
        )
        .orchestrator(PARENT, |ctx: Context, number: u32| async move {
            if number > 0 {
                ctx.child(PARENT, number - 1).await?;
            }
            Ok::<_, Failure>(number)
        })
}

fn open(folder: &Path) -> Host<Embedded> {
    let store = open_embedded(folder, &HubOptions::new("test", 4), LoggedOptions::default())
        .expect("the folder is free");
    Host::start(store, Arc::new(app()), Options::default()).expect("it starts")
}

fn named(id: &str) -> StartOptions {
    StartOptions {
        id: Some(InstanceId::orchestration(id).expect("an id")),
        ..StartOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_does_not_keep_the_folder_of_a_stopped_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = open(folder.path());
    let client = host.client();
    let id = client.start("Approval", Value::text("0"), named("a")).await.expect("started");
    let waiting = tokio::spawn({
        let (client, id) = (client.clone(), id.clone());
        async move { client.wait(&id).await }
    });
    host.stop().await.expect("it stops");
    let told = waiting.await.expect("no panic").expect_err("nobody answers any more");
    assert_eq!(
        told.to_string(),
        "the host is busy, stopping, or its disk is full; ask again in a moment"
    );
    assert!(matches!(client.get(&id).await, Err(ClientError::Busy)));
    open(folder.path()).stop().await.expect("the folder was free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_long_ago_goes_with_its_whole_tree() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = open(folder.path());
    let client = host.client();
    let live = client.start("Approval", Value::text("0"), named("live")).await.expect("started");
    let tree = client.start("Parent", Value::text("3"), named("tree")).await.expect("started");
    client.wait(&tree).await.expect("it ends");
    let early = client.purge_ended_before(Timestamp::EPOCH).await.expect("purged");
    assert_eq!(early, 0, "nothing ended that long ago");
    let later = client
        .get(&tree)
        .await
        .expect("there")
        .completed
        .expect("ended")
        .after(Duration::from_secs(1));
    assert_eq!(client.purge_ended_before(later).await.expect("purged"), 4);
    assert!(matches!(client.get(&tree).await, Err(ClientError::NotFound(_))));
    client.get(&live).await.expect("a live instance stays");
    host.stop().await.expect("it stops");
}
