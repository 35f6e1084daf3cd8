//! Removing what ended long ago.
//!
//! R1  Trees go whole, by how their root ended and how long ago; what a living tree needs stays.
//! R2  A round that is cut short has removed a part, for good. The next one removes the rest.
//! R3  Nothing is removed while earlier work is held: whoever holds it wants to look.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use everstep::Client;
use everstep_functions::config::host_json::Retention;
use everstep_model::{Status, Timestamp};

use crate::{site::Site, start::now};

/// Between two rounds.
const PAUSE: Duration = Duration::from_mins(1);

/// Starts the rounds, if the configuration names an age.
pub(crate) fn start(site: &Arc<Site>) {
    let retention = site.config.everstep.retention;
    if retention != Retention::default() {
        tokio::spawn(rounds(Arc::downgrade(site), retention));
    }
}

async fn rounds(site: Weak<Site>, retention: Retention) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(site) = site.upgrade() else { return };
        if site.held.load(Ordering::Relaxed) || site.is_draining() {
            continue;
        }
        let client = site.client.clone();
        drop(site);
        match round(&client, &retention, now()).await {
            Ok(0) => {}
            Ok(count) => {
                tracing::info!(target: "Host.General", count, "instances that ended long ago were removed");
            }
            Err(error) => {
                tracing::warn!(target: "Host.General", %error, "removing instances that ended long ago failed; it is tried again");
            }
        }
    }
}

async fn round(
    client: &Client,
    retention: &Retention,
    now: Timestamp,
) -> Result<u64, everstep::ClientError> {
    let mut count = 0;
    for (statuses, age) in [
        (&[Status::Completed][..], retention.completed),
        (&[Status::Failed], retention.failed),
        (&[Status::Terminated, Status::Canceled], retention.terminated),
    ] {
        let Some(age) = age else { continue };
        let before = Timestamp::EPOCH.after(now.since(Timestamp::EPOCH).saturating_sub(age));
        count += client.purge_ended_so(statuses, before).await?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use everstep::{App, Context, Failure, Orchestrator, StartOptions, Value};

    use super::*;
    use crate::{FunctionApp, start::testing::Running};

    #[tokio::test]
    async fn trees_go_by_age_and_by_how_they_ended() {
        let app = App::new("1")
            .orchestrator(Orchestrator::new("Well"), async |_: Context, (): ()| {
                Ok::<(), Failure>(())
            })
            .orchestrator(Orchestrator::new("Badly"), async |_: Context, (): ()| {
                Err::<(), _>(Failure::new("Wrong", "it went wrong"))
            });
        let host = Running::open(FunctionApp::new(app)).await;
        let client = &host.site.client;
        for name in ["Well", "Badly"] {
            let id = client.start(name, Value::empty(), StartOptions::default()).await.unwrap();
            client.wait(&id).await.unwrap();
        }
        let hour = Duration::from_hours(1);
        let ages = |completed, failed| Retention { completed, failed, terminated: None };
        let later = now().after(hour);
        let count = async |retention, at| round(client, &retention, at).await.unwrap();
        assert_eq!(count(ages(Some(hour), Some(hour)), now()).await, 0, "nothing is that old");
        assert_eq!(count(ages(None, None), later.after(hour)).await, 0, "nothing is to go");
        assert_eq!(count(ages(Some(hour), None), later.after(hour)).await, 1);
        let left = client.counts().await.unwrap();
        let left: Vec<_> = left.iter().map(|(_, name, _, count)| (name.as_str(), *count)).collect();
        assert_eq!(left, [("Badly", 1)]);
        assert_eq!(count(ages(Some(hour), Some(hour)), later.after(hour)).await, 1);
        host.stop().await;
    }
}
