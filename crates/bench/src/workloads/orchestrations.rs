//! W1 to W4: sequences, many at once, fans, and a single start.

use std::time::Instant;

use anyhow::Context as _;
use everstep::OrchestratorHandle as _;
use everstep_model::InstanceId;

use super::bed::{Bed, FAN, SEQUENCE, check_completed, check_output};
use crate::{
    bench::{Context, Size, Workload},
    limits::Meter,
    report::{Sample, quantile},
};

/// Sequences that are run, one after the other.
const SEQUENCES: usize = 10;

/// One orchestration of 100 sequential activities.
pub(crate) struct Steps;

impl Workload for Steps {
    fn name(&self) -> &'static str {
        "W1"
    }

    fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>> {
        let bed = Bed::open(context.folder)?;
        let mut steps = Vec::new();
        for run in 0..SEQUENCES {
            let began = Instant::now();
            bed.block_on(async {
                let id =
                    Bed::start(bed.client().clone(), SEQUENCE.name(), format!("w1-{run}"), 100)
                        .await?;
                bed.client().wait(&id).await.context("waiting")
            })?;
            steps.push(began.elapsed().as_secs_f64() * 1000.0 / 100.0);
        }
        bed.close()?;
        check_output(context.folder, &format!("w1-{}", SEQUENCES - 1), "100")?;
        // A new hub prepares its log while the first sequences run.
        let first = steps[0];
        steps.sort_by(f64::total_cmp);
        let step = quantile(&steps, 500);
        Ok(vec![
            Sample::new("100", "step", "ms", step),
            Sample::new(
                "100",
                "step to flush",
                "ratio",
                step / (context.flush.as_secs_f64() * 1000.0),
            ),
            Sample::new("100, new hub", "step", "ms", first),
        ])
    }
}

/// Many orchestrations of five sequential activities.
pub(crate) struct Many;

impl Workload for Many {
    fn name(&self) -> &'static str {
        "W2"
    }

    fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>> {
        let mut samples = Vec::new();
        let sizes: &[u32] = match context.size {
            Size::Quick => &[2_000],
            Size::Full => &[2_000, 20_000],
        };
        for count in sizes {
            let folder = context.folder.join(count.to_string());
            std::fs::create_dir_all(&folder)?;
            let bed = Bed::open(&folder)?;
            let before = Meter::read()?;
            let took = bed.run_many(SEQUENCE.name(), *count, 5)?.as_secs_f64();
            let cpu = Meter::read()?.since(&before).cpu;
            bed.close()?;
            check_completed(&folder, SEQUENCE.name(), u64::from(*count))?;
            let (variant, count) = (count.to_string(), f64::from(*count));
            samples.push(Sample::new(&variant, "orchestrations", "1/s", count / took));
            samples.push(Sample::new(&variant, "activities", "1/s", 5.0 * count / took));
            samples.push(Sample::new(
                &variant,
                "cpu per 1,000 activities",
                "s",
                cpu * 1000.0 / (5.0 * count),
            ));
        }
        Ok(samples)
    }
}

/// Fan-out and fan-in.
pub(crate) struct Fans;

impl Workload for Fans {
    fn name(&self) -> &'static str {
        "W3"
    }

    fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>> {
        let widths: &[u32] = match context.size {
            Size::Quick => &[1_000, 10_000],
            Size::Full => &[1_000, 10_000, 100_000],
        };
        let mut samples = Vec::new();
        for width in widths {
            let folder = context.folder.join(width.to_string());
            std::fs::create_dir_all(&folder)?;
            let bed = Bed::open(&folder)?;
            let before = Meter::read()?;
            let began = Instant::now();
            bed.block_on(async {
                let id = Bed::start(bed.client().clone(), FAN.name(), "fan".into(), *width).await?;
                bed.client().wait(&id).await.context("waiting")
            })?;
            let took = began.elapsed().as_secs_f64();
            let cpu = Meter::read()?.since(&before).cpu;
            bed.close()?;
            let sum = u64::from(*width) * u64::from(*width - 1) / 2;
            check_output(&folder, "fan", &sum.to_string())?;
            let (variant, width) = (width.to_string(), f64::from(*width));
            samples.push(Sample::new(&variant, "activities", "1/s", width / took));
            samples.push(Sample::new(
                &variant,
                "cpu per 1,000 activities",
                "s",
                cpu * 1000.0 / width,
            ));
        }
        Ok(samples)
    }
}

/// From a start to the end of an orchestration with one activity.
pub(crate) struct Latency;

impl Workload for Latency {
    fn name(&self) -> &'static str {
        "W4"
    }

    fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>> {
        let bed = Bed::open(context.folder)?;
        bed.run_many(SEQUENCE.name(), 20, 1)?;
        let mut millis = Vec::new();
        bed.block_on(async {
            for number in 0..500 {
                let began = Instant::now();
                let id =
                    Bed::start(bed.client().clone(), SEQUENCE.name(), format!("w4-{number}"), 1)
                        .await?;
                bed.client().wait(&id).await?;
                millis.push(began.elapsed().as_secs_f64() * 1000.0);
            }
            anyhow::Ok(())
        })?;
        let last = InstanceId::orchestration("w4-499")?;
        bed.close()?;
        check_output(context.folder, last.as_str(), "1")?;
        millis.sort_by(f64::total_cmp);
        let (p50, p99) = (quantile(&millis, 500), quantile(&millis, 990));
        let flush = context.flush.as_secs_f64() * 1000.0;
        Ok(vec![
            Sample::new("500", "p50", "ms", p50),
            Sample::new("500", "p99", "ms", p99),
            Sample::new("500", "p50 to flush", "ratio", p50 / flush),
        ])
    }
}
