//! Schedules: waiting for the next time, running, and keeping where the schedule stands.
//!
//! T1  What is kept is written before a run and after it, whole or not at all; a start after any crash makes up for the
//!     time that passed, once.
//! T2  A function never overlaps itself: the next wait begins when the run has ended.
//! T3  The clock of the machine decides, looked at least once a minute: it may jump while the machine sleeps.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use everstep_functions::{
    config::binding::{Bound, TimerTrigger},
    cron::{self, Monitor, Plan, Reason, Schedule, Timer, Zone},
    program::{ScheduleStatus, Trigger},
};
use everstep_model::Timestamp;
use tokio::{sync::watch, task::JoinHandle};

use super::retry;
use crate::{durable_file, front, invoke::Call, site::Site, start::now};

/// The longest time without a look at the clock.
const LOOK: Duration = Duration::from_mins(1);

/// Starts the listener of a function; a schedule that is none is told of and listens to nothing.
pub(super) fn start(
    site: &Arc<Site>,
    bound: &Arc<Bound>,
    trigger: &TimerTrigger,
    stopped: watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let timer = match timer(site, trigger) {
        Ok(timer) => timer,
        Err(error) => {
            tracing::error!(target: "Host.Startup.Notice", "function `{}` will not run: {error}", bound.name);
            return None;
        }
    };
    let path = site.folder.join("timers").join(format!("{}.json", bound.name.to_lowercase()));
    let listener = Listener { site: Arc::clone(site), bound: Arc::clone(bound), timer, path };
    Some(tokio::spawn(listener.run(stopped)))
}

fn timer(site: &Site, trigger: &TimerTrigger) -> Result<Timer, cron::Error> {
    let settings = &site.settings;
    Ok(Timer {
        schedule: Schedule::parse(&trigger.schedule)?,
        zone: Zone::from_settings(settings.get("WEBSITE_TIME_ZONE"), settings.get("TZ"))?,
        use_monitor: trigger.use_monitor,
        run_on_startup: trigger.run_on_startup,
    })
}

struct Listener {
    site: Arc<Site>,
    bound: Arc<Bound>,
    timer: Timer,
    path: PathBuf,
}

impl Listener {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let zone = self.timer.zone.clone();
        let (mut monitor, plan) = Monitor::start(self.timer.clone(), now(), self.kept());
        let Plan { mut run_now, mut next, keep } = plan;
        self.keep(keep);
        loop {
            let reason = match run_now.take() {
                Some(reason) => reason,
                None => {
                    let Some(due) = next else { return };
                    tokio::select! {
                        () = self.until(due) => Reason::Scheduled,
                        _ = stopped.wait_for(|stopped| *stopped) => return,
                    }
                }
            };
            if *stopped.borrow() {
                return;
            }
            let started = now();
            let mut text = cron::fired_at(started, &zone);
            if let Some(details) = reason.details(&zone) {
                text = format!("{text}', Details='{details}");
            }
            let function = self.bound.name.as_str().into();
            let call = |retries| Call {
                inputs: front::durable_clients(&self.site, &self.bound),
                retries,
                ..Call::new(&function, Trigger::Timer(monitor.event(reason)), text.clone())
            };
            // How it ended stands in the log.
            drop(retry::run(&self.site, &self.bound, call).await);
            let plan = monitor.ran(reason, started);
            (run_now, next) = (plan.run_now, plan.next);
            self.keep(plan.keep);
        }
    }

    /// Waits until a time of the wall clock, and as long as the host is held or draining.
    async fn until(&self, due: Timestamp) {
        loop {
            let left = due.since(now());
            if left.is_zero() && !self.site.is_paused() {
                return;
            }
            let pause = if left.is_zero() { Duration::from_secs(1) } else { left.min(LOOK) };
            tokio::time::sleep(pause).await;
        }
    }

    fn kept(&self) -> Option<ScheduleStatus> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(target: "Host.Triggers.Timer", path = %self.path.display(), %error, "where the schedule stood cannot be read; it begins anew");
                return None;
            }
        };
        cron::read_status(&text, &self.timer.zone).unwrap_or_else(|error| {
            tracing::error!(target: "Host.Triggers.Timer", path = %self.path.display(), %error, "where the schedule stood cannot be read; it begins anew");
            None
        })
    }

    fn keep(&self, status: Option<ScheduleStatus>) {
        let Some(status) = status else { return };
        if let Err(error) =
            durable_file::write(&self.path, &cron::write_status(&status, &self.timer.zone))
        {
            tracing::error!(target: "Host.Triggers.Timer", path = %self.path.display(), %error, "where the schedule stands cannot be written; a restart may run the function once more");
        }
    }
}
