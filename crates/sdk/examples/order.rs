//! A durable order on the embedded store.
//!
//! Each run lists the orders that the store holds. If one is not finished, because the process was killed in the middle,
//! it goes on where it was; otherwise the next one begins. The folder is `order-data` or the first argument.

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use everstep::{
    ActivityContext, App, Client, Context, Failure, Host, HostOptions, InstanceId, Raised,
    RetryPolicy, StartOptions, TypedClient as _, Value, activity, orchestrator,
};
use everstep_store::{Filter, HubOptions, Order};
use everstep_store_embedded::{LoggedOptions, open_embedded};

#[activity]
async fn reserve(ctx: ActivityContext, item: String) -> Result<u32, Failure> {
    say(&format!("{}: one {item} is reserved", ctx.instance_id()));
    Ok(4_200)
}

/// The payment service refuses whoever asks for the first time.
#[activity]
async fn charge(ctx: ActivityContext, cents: u32) -> Result<String, Failure> {
    let attempt = ctx.attempt();
    if attempt == 1 {
        say(&format!("{}: attempt 1 to charge fails", ctx.instance_id()));
        return Err(Failure::new("Unavailable", "the payment service does not answer"));
    }
    say(&format!("{}: attempt {attempt} charges {cents} cents", ctx.instance_id()));
    Ok(format!("receipt {}", ctx.idempotency_key()))
}

#[activity]
async fn ship(ctx: ActivityContext, receipt: String) -> Result<String, Failure> {
    say(&format!("{}: shipped for {receipt}", ctx.instance_id()));
    Ok(format!("shipped for {receipt}"))
}

#[orchestrator]
async fn order(ctx: Context, item: String) -> Result<String, Failure> {
    let cents = ctx.call(reserve, item).await?;
    let policy = RetryPolicy::exponential(Duration::from_millis(250), 5);
    let receipt = ctx.call(charge, cents).retry(policy).await?;
    ctx.sleep(Duration::from_millis(250)).await;
    ctx.set_custom_status(&"waiting for approval");
    let approved: bool = ctx.event("Approve").or_timeout(Duration::from_secs(30)).await?;
    if !approved {
        return Err(Failure::new("Refused", "nobody wants this order to be shipped"));
    }
    ctx.call(ship, receipt).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "order-data".to_owned());
    let store =
        open_embedded(Path::new(&folder), &HubOptions::new("orders", 4), LoggedOptions::default())?;
    let app = App::new("1.0").add(reserve).add(charge).add(ship).add(order);
    let running_file = Some(Path::new(&folder).join("running"));
    let options = HostOptions { running_file, ..HostOptions::default() };
    let host = Host::start(store, Arc::new(app), options)?;
    let client = host.client();

    let id = match unfinished(&client).await? {
        Some(id) => {
            say(&format!("{id}: goes on where it was"));
            id
        }
        None => start(&client).await?,
    };
    tokio::spawn(approve(client.clone(), id.clone()));
    match client.run_of(order, id.clone()).result().await {
        Ok(output) => say(&format!("{id}: completed, {output}")),
        Err(error) => say(&format!("{id}: failed, {error}")),
    }

    let held: u64 = client.counts().await?.into_iter().map(|(.., count)| count).sum();
    host.stop().await?;
    let folder = std::fs::canonicalize(&folder)?;
    say(&format!("The store holds {held} instance(s); its folder is {}", folder.display()));
    Ok(())
}

/// Tells what is in the store; the order that has not ended, if there is one.
async fn unfinished(client: &Client) -> Result<Option<InstanceId>, Box<dyn Error>> {
    let listed = client.list(&Filter::default(), Order::OldestFirst, None, 100).await?;
    for view in &listed.rows {
        say(&format!("in the store: {} is {}", view.id, view.status));
    }
    Ok(listed.rows.into_iter().find(|view| !view.status.is_terminal()).map(|view| view.id))
}

async fn start(client: &Client) -> Result<InstanceId, Box<dyn Error>> {
    let number: u64 = client.counts().await?.into_iter().map(|(.., count)| count).sum();
    let id = InstanceId::orchestration(&format!("order-{}", number + 1))?;
    let options = StartOptions { id: Some(id.clone()), ..StartOptions::default() };
    say(&format!("{id}: starts"));
    client.run(order, "teapot".to_owned(), options).await?;
    Ok(id)
}

/// Somebody who approves a little later. The key makes the event count once, also when a run that was killed raised it
/// before.
async fn approve(client: Client, id: InstanceId) {
    tokio::time::sleep(Duration::from_millis(800)).await;
    let event = Raised {
        name: "Approve".to_owned(),
        input: Value::from("true"),
        key: "approved by hand".to_owned(),
    };
    say(&format!("{id}: somebody approves"));
    if let Err(error) = client.raise(&id, event).await {
        say(&format!("{id}: cannot be approved, {error}"));
    }
}

#[expect(clippy::print_stdout, reason = "an example shows what happens")]
fn say(line: &str) {
    println!("{line}");
}
