//! `wait`: until an instance has ended. The host holds the request, so that nothing is polled.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::{World, show::INSTANCE, source::is_end};
use crate::{
    args::Wait,
    client::{Api, Call},
    console::{Console, Item},
    fault::{Exit, Fault},
    time,
};

/// How long a host holds one request.
const LEG: Duration = Duration::from_secs(30);
/// A host that answers at once although it was asked to wait is not asked more often than this.
const PAUSE: Duration = Duration::from_millis(500);

/// `everstep wait`
pub(crate) async fn wait(wait: &Wait, world: &mut World) -> Result<Exit, Fault> {
    let api = world.api(&wait.common.connect)?;
    until_ended(&api, &wait.id, wait.timeout, world).await
}

/// Waits, prints what came of it, and tells success from failure.
pub(super) async fn until_ended(
    api: &Api,
    id: &str,
    timeout: Option<Duration>,
    world: &mut World,
) -> Result<Exit, Fault> {
    let spinner = Console::spinner(&format!("waiting for {id}"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let waited = ended(api, id, timeout).await;
    spinner.finish_and_clear();
    let status = waited?;
    world.console.one(INSTANCE, &status)?;
    Ok(if status.text("runtimeStatus") == "Completed" { Exit::Ok } else { Exit::Ended })
}

async fn ended(api: &Api, id: &str, timeout: Option<Duration>) -> Result<Item, Fault> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = deadline.map_or(LEG, |deadline| deadline - Instant::now());
        let status = hold(api, id, left.min(LEG)).await?;
        let now = status.text("runtimeStatus");
        if is_end(now) {
            return Ok(status);
        }
        if api.is_offline() {
            let text = format!("`{id}` is {now}, and no host runs that would let it go on");
            return Err(Fault::new(Exit::Unreachable, text)
                .remedy("start it with `everstep start`, then wait again"));
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let waited = time::length(timeout.unwrap_or_default());
            let text = format!("`{id}` is still {now} after {waited}");
            return Err(Fault::new(Exit::Timeout, text)
                .remedy(format!("`everstep why {id}` says what it waits for")));
        }
    }
}

/// The status as soon as it is an end, or after this time.
pub(super) async fn hold(api: &Api, id: &str, time: Duration) -> Result<Item, Fault> {
    let asked = Instant::now();
    // Handlers that only read refuse to wait.
    let wait = (!api.is_offline()).then(|| format!("{}ms", time.as_millis()));
    let call = Call::instance(Method::GET, id, "")
        .maybe("wait", wait.as_deref())
        .query("showInput", "false")
        .query("showDetails", "true");
    let status = Item::parse(&api.get_instance(id, call).await?.body)?;
    if !is_end(status.text("runtimeStatus")) && !api.is_offline() {
        tokio::time::sleep_until(asked + PAUSE.min(time)).await;
    }
    Ok(status)
}
