//! The app that is measured, and a host over the embedded store in a run's folder.

use std::{
    future::Future,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use everstep::{
    Activity, ActivityContext, App, Context, Entity, EntityContext, Failure, Input, Orchestrator,
    Purity,
};
use everstep_model::{InstanceId, Status, Value};
use everstep_runtime::{Client, Host, Options, StartOptions};
use everstep_store::HubOptions;
use everstep_store_embedded::{Embedded, LoggedOptions, open_embedded};

const PARTITIONS: u16 = 8;
/// Requests that are under way at once when many are made.
const AT_ONCE: usize = 512;

const NOTHING: Activity<u32, u32> = Activity::new("Nothing");
pub(crate) const SEQUENCE: Orchestrator<u32, u32> = Orchestrator::new("Sequence");
pub(crate) const FAN: Orchestrator<u32, u64> = Orchestrator::new("Fan");
pub(crate) const APPROVAL: Orchestrator<u32, u32> = Orchestrator::new("Approval");
pub(crate) const EMPTY: Orchestrator<u32, u32> = Orchestrator::new("Empty");

async fn nothing(_: ActivityContext, number: u32) -> Result<u32, Failure> {
    Ok(number)
}

/// As many activities as the input says, one after the other.
async fn sequence(ctx: Context, count: u32) -> Result<u32, Failure> {
    let mut sum = 0;
    for number in 0..count {
        sum += u32::from(ctx.call(NOTHING, number).await? == number);
    }
    Ok(sum)
}

/// As many activities as the input says, all at once.
async fn fan(ctx: Context, count: u32) -> Result<u64, Failure> {
    let calls = (0..count).map(|number| ctx.call(NOTHING, number)).collect();
    let results = everstep::try_join_all(calls).await?;
    Ok(results.into_iter().map(u64::from).sum())
}

async fn approval(ctx: Context, _: u32) -> Result<u32, Failure> {
    ctx.event::<u32>("Approve").await
}

async fn empty(_: Context, number: u32) -> Result<u32, Failure> {
    Ok(number)
}

/// A sum that grows by one with every operation.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Counter(u64);

impl Entity for Counter {
    const NAME: &'static str = "Counter";
    const PURITY: Purity = Purity::Pure;
    const OPERATIONS: &'static [&'static str] = &["add"];

    async fn dispatch(
        &mut self,
        operation: &str,
        _: Input<'_>,
        _: &mut EntityContext,
    ) -> Result<Value, Failure> {
        if operation != "add" {
            return everstep::unknown_operation::<Self>(operation);
        }
        self.0 += 1;
        everstep::output(&self.0)
    }
}

fn app() -> App {
    App::new("bench")
        .activity(NOTHING, nothing)
        .orchestrator(SEQUENCE, sequence)
        .orchestrator(FAN, fan)
        .orchestrator(APPROVAL, approval)
        .orchestrator(EMPTY, empty)
        .entity::<Counter>()
}

/// A host in a folder.
pub(crate) struct Bed {
    runtime: tokio::runtime::Runtime,
    host: Option<Host<Embedded>>,
    client: Client,
}

impl Bed {
    /// Opens the folder's hub, or makes it.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        Self::open_with(folder, Options::default())
    }

    /// The same with options.
    pub(crate) fn open_with(folder: &Path, options: Options) -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let entered = runtime.enter();
        let store =
            open_embedded(folder, &HubOptions::new("bench", PARTITIONS), LoggedOptions::default())?;
        let options = Options { running_file: Some(folder.join("running")), ..options };
        let host = Host::start(store, Arc::new(app()), options)?;
        drop(entered);
        let client = host.client();
        Ok(Self { runtime, host: Some(host), client })
    }

    /// What clients use.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a future to its end.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Stops the host as an operator would.
    pub(crate) fn close(mut self) -> anyhow::Result<()> {
        let host = self.host.take().context("a bed is closed once")?;
        self.runtime.block_on(host.stop())?;
        Ok(())
    }

    /// Ends the host without a fold, as a kill would.
    pub(crate) fn crash(mut self) {
        drop(self.host.take());
    }

    /// Moves everything into the tables.
    pub(crate) fn fold(&self) -> anyhow::Result<()> {
        let host = self.host.as_ref().context("the host runs")?;
        Ok(self.runtime.block_on(host.fold())?)
    }

    /// Starts an orchestration under an id.
    pub(crate) async fn start(
        client: Client,
        name: &'static str,
        id: String,
        input: u32,
    ) -> anyhow::Result<InstanceId> {
        let options =
            StartOptions { id: Some(InstanceId::orchestration(&id)?), ..StartOptions::default() };
        Ok(client.start(name, Value::text(input.to_string()), options).await?)
    }

    /// Does something for many numbers, a bounded number of them at once.
    pub(crate) fn for_many<F>(
        &self,
        count: u32,
        work: impl Fn(Client, u32) -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0..count {
                if tasks.len() >= AT_ONCE {
                    tasks.join_next().await.context("there are tasks")???;
                }
                tasks.spawn(work(self.client.clone(), number));
            }
            while let Some(done) = tasks.join_next().await {
                done??;
            }
            Ok(())
        })
    }

    /// Starts many and waits until all have ended.
    pub(crate) fn run_many(
        &self,
        name: &'static str,
        count: u32,
        input: u32,
    ) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.for_many(count, move |client, number| async move {
            Self::start(client, name, format!("{name}-{number}"), input).await.map(drop)
        })?;
        self.for_many(count, move |client, number| async move {
            let id = InstanceId::orchestration(&format!("{name}-{number}"))?;
            client.wait(&id).await?;
            Ok(())
        })?;
        Ok(began.elapsed())
    }
}

/// Reopens the folder's store and checks that so many instances of a function completed.
pub(crate) fn check_completed(folder: &Path, name: &str, count: u64) -> anyhow::Result<()> {
    let bed = Bed::open(folder)?;
    let counts = bed.block_on(bed.client().counts())?;
    let found =
        counts.into_iter().find(|(_, of, status, _)| of == name && *status == Status::Completed);
    let found = found.map_or(0, |(.., count)| count);
    ensure!(found == count, "{found} of {count} `{name}` are completed in the reopened store");
    bed.close()
}

/// Reopens the folder's store and checks one result.
pub(crate) fn check_output(folder: &Path, id: &str, output: &str) -> anyhow::Result<()> {
    let bed = Bed::open(folder)?;
    let view = bed.block_on(bed.client().get(&InstanceId::parse(id)?))?;
    let found = view
        .output
        .as_ref()
        .and_then(Value::inline)
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    if found.as_deref() != Some(output) {
        bail!(
            "`{id}` should have ended with {output} in the reopened store, but has {found:?} ({})",
            view.status
        );
    }
    bed.close()
}
