//! Programs on a real host over the memory store.

use std::{sync::Arc, time::Duration};

use everstep::{
    ActivityContext, App, Context, Failure, Host, HostOptions, InstanceId, RetryPolicy, RunError,
    StartOptions, TypedClient as _, activity, entity, orchestrator,
};
use everstep_store_memory::MemoryStore;

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Total(u32);

#[entity(pure)]
impl Total {
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

#[orchestrator]
async fn part(ctx: Context, number: u32) -> Result<u32, Failure> {
    let retry = RetryPolicy::fixed(Duration::from_millis(1), 3);
    ctx.call(flaky, number).retry(retry).await
}

#[orchestrator]
async fn whole(ctx: Context, width: u32) -> Result<u32, Failure> {
    let parts = (1..=width).map(|number| ctx.child(part, number)).collect();
    let sum: u32 = everstep::try_join_all(parts).await?.into_iter().sum();
    let bonus: u32 = ctx.event("Bonus").await?;
    let total = ctx.entity::<Total>("all");
    let section = ctx.lock([total.id()?]).await?;
    total.call(Total::ADD, sum).await?;
    let all = total.call(Total::ADD, bonus).await?;
    section.release();
    Ok(all)
}

#[orchestrator]
async fn generations(ctx: Context, left: u32) -> Result<u32, Failure> {
    if left == 0 {
        return Err(Failure::new("Done", "all generations are over"));
    }
    ctx.sleep(Duration::from_millis(1)).await;
    ctx.continue_as_new(left - 1).await
}

fn host() -> Host<MemoryStore> {
    let app = App::new("1").entity::<Total>().add(flaky).add(part).add(whole).add(generations);
    Host::start(MemoryStore::new(2), Arc::new(app), HostOptions::default()).expect("it starts")
}

#[tokio::test]
async fn a_program_with_everything_in_it_runs_to_its_end() {
    let host = host();
    let client = host.client();
    let id = InstanceId::orchestration("whole-1").expect("a good id");
    let options = StartOptions { id: Some(id.clone()), ..StartOptions::default() };
    let run = client.run(whole, 4, options).await.expect("it starts");
    client.raise_event(&id, "BONUS", &5).await.expect("it is taken");
    let ended = tokio::time::timeout(Duration::from_secs(30), run.result()).await;
    assert_eq!(ended.expect("it does not hang").expect("it completes"), 105);
    client.signal_entity("all", Total::ADD, 1).await.expect("it is taken");
    let mut state = None;
    while state != Some(106) {
        let total = client.read_entity::<Total>("all").await.expect("it is read");
        state = total.map(|total| total.0);
        tokio::task::yield_now().await;
    }
    host.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_failure_reaches_the_client_as_it_was_made() {
    let host = host();
    let run = host.client().run(generations, 3, StartOptions::default()).await.expect("it starts");
    match run.result().await {
        Err(RunError::Failed(failure)) => {
            assert_eq!(failure, Failure::new("Done", "all generations are over"));
        }
        other => panic!("{other:?}"),
    }
    host.stop().await.expect("it stops");
}
