//! W5 and W7 to W9: what waiting costs, entities, lists and purges, recovery.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use everstep::OrchestratorHandle as _;
use everstep_model::{InstanceId, Status, Value};
use everstep_runtime::{Bulk, Options, Raised};
use everstep_store::{Filter, Order};

use super::bed::{APPROVAL, Bed, EMPTY, SEQUENCE, check_completed};
use crate::{
    bench::{Context, Size, Workload},
    limits::Memory,
    report::{Sample, quantile},
};

/// Orchestrations that wait for an event.
pub(crate) struct Waiting;

impl Workload for Waiting {
    fn name(&self) -> &'static str {
        "W5"
    }

    fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>> {
        let counts: &[u32] = match context.size {
            Size::Quick => &[20_000],
            Size::Full => &[20_000, 200_000],
        };
        let mut samples = Vec::new();
        for count in counts {
            let folder = context.folder.join(count.to_string());
            std::fs::create_dir_all(&folder)?;
            let bed = Bed::open(&folder)?;
            let before = Memory::read()?.resident;
            bed.for_many(*count, |client, number| async move {
                Bed::start(client, APPROVAL.name(), format!("a-{number}"), 0).await.map(drop)
            })?;
            let after = Memory::read()?.resident;
            let began = Instant::now();
            bed.for_many(*count, |client, number| async move {
                let id = InstanceId::orchestration(&format!("a-{number}"))?;
                let event =
                    Raised { name: "Approve".into(), input: Value::text("1"), key: String::new() };
                Ok(client.raise(&id, event).await?)
            })?;
            bed.for_many(*count, |client, number| async move {
                client.wait(&InstanceId::orchestration(&format!("a-{number}"))?).await?;
                Ok(())
            })?;
            let woken = began.elapsed().as_secs_f64();
            bed.close()?;
            check_completed(&folder, APPROVAL.name(), u64::from(*count))?;
            let variant = count.to_string();
            let bytes =
                mebibytes(after.saturating_sub(before)) * f64::from(1 << 20) / f64::from(*count);
            samples.push(Sample::new(&variant, "per waiting instance", "B", bytes));
            samples.push(Sample::new(&variant, "rss", "MiB", mebibytes(after)));
            samples.push(Sample::new(&variant, "wake all", "s", woken));
        }
        Ok(samples)
    }
}

/// Makes a store of many finished instances.
pub(super) fn finish_many(folder: &Path, count: u32) -> anyhow::Result<()> {
    let bed = Bed::open(folder)?;
    bed.run_many(EMPTY.name(), count, 7)?;
    bed.close()
}

pub(super) fn finished(size: Size) -> u32 {
    match size {
        Size::Quick => 20_000,
        Size::Full => 1_000_000,
    }
}

/// Signals to one entity, and to a thousand.
pub(crate) struct Entities;

impl Workload for Entities {
    fn name(&self) -> &'static str {
        "W7"
    }

    fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>> {
        let count = match context.size {
            Size::Quick => 20_000,
            Size::Full => 200_000,
        };
        let mut samples = Vec::new();
        for entities in [1, 1000] {
            let folder = context.folder.join(entities.to_string());
            std::fs::create_dir_all(&folder)?;
            let bed = Bed::open(&folder)?;
            let began = Instant::now();
            bed.for_many(count, move |client, number| async move {
                let entity = InstanceId::entity("Counter", &(number % entities).to_string())?;
                Ok(client.signal(&entity, "add", Value::text("1"), "").await?)
            })?;
            let took = began.elapsed().as_secs_f64();
            bed.close()?;
            check_sum(&folder, entities, u64::from(count))?;
            samples.push(Sample::new(
                entities.to_string(),
                "signals",
                "1/s",
                f64::from(count) / took,
            ));
        }
        Ok(samples)
    }
}

fn check_sum(folder: &Path, entities: u32, expected: u64) -> anyhow::Result<()> {
    let bed = Bed::open(folder)?;
    let mut sum = 0;
    for key in 0..entities {
        let entity = InstanceId::entity("Counter", &key.to_string())?;
        let state =
            bed.block_on(bed.client().entity_state(&entity))?.context("the entity has a state")?;
        sum += String::from_utf8_lossy(state.inline().context("small")?).parse::<u64>()?;
    }
    ensure!(sum == expected, "the entities counted {sum} of {expected} signals");
    bed.close()
}

/// A page of a long list, and a large purge with work beside it.
pub(crate) struct Lists;

impl Workload for Lists {
    fn name(&self) -> &'static str {
        "W8"
    }

    fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>> {
        let count = finished(context.size);
        finish_many(context.folder, count)?;
        let bed = Bed::open(context.folder)?;
        let filter = Filter { statuses: vec![Status::Completed], ..Filter::default() };
        let mut pages = Vec::new();
        bed.block_on(async {
            let mut after = None;
            for _ in 0..100 {
                let began = Instant::now();
                let page = bed.client().list(&filter, Order::NewestFirst, after, 100).await?;
                pages.push(millis(began.elapsed()));
                ensure!(page.rows.len() == 100, "a page in the middle is full");
                after = page.next;
            }
            Ok(())
        })?;
        pages.sort_by(f64::total_cmp);
        let purged = u64::from(count / 10);
        let before = latency(&bed, "before", |done| done == LATENCIES)?;
        let oldest = Filter { id_prefix: Some(format!("{}-1", EMPTY.name())), ..filter.clone() };
        let purge = || -> anyhow::Result<_> {
            let began = Instant::now();
            let done = bed.block_on(bed.client().bulk(&oldest, &Bulk::Purge))?;
            let answered = began.elapsed().as_secs_f64();
            bed.fold()?;
            Ok((done, answered, began.elapsed().as_secs_f64()))
        };
        let (purging, beside) = std::thread::scope(|scope| {
            let purging = scope.spawn(purge);
            let beside = latency(&bed, "beside", |_| purging.is_finished());
            (purging.join(), beside)
        });
        let (done, answered, folded) =
            purging.map_err(|_| anyhow::anyhow!("the purge panicked"))??;
        let beside = beside?;
        bed.close()?;
        check_completed(context.folder, EMPTY.name(), u64::from(count) - done)?;
        ensure!(done >= purged, "only {done} were purged");
        Ok(vec![
            Sample::new(count.to_string(), "page of 100", "ms", quantile(&pages, 500)),
            Sample::new(done.to_string(), "purge", "s", answered),
            Sample::new(done.to_string(), "purge and fold", "s", folded),
            Sample::new("alone", "p50", "ms", before.p50),
            Sample::new("alone", "p99", "ms", before.p99),
            Sample::new("beside a purge", "p50", "ms", beside.p50),
            Sample::new("beside a purge", "p99", "ms", beside.p99),
            Sample::new("beside a purge", "p99 to that alone", "ratio", beside.p99 / before.p99),
        ])
    }
}

/// Orchestrations whose time is taken when nothing else goes on.
const LATENCIES: usize = 500;

/// From start to completion, in milliseconds.
struct Latency {
    p50: f64,
    p99: f64,
}

/// Times of small orchestrations, one after the other, until it is enough.
fn latency(bed: &Bed, prefix: &str, enough: impl Fn(usize) -> bool) -> anyhow::Result<Latency> {
    let mut took = Vec::new();
    while took.is_empty() || !enough(took.len()) {
        let number = took.len();
        let began = Instant::now();
        bed.block_on(async {
            let id =
                Bed::start(bed.client().clone(), SEQUENCE.name(), format!("{prefix}-{number}"), 1)
                    .await?;
            bed.client().wait(&id).await?;
            anyhow::Ok(())
        })?;
        took.push(millis(began.elapsed()));
    }
    took.sort_by(f64::total_cmp);
    Ok(Latency { p50: quantile(&took, 500), p99: quantile(&took, 990) })
}

/// Opening a store whose log was not folded.
pub(crate) struct Recovery;

impl Workload for Recovery {
    fn name(&self) -> &'static str {
        "W9"
    }

    fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>> {
        let count: u32 = match context.size {
            Size::Quick => 5_000,
            Size::Full => 50_000,
        };
        let options = Options {
            fold_bytes: u64::MAX / 8,
            fold_interval: Duration::from_hours(24),
            ..Options::default()
        };
        let bed = Bed::open_with(context.folder, options)?;
        bed.run_many(SEQUENCE.name(), count, 5)?;
        bed.crash();
        let log = log_bytes(context.folder)?;
        let began = Instant::now();
        let bed = Bed::open(context.folder)?;
        let last = InstanceId::orchestration(&format!("{}-{}", SEQUENCE.name(), count - 1))?;
        bed.block_on(bed.client().get(&last))?;
        let took = began.elapsed().as_secs_f64();
        bed.close()?;
        check_completed(context.folder, SEQUENCE.name(), u64::from(count))?;
        Ok(vec![
            Sample::new(count.to_string(), "log", "MiB", mebibytes(log)),
            Sample::new(count.to_string(), "ready", "s", took),
        ])
    }
}

#[expect(clippy::cast_precision_loss, reason = "what a machine holds is far below 2^52 bytes")]
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn log_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        if file.path().extension().is_some_and(|ending| ending == "seg") {
            sum += file.metadata()?.len();
        }
    }
    Ok(sum)
}

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
