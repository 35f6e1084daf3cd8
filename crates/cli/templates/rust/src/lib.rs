//! The durable part of the app: an order is paid for, waits a while for an approval, and is shipped.
//!
//! Nothing here knows of HTTP or of the host, so that tests run it with time of their own.

use std::time::Duration;

use everstep::{ActivityContext, App, Context, Failure, RetryPolicy, activity, orchestrator};
use serde::{Deserialize, Serialize};

/// What somebody wants to buy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// What.
    pub item: String,
    /// For how much.
    pub cents: u32,
}

/// Takes the money. What touches the world is an activity; this one would call a payment service.
#[activity]
pub async fn charge(ctx: ActivityContext, cents: u32) -> Result<String, Failure> {
    Ok(format!("receipt {} for {cents} cents", ctx.idempotency_key()))
}

/// Sends the item.
#[activity]
pub async fn ship(_: ActivityContext, item: String) -> Result<String, Failure> {
    Ok(format!("{item} is on its way"))
}

/// Orders of more than 100 are shipped when somebody raises the event `Approve` within a day.
#[orchestrator]
pub async fn order(ctx: Context, wanted: Order) -> Result<String, Failure> {
    let policy = RetryPolicy::exponential(Duration::from_secs(1), 5);
    let receipt = ctx.call(charge, wanted.cents).retry(policy).await?;
    if wanted.cents > 10_000 {
        let approval = ctx.event::<bool>("Approve").or_timeout(Duration::from_secs(86_400)).await;
        if !matches!(approval, Ok(true)) {
            return Ok(format!("not shipped; {receipt} is to be paid back"));
        }
    }
    ctx.call(ship, wanted.item).await
}

/// The durable functions. Raise the version when you change what an orchestrator does.
pub fn durable() -> App {
    App::new("1.0").add(charge).add(ship).add(order)
}
