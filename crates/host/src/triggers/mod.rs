//! What starts functions besides requests: schedules.
//!
//! G1  A listener of a trigger ends with the host: it takes nothing new once the host is stopping.

pub(crate) mod event_grid;
mod timer;
pub(crate) mod webhooks;

use std::sync::Arc;

use everstep_functions::config::binding::Trigger;
use tokio::{sync::watch, task::JoinHandle};

use crate::site::Site;

/// All listeners of a host.
pub(crate) struct Listeners {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Listeners {
    /// Lets every listener end: each finishes what it began.
    pub(crate) async fn stop(self) {
        // There may be no listeners.
        let _ = self.stop.send(true);
        for task in self.tasks {
            drop(task.await);
        }
    }
}

/// Starts a listener for each function that needs one.
pub(crate) fn start(site: &Arc<Site>) -> Listeners {
    let (stop, stopped) = watch::channel(false);
    let tasks = site
        .functions
        .values()
        .filter_map(|bound| match &bound.trigger {
            Trigger::Timer(trigger) => timer::start(site, bound, trigger, stopped.clone()),
            Trigger::EventGrid(_) => {
                event_grid::prepare(site, bound);
                None
            }
            _ => None,
        })
        .collect();
    Listeners { stop, tasks }
}
