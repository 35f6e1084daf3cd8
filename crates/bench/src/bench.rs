//! Runs workloads and probes in turn and reports both.
//!
//! B1  The flush is probed before the first run, after each run, and at least [`PROBES_MIN`] times: a disk's mood
//!     changes within minutes, and a ratio holds only between neighbours.
//! B2  Each run has a folder of its own, which is removed before the next begins.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{
    folder,
    limits::{self, FlushProbe, Memory, Meter},
    report::{self, Row, Sample},
    workloads,
};

const PROBES_MIN: usize = 5;

/// What was asked for on the command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) size: Size,
    /// How often each workload runs; the size says it if nobody does.
    pub(crate) runs: Option<usize>,
    pub(crate) json: Option<PathBuf>,
    /// Names of workloads; empty for all.
    pub(crate) only: Vec<String>,
    pub(crate) dir: Option<PathBuf>,
}

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Everything in about a minute, once.
    Quick,
    /// The sizes that the targets name, several times.
    Full,
}

impl Size {
    fn runs(self) -> usize {
        match self {
            Self::Quick => 1,
            Self::Full => 5,
        }
    }
}

/// What a workload is given.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) size: Size,
    /// Empty, on a disk, this run's own.
    pub(crate) folder: &'a Path,
    /// The median flush of the probe just before, to put results in proportion.
    pub(crate) flush: Duration,
}

/// Something to measure.
pub(crate) trait Workload {
    /// As in `--only`, for example `W1`.
    fn name(&self) -> &'static str;

    /// Runs once, checks the results in the reopened store, and returns the figures.
    fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>>;
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let chosen = choose(workloads::all(), &options.only)?;
    let ground = folder::fresh(options.dir.as_deref())?;
    let mut probe = FlushProbe::create(ground.path())?;
    let mut flushes = Vec::new();
    let mut flush = probe_once(&mut probe, &mut flushes)?;
    let before = Meter::read()?;
    let idle = Memory::read()?;
    let mut rows = Vec::new();
    for workload in &chosen {
        let mut samples = Vec::new();
        let runs = options.runs.unwrap_or(options.size.runs()).max(1);
        for run in 1..=runs {
            report::progress(&format!("{} run {run} of {runs}", workload.name()));
            samples.extend(run_once(workload.as_ref(), options, flush)?);
            flush = probe_once(&mut probe, &mut flushes)?;
        }
        rows.extend(report::rows(workload.name(), &samples));
    }
    while flushes.len() < PROBES_MIN {
        probe_once(&mut probe, &mut flushes)?;
    }
    rows.extend(limit_rows(&flushes, &Meter::read()?.since(&before), idle));
    report::print(&report::table(&rows))?;
    options.json.as_deref().map_or(Ok(()), |path| report::write_json(path, &rows))
}

fn choose(all: Vec<Box<dyn Workload>>, only: &[String]) -> anyhow::Result<Vec<Box<dyn Workload>>> {
    let names: Vec<&str> = all.iter().map(|workload| workload.name()).collect();
    if let Some(unknown) =
        only.iter().find(|name| !names.iter().any(|known| known.eq_ignore_ascii_case(name)))
    {
        bail!("there is no workload `{unknown}`; the workloads are {}", names.join(", "));
    }
    let is_chosen =
        |name: &str| only.is_empty() || only.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
    Ok(all.into_iter().filter(|workload| is_chosen(workload.name())).collect())
}

/// One run with what it took from the machine.
fn run_once(
    workload: &dyn Workload,
    options: &Options,
    flush: Duration,
) -> anyhow::Result<Vec<Sample>> {
    let folder = folder::fresh(options.dir.as_deref())?;
    limits::forget_peak();
    let before = Meter::read()?;
    let context = Context { size: options.size, folder: folder.path(), flush };
    let mut samples =
        workload.run(&context).with_context(|| format!("{} failed", workload.name()))?;
    let spent = Meter::read()?.since(&before);
    let whole = |metric, unit, value| Sample::new("whole run", metric, unit, value);
    samples.extend([
        whole("cpu", "s", spent.cpu),
        whole("peak rss", "MiB", mebibytes(Memory::read()?.peak)),
        whole("written", "MiB", mebibytes(spent.written)),
        whole("steal", "%", spent.steal_percent()),
    ]);
    Ok(samples)
}

/// Probes the flush, keeps one sample for each of the three figures, and returns the median.
fn probe_once(probe: &mut FlushProbe, flushes: &mut Vec<Probed>) -> anyhow::Result<Duration> {
    let probed = Probed::of(&probe.sample()?);
    flushes.push(probed);
    Ok(Duration::from_secs_f64(probed.median / 1000.0))
}

/// One probe's flushes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Probed {
    median: f64,
    min: f64,
    max: f64,
}

impl Probed {
    fn of(flushes: &[Duration]) -> Self {
        let mut millis: Vec<f64> =
            flushes.iter().map(|flush| flush.as_secs_f64() * 1000.0).collect();
        millis.sort_by(f64::total_cmp);
        Self {
            median: report::quantile(&millis, 500),
            min: millis[0],
            max: millis[millis.len() - 1],
        }
    }
}

fn limit_rows(flushes: &[Probed], spent: &Meter, idle: Memory) -> Vec<Row> {
    let figures = flushes.iter().flat_map(|probed| {
        [("flush median", probed.median), ("flush min", probed.min), ("flush max", probed.max)]
            .map(|(metric, value)| Sample::new("4 KiB overwrite", metric, "ms", value))
    });
    let mut samples: Vec<Sample> = figures.collect();
    samples.push(Sample::new("machine", "steal", "%", spent.steal_percent()));
    samples.push(Sample::new("before any store", "idle rss", "MiB", mebibytes(idle.resident)));
    report::rows("limits", &samples)
}

fn mebibytes(bytes: u64) -> f64 {
    f64::from((bytes >> 10) as u32) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing(&'static str);

    impl Workload for Nothing {
        fn name(&self) -> &'static str {
            self.0
        }

        fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>> {
            assert!(context.folder.read_dir()?.next().is_none(), "the folder is empty");
            assert!(context.flush > Duration::ZERO, "there was a probe before");
            Ok(vec![Sample::new("", "size", "", f64::from(u8::from(context.size == Size::Full)))])
        }
    }

    fn names(only: &[&str]) -> anyhow::Result<Vec<&'static str>> {
        let all: Vec<Box<dyn Workload>> = vec![Box::new(Nothing("W1")), Box::new(Nothing("W2"))];
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        Ok(choose(all, &only)?.iter().map(|workload| workload.name()).collect())
    }

    #[test]
    fn workloads_are_chosen_by_name_in_any_case() {
        assert_eq!(names(&[]).expect("all"), ["W1", "W2"]);
        assert_eq!(names(&["w2"]).expect("one"), ["W2"]);
    }

    #[test]
    fn an_unknown_workload_is_told_the_known_ones() {
        let error = names(&["W12"]).expect_err("there is none");
        assert_eq!(error.to_string(), "there is no workload `W12`; the workloads are W1, W2");
    }

    #[test]
    fn a_run_is_measured_from_outside_as_well() {
        let options =
            Options { size: Size::Quick, runs: None, json: None, only: Vec::new(), dir: None };
        let samples = run_once(&Nothing("W1"), &options, Duration::from_micros(100)).expect("runs");
        let metrics: Vec<&str> = samples.iter().map(|sample| sample.metric).collect();
        assert_eq!(metrics, ["size", "cpu", "peak rss", "written", "steal"]);
    }

    #[test]
    fn probes_become_rows_of_the_limits() {
        let probed = Probed::of(&[1, 3, 2].map(Duration::from_millis));
        assert_eq!(probed, Probed { median: 2.0, min: 1.0, max: 3.0 });
        let spent = Meter { cpu: 0.0, steal: 1.0, machine: 50.0, written: 0 };
        let rows =
            limit_rows(&[probed; PROBES_MIN], &spent, Memory { resident: 3 << 20, peak: 3 << 20 });
        let figures: Vec<_> = rows.iter().map(|row| (row.metric, row.median, row.runs)).collect();
        assert_eq!(
            figures,
            [
                ("flush median", 2.0, 5),
                ("flush min", 1.0, 5),
                ("flush max", 3.0, 5),
                ("steal", 2.0, 1),
                ("idle rss", 3.0, 1)
            ]
        );
    }
}
