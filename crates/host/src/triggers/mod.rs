//! What starts functions besides requests: schedules, messages, blobs, events.
//!
//! G1  A listener of a trigger ends with the host: it takes nothing new once the host is stopping.
//! G2  A listener that cannot be started is told of; the others listen.

pub(crate) mod blob;
pub(crate) mod blob_events;
pub(crate) mod event_grid;
pub(crate) mod notifications;
pub(crate) mod queue;
mod receipts;
mod retry;
mod timer;
pub(crate) mod webhooks;

use std::{sync::Arc, time::Duration};

use everstep_functions::config::binding::{BlobSource, Bound, Trigger};
use tokio::{sync::watch, task::JoinHandle};

use crate::site::Site;

/// All listeners of a host.
pub(crate) struct Listeners {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Listeners {
    /// Lets every listener end: each finishes what it began, if that takes no longer than the time given.
    pub(crate) async fn stop(self, time: Duration) {
        // There may be no listeners.
        let _ = self.stop.send(true);
        let ended = async {
            for task in self.tasks {
                drop(task.await);
            }
        };
        drop(tokio::time::timeout(time, ended).await);
    }
}

/// Starts a listener for each function that needs one.
pub(crate) async fn start(site: &Arc<Site>) -> Listeners {
    let (stop, stopped) = watch::channel(false);
    let mut tasks = Vec::new();
    for bound in site.functions.values() {
        tasks.extend(listener(site, bound, stopped.clone()).await);
    }
    Listeners { stop, tasks }
}

async fn listener(
    site: &Arc<Site>,
    bound: &Arc<Bound>,
    stopped: watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let started = match &bound.trigger {
        Trigger::Timer(trigger) => return timer::start(site, bound, trigger, stopped),
        Trigger::EventGrid(_) => {
            event_grid::prepare(site, bound);
            return None;
        }
        Trigger::Queue(trigger) => {
            queue::start(site, bound, trigger, stopped).await.map_err(|error| error.to_string())
        }
        Trigger::Blob(trigger) => {
            if trigger.source == BlobSource::EventGrid {
                blob_events::prepare(site, bound);
            }
            blob::start(site, bound, trigger, stopped).await.map_err(|error| error.to_string())
        }
        _ => return None,
    };
    if let Err(error) = &started {
        tracing::error!(target: "Host.Startup.Notice", "function `{}` will not run: {error}", bound.name);
    }
    started.ok()
}
