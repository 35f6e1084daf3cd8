//! The activities: everything that asks a service or touches the spool.
//!
//! A1  Each may run again after it has done its work, and changes nothing then.
//! A2  Their inputs and outputs are numbers; `run.rs` tells why.

use std::{path::PathBuf, sync::Arc, time::Duration};

use everstep::{ActivityContext, App, BoxError, Failure};
use everstep_azure::{
    identity::Identity,
    retry::{Passing as _, Policy, retry},
    system_clock,
};
use everstep_host::Services;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{
    aws::{
        self, Aws,
        credentials::{Credentials, Role},
        queue::Queue,
    },
    notice, object,
    run::{self, Close, Finish, Received, Run},
    send::{self, ATTEMPTS, Sink},
    settings::{Essentials, Settings},
    spool::{
        Spool,
        messages::{self, Arrived, Ending, Limit},
        report,
    },
};

/// The kind of failures that come from AWS.
const AWS: &str = "Aws";

/// What activities and routes share.
pub(crate) struct Pipeline {
    pub(crate) settings: Settings,
    pub(crate) services: Services,
    pub(crate) spool: Spool,
    /// Nothing, while settings are missing.
    ready: Option<Ready>,
}

/// What a run works with.
pub(crate) struct Ready {
    pub(crate) aws: Aws,
    pub(crate) sink: Sink,
    queue: Queue,
    /// After how many receives the queue puts messages aside itself.
    redrive_after: OnceCell<Option<u32>>,
}

impl Pipeline {
    /// What can be seen to be wrong is said here, before anything listens.
    pub(crate) fn new(
        settings: Settings,
        services: Services,
        spool: PathBuf,
    ) -> Result<Self, BoxError> {
        let spool = Spool::new(spool);
        let ready = settings.essentials.as_ref().ok();
        let ready = ready.map(|essentials| Ready::new(essentials, &settings, &services, &spool));
        let ready = ready.transpose()?;
        Ok(Self { settings, services, spool, ready })
    }

    pub(crate) fn ready(&self) -> Result<&Ready, Failure> {
        match (&self.ready, &self.settings.essentials) {
            (Some(ready), _) => Ok(ready),
            (None, Err(missing)) => Err(Failure::new("Settings", missing.to_string()).fatal()),
            (None, Ok(_)) => unreachable!("what is not missing was made ready at the start"),
        }
    }

    /// What a run starts with.
    pub(crate) fn run(&self) -> Run {
        Run {
            seconds: self.settings.run_seconds,
            lanes: self.settings.lanes,
            keep_seconds: self.settings.receive.visibility_seconds / 3,
            begun: None,
        }
    }

    async fn begin(&self, key: String) -> Result<i64, Failure> {
        let spool = self.spool.clone();
        self.spool
            .with(move |db| {
                for object in messages::forget_old(db)? {
                    spool.forget_records(object)?;
                }
                report::begin(db, &key)
            })
            .await
    }

    /// Messages of this run that wait for their turn; if there are none, new ones.
    async fn receive(&self, attempt: String, run: i64) -> Result<Received, Failure> {
        let at_work = move |db: &mut _| messages::at_work(db, run, run::OBJECTS);
        let waiting = self.spool.with(at_work).await?;
        if !waiting.messages.is_empty() {
            return Ok(waiting);
        }
        let ready = self.ready()?;
        let policy = policy();
        let receive = || ready.queue.receive(&self.settings.receive, &attempt);
        let arrived = retry(&policy, receive).await.map_err(|error| failure(&error))?;
        let own = self.settings.buckets.own.as_deref();
        let arrived: Vec<Arrived> = arrived
            .into_iter()
            .map(|message| Arrived {
                notice: notice::read(&message.body, own),
                receives: message.receives(),
                id: message.id,
                receipt: message.receipt,
                body: message.body,
            })
            .collect();
        self.spool
            .with(move |db| {
                messages::arrive(db, run, arrived)?;
                messages::at_work(db, run, run::OBJECTS)
            })
            .await
    }

    async fn keep(&self, run: i64) -> Result<(), Failure> {
        let ready = self.ready()?;
        let seconds = self.settings.receive.visibility_seconds;
        let receipts = self.spool.with(move |db| messages::receipts(db, run)).await?;
        for receipt in receipts {
            if let Err(error) = ready.queue.hide(&receipt, seconds).await {
                // It comes again, perhaps to somebody else; what was sent of it is known.
                tracing::warn!(target: crate::LOG, "a message cannot be kept invisible: {error}");
            }
        }
        Ok(())
    }

    async fn finish(&self, finish: Finish) -> Result<(), Failure> {
        let message = finish.message;
        let ready = self.ready()?;
        let mut limit = Limit::None;
        let mut ending = self.ending(finish, limit).await?;
        if matches!(ending, Ending::Leave | Ending::PutAside { .. }) {
            limit = ready.limit(self.settings.receives_max).await;
            ending = self.ending(finish, limit).await?;
        }
        let at_queue = match &ending {
            Ending::Delete { receipt } => ready.delete(receipt).await,
            Ending::PutAside { .. } if matches!(limit, Limit::Queues(_)) => Ok(()),
            Ending::PutAside { receipt } => {
                // Its text is in the quarantine before it leaves the queue.
                let aside = ending.clone();
                self.spool.with(move |db| messages::end(db, message, &aside)).await?;
                ready.delete(receipt).await
            }
            Ending::Release { receipt } => {
                retry(&policy(), || ready.queue.hide(receipt, 0)).await.or_else(|error| {
                    tracing::warn!(target: crate::LOG, "a message stays invisible for a while: {error}");
                    Ok(())
                })
            }
            Ending::Leave | Ending::GoOn | Ending::Over => Ok(()),
        };
        at_queue.map_err(|error| failure(&error))?;
        self.spool.with(move |db| messages::end(db, message, &ending)).await
    }

    async fn ending(&self, finish: Finish, limit: Limit) -> Result<Ending, Failure> {
        let Finish { message, stopped } = finish;
        self.spool.with(move |db| messages::ending(db, message, limit, stopped)).await
    }

    async fn close(&self, close: Close) -> Result<Value, Failure> {
        let Close { run, stopped_early, cause } = close;
        let closed = self
            .spool
            .with(move |db| report::close(db, run, stopped_early, cause.as_deref()))
            .await?;
        let output = closed.output();
        let seconds = output["duration_seconds"].as_f64().unwrap_or_default();
        if closed.stopped_early {
            tracing::warn!(target: crate::LOG, "Approaching timeout limit. Stopping processing after {seconds:.0} seconds.");
        } else if closed.cause.is_none() {
            tracing::info!(target: crate::LOG, "No more messages in the queue.");
        }
        tracing::info!(target: crate::LOG, "Function execution completed in {seconds:.2} seconds");
        tracing::info!(target: crate::LOG, "Total SQS messages processed: {}", closed.messages_processed);
        tracing::info!(target: crate::LOG, "Total SQS messages deleted: {}", closed.messages_deleted);
        tracing::info!(target: crate::LOG, "Total log records sent: {}", closed.records_sent);
        if closed.status != "completed" {
            tracing::warn!(target: crate::LOG, "the run is no plain success: {output}");
        }
        Ok(output)
    }
}

impl Ready {
    fn new(
        essentials: &Essentials,
        settings: &Settings,
        services: &Services,
        spool: &Spool,
    ) -> Result<Self, BoxError> {
        let http = everstep_azure::http_client();
        let setting = |name: &str| services.setting(name).map(str::to_owned);
        let identity = Identity::from_settings(setting, http.clone())?;
        let role = Role {
            arn: essentials.role.clone(),
            session: settings.session.clone(),
            region: settings.region.clone(),
            endpoint: settings.aws_endpoint.clone(),
        };
        let clock = system_clock();
        let credentials = Credentials::new(role, identity.clone(), http.clone(), clock.clone());
        let sink = Sink::new(&essentials.sink, &identity, &http, spool.folder())?;
        let (region, endpoint) = (settings.region.clone(), settings.aws_endpoint.as_deref());
        let aws = Aws::new(http, credentials, region, endpoint, clock)?;
        let queue = Queue::new(aws.clone(), &essentials.queue)?;
        Ok(Self { aws, sink, queue, redrive_after: OnceCell::new() })
    }

    async fn delete(&self, receipt: &str) -> Result<(), aws::Error> {
        retry(&policy(), || self.queue.delete(receipt)).await
    }

    /// When failing messages go aside: the queue's own limit if it has one. If the role may not know, it has none.
    async fn limit(&self, ours: u32) -> Limit {
        let asked = self.redrive_after.get_or_try_init(|| self.queue.redrive_after()).await;
        let queues = asked.copied().unwrap_or_else(|error| {
            tracing::warn!(target: crate::LOG, "whether the queue has a redrive policy is unknown: {error}");
            None
        });
        queues.map_or(Limit::Ours(ours), Limit::Queues)
    }
}

fn policy() -> Policy {
    Policy { attempts: ATTEMPTS, ..Policy::default() }
}

/// Attempts were made already, so an orchestrator need not.
fn failure(error: &aws::Error) -> Failure {
    let passes = error.is_worth_retrying();
    let failure = Failure::new(AWS, error.to_string());
    if passes { failure } else { failure.fatal() }
}

/// The durable functions.
pub(crate) fn durable(pipeline: &Arc<Pipeline>) -> App {
    // Registers an activity that is a method.
    macro_rules! activities {
        ($app:expr, $($handle:ident => |$this:ident, $ctx:ident, $input:ident| $call:expr),+ $(,)?) => {{
            let app = $app;
            $(
                let held = Arc::clone(pipeline);
                let app = app.activity_with(run::$handle, limits(), move |$ctx: ActivityContext, $input| {
                    let $this = Arc::clone(&held);
                    async move { $call.await }
                });
            )+
            app
        }};
    }
    activities! {
        App::new(env!("CARGO_PKG_VERSION")),
        BEGIN => |this, ctx, _nothing| this.begin(ctx.idempotency_key()),
        RECEIVE => |this, ctx, run| this.receive(ctx.idempotency_key(), run),
        PROCESS_OBJECT => |this, _ctx, object| object::process(&this, object),
        UPLOAD_CHUNK => |this, _ctx, sending| send::send(&this, sending),
        FINISH_MESSAGE => |this, _ctx, finish| this.finish(finish),
        KEEP_MESSAGES => |this, _ctx, run| this.keep(run),
        CLOSE => |this, _ctx, close| this.close(close),
    }
    .orchestrator(run::RUN, run::run)
}

fn limits() -> everstep::ActivityOptions {
    everstep::ActivityOptions { concurrency: None, timeout: Some(Duration::from_hours(6)) }
}
