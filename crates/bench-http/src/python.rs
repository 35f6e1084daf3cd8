//! The host with an app in Python: steps, fan-outs, many orchestrations, long histories, processes.
//!
//! N1  Each measurement is made twice in the same run: with generators that stay between turns, and with the plain replay
//!     of the SDK (`EVERSTEP_PYTHON_RESIDENT=0`), which is what the original's worker does.
//! N2  CPU time of the host and of the app's processes is told apart; a call is one activity with its share of the turns.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::{
    machine,
    measure::{self, Figures},
    servers::{Server, ask, ask_with},
};

const API: &str = "/runtime/webhooks/durabletask";
const APP: &str = include_str!("../python/function_app.py");

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The interpreter of an environment with azure-functions-durable
    #[arg(long, value_name = "FILE")]
    python: PathBuf,
    /// Smaller fan-outs and counts, once
    #[arg(long)]
    quick: bool,
    /// How often; three times if not given, once with --quick
    #[arg(long)]
    runs: Option<usize>,
    /// Writes one JSON object a line as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where stores are made; a folder on a real disk
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// How turns are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replay {
    /// Generators stay between turns.
    Resident,
    /// Each turn runs the code from its beginning.
    Plain,
}

/// How an app is started.
struct Bed<'a> {
    options: &'a Options,
    ground: &'a Path,
    replay: Replay,
    processes: u32,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runs = options.runs.unwrap_or(if options.quick { 1 } else { 3 }).max(1);
    let mut figures = Figures::default();
    for number in 1..=runs {
        for replay in [Replay::Resident, Replay::Plain] {
            eprintln!("python run {number} of {runs}, {replay:?}");
            once(options, replay, &mut figures)?;
        }
    }
    measure::publish("python", &figures, options.json.as_deref())
}

fn once(options: &Options, replay: Replay, figures: &mut Figures) -> anyhow::Result<()> {
    let ground = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let bed = Bed { options, ground: ground.path(), replay, processes: 1 };
    let name = |resident, plain| match replay {
        Replay::Resident => resident,
        Replay::Plain => plain,
    };
    {
        let host = bed.start("steps")?;
        let variant = name("steps 1000", "steps 1000, plain");
        steps(&host, variant, figures)?;
        let variant = name("200 x 5 steps", "200 x 5 steps, plain");
        many(&host, 200, 5, variant, figures)?;
        host.stop()?;
    }
    for processes in [1, 2, 4] {
        let host = Bed { processes, ..bed }.start(&format!("fan-{processes}"))?;
        let variant = match (replay, processes) {
            (Replay::Resident, 1) => "fan-out, 1 process",
            (Replay::Resident, 2) => "fan-out, 2 processes",
            (Replay::Resident, _) => "fan-out, 4 processes",
            (Replay::Plain, 1) => "fan-out, 1 process, plain",
            (Replay::Plain, 2) => "fan-out, 2 processes, plain",
            (Replay::Plain, _) => "fan-out, 4 processes, plain",
        };
        // The first call of a process imports what the SDK puts off.
        completed(&host, "fans", "warm", 100)?;
        fan(&host, 1_000, variant, figures)?;
        if !options.quick || replay == Replay::Resident {
            fan(&host, 10_000, variant, figures)?;
        }
        host.stop()?;
    }
    cold(&bed, name("1000 events, cold", "1000 events, cold, plain"), figures)
}

impl Bed<'_> {
    fn start(&self, data: &str) -> anyhow::Result<Server> {
        let app = self.ground.join("app");
        fs::create_dir_all(&app)?;
        fs::write(app.join("host.json"), r#"{ "version": "2.0" }"#)?;
        fs::write(app.join("function_app.py"), APP)?;
        let resident = if self.replay == Replay::Resident { "1" } else { "0" };
        let python = self.options.python.display().to_string();
        let data = self.ground.join(data);
        Server::python(
            &app,
            &data,
            &[
                ("EVERSTEP_PYTHON_RESIDENT", resident),
                ("FUNCTIONS_WORKER_PROCESS_COUNT", &self.processes.to_string()),
                ("FUNCTIONS_WORKER_RUNTIME", "python"),
                ("languageWorkers__python__defaultExecutablePath", &python),
            ],
        )
    }
}

fn path(name: &str, id: &str) -> String {
    format!("{API}/orchestrators/{name}/{id}")
}

fn begin(host: &Server, name: &str, id: &str, input: u32) -> anyhow::Result<()> {
    ask_with(host.port, "POST", &path(name, id), &input.to_string())?;
    Ok(())
}

/// Waits for the end of an instance.
fn ended(host: &Server, id: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let status = ask(host.port, "GET", &format!("{API}/instances/{id}?wait=60s"))?;
        match status["runtimeStatus"].as_str() {
            Some("Completed") => return Ok(()),
            Some("Running" | "Pending") if began.elapsed() < Duration::from_mins(5) => {}
            _ => bail!("the instance {id} did not complete: {status}"),
        }
    }
}

/// The time of one instance from its start to its end.
fn completed(host: &Server, name: &str, id: &str, input: u32) -> anyhow::Result<Duration> {
    let began = Instant::now();
    begin(host, name, id, input)?;
    ended(host, id)?;
    Ok(began.elapsed())
}

/// CPU seconds of the host and of its children.
fn cpu(host: &Server) -> anyhow::Result<(f64, f64)> {
    let pid = host.pid();
    let mut children = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        for child in text.split_whitespace() {
            children += machine::cpu_seconds(child)?;
        }
    }
    Ok((machine::cpu_seconds(&pid.to_string())?, children))
}

fn steps(host: &Server, variant: &'static str, figures: &mut Figures) -> anyhow::Result<()> {
    const STEPS: usize = 1_000;
    completed(host, "steps", "warm", 100)?;
    let before = cpu(host)?;
    let took = completed(host, "steps", "steps", STEPS as u32)?;
    let after = cpu(host)?;
    let history = ask(host.port, "GET", &format!("{API}/instances/steps/history"))?;
    let at = |event: &Value| event["Timestamp"].as_str()?.parse::<jiff::Timestamp>().ok();
    let ends: Vec<jiff::Timestamp> = history
        .as_array()
        .context("no history")?
        .iter()
        .filter(|event| event["EventType"] == "TaskCompleted")
        .filter_map(at)
        .collect();
    ensure!(ends.len() == STEPS, "{} of {STEPS} steps are in the history", ends.len());
    let per_step =
        |from: usize, to: usize| ends[from].duration_until(ends[to]).as_secs_f64() * 1e3 / 100.0;
    figures.add(variant, "first 100", "ms", per_step(0, 100));
    figures.add(variant, "last 100", "ms", per_step(STEPS - 101, STEPS - 1));
    figures.add(variant, "all", "s", took.as_secs_f64());
    each(variant, before, after, STEPS as f64, figures);
    Ok(())
}

fn each(
    variant: &'static str,
    before: (f64, f64),
    after: (f64, f64),
    calls: f64,
    figures: &mut Figures,
) {
    figures.add(variant, "host cpu a call", "us", 1e6 * (after.0 - before.0) / calls);
    figures.add(variant, "worker cpu a call", "us", 1e6 * (after.1 - before.1) / calls);
}

fn many(
    host: &Server,
    count: u32,
    steps: u32,
    variant: &'static str,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let began = Instant::now();
    for number in 0..count {
        begin(host, "steps", &format!("many-{number}"), steps)?;
    }
    for number in 0..count {
        ended(host, &format!("many-{number}"))?;
    }
    let took = began.elapsed().as_secs_f64();
    figures.add(variant, "all", "s", took);
    figures.add(variant, "steps", "1/s", f64::from(count * steps) / took);
    Ok(())
}

fn fan(
    host: &Server,
    count: u32,
    variant: &'static str,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let before = cpu(host)?;
    let took = completed(host, "fans", &format!("fan-{count}"), count)?.as_secs_f64();
    let after = cpu(host)?;
    if count == 1_000 {
        figures.add(variant, "1000", "s", took);
        return Ok(());
    }
    figures.add(variant, "10000", "s", took);
    figures.add(variant, "calls", "1/s", f64::from(count) / took);
    each(variant, before, after, f64::from(count), figures);
    Ok(())
}

/// Histories of about a thousand events that no process knows: each instance goes on after a replay.
fn cold(bed: &Bed<'_>, variant: &'static str, figures: &mut Figures) -> anyhow::Result<()> {
    const INSTANCES: u32 = 20;
    // A step is four events: the call, its answer, and the two ends of its turn.
    const STEPS: u32 = 250;
    let bed = Bed { processes: 2, ..*bed };
    let host = bed.start("cold")?;
    for number in 0..INSTANCES {
        begin(&host, "waits", &format!("cold-{number}"), STEPS)?;
    }
    for number in 0..INSTANCES {
        let id = format!("cold-{number}");
        let path = format!("{API}/instances/{id}/history");
        while ask(host.port, "GET", &path)?.as_array().map_or(0, Vec::len) < 4 * STEPS as usize {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    host.stop()?;
    let host = bed.start("cold")?;
    // All processes are there when a call has gone through.
    completed(&host, "steps", "warm", 1)?;
    let before = cpu(&host)?;
    let began = Instant::now();
    for number in 0..INSTANCES {
        ask(host.port, "POST", &format!("{API}/instances/cold-{number}/raiseEvent/Go"))?;
    }
    for number in 0..INSTANCES {
        ended(&host, &format!("cold-{number}"))?;
    }
    let took = began.elapsed().as_secs_f64();
    let after = cpu(&host)?;
    figures.add(variant, "each", "ms", took * 1e3 / f64::from(INSTANCES));
    each(variant, before, after, f64::from(INSTANCES), figures);
    host.stop()
}
