//! The measurements and their table.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    load::{Heard, Load},
    machine,
    servers::{Generator, Server, ask},
};

const API: &str = "/runtime/webhooks/durabletask";
const CONNECTIONS: usize = 64;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Sizes that take about half a minute in all
    #[arg(long)]
    quick: bool,
    /// How often; five times if not given, once with --quick
    #[arg(long)]
    runs: Option<usize>,
    /// Writes one JSON object a line as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where stores are made; a folder on a real disk
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// One figure of one run.
struct Figure {
    variant: &'static str,
    metric: &'static str,
    unit: &'static str,
    value: f64,
}

#[derive(Default)]
pub(crate) struct Figures(Vec<Figure>);

impl Figures {
    pub(crate) fn add(
        &mut self,
        variant: &'static str,
        metric: &'static str,
        unit: &'static str,
        value: f64,
    ) {
        self.0.push(Figure { variant, metric, unit, value });
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runs = options.runs.unwrap_or(if options.quick { 1 } else { 5 }).max(1);
    let mut figures = Figures::default();
    for number in 1..=runs {
        eprintln!("http run {number} of {runs}");
        once(options, &mut figures)?;
    }
    publish("http", &figures, options.json.as_deref())
}

/// Prints the table, and writes the file that was asked for.
pub(crate) fn publish(
    workload: &'static str,
    figures: &Figures,
    json: Option<&Path>,
) -> anyhow::Result<()> {
    let rows = rows(workload, figures);
    let mut out = std::io::stdout().lock();
    out.write_all(table(&rows).as_bytes())?;
    if let Some(path) = json {
        let lines: Vec<_> = rows.iter().map(ToString::to_string).collect();
        fs::write(path, lines.join("\n") + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn once(options: &Options, figures: &mut Figures) -> anyhow::Result<()> {
    let ground = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let app = ground.path().join("app");
    fs::create_dir(&app)?;
    fs::write(app.join("host.json"), r#"{ "version": "2.0" }"#)?;
    fs::write(app.join("local.settings.json"), r#"{ "IsEncrypted": false, "Values": {} }"#)?;

    let flush = machine::flush(ground.path())?;
    figures.add("machine", "flush", "ms", flush.as_secs_f64() * 1e3);
    let bare = Server::bare()?;
    let host = Server::host(&app, &ground.path().join("data"))?;
    figures.add("empty", "ready", "ms", host.ready.as_secs_f64() * 1e3);
    figures.add("empty", "idle rss", "MiB", machine::resident(host.pid())?);

    let milliseconds = if options.quick { 2_000 } else { 10_000 };
    starts(milliseconds, &bare, &host, figures)?;
    statuses(milliseconds, &bare, &host, figures)?;
    overload(milliseconds, &host, figures)?;
    long_waits(if options.quick { 2_000 } else { 10_000 }, &host, figures)?;
    host.stop()
}

fn start_load(port: u16, prefix: &str, connections: usize, milliseconds: u64) -> Load {
    Load {
        port,
        method: "POST".to_owned(),
        path: format!("{API}/orchestrators/finishes/{prefix}-{{n}}"),
        body: "1".to_owned(),
        connections,
        milliseconds,
        once: false,
    }
}

/// A load, with the CPU time that the server spent on it.
fn under(load: &Load, server: &Server) -> anyhow::Result<(Heard, f64)> {
    let pid = server.pid().to_string();
    let before = machine::cpu_seconds(&pid)?;
    let heard = Generator::start(load)?.heard()?;
    Ok((heard, machine::cpu_seconds(&pid)? - before))
}

/// The bare server's rate: the mean of what it does before and after.
fn beside<T>(
    load: &Load,
    bare: &Server,
    measure: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(f64, T)> {
    let load = Load { port: bare.port, milliseconds: load.milliseconds / 2, ..load.clone() };
    let before = under(&load, bare)?.0.rate();
    let measured = measure()?;
    let after = under(&load, bare)?.0.rate();
    Ok((f64::midpoint(before, after), measured))
}

fn starts(
    milliseconds: u64,
    bare: &Server,
    host: &Server,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let load = start_load(host.port, "bench", CONNECTIONS, milliseconds);
    let (rate, (heard, cpu)) = beside(&load, bare, || under(&load, host))?;
    ensure!(heard.others() == 0, "unexpected answers to starts: {:?}", heard.statuses);
    all_completed(host, heard.succeeded())?;
    report("durable start", rate, &heard, cpu, figures);
    figures.add("durable start", "verified completed", "", heard.succeeded() as f64);
    Ok(())
}

/// Waits until all that was acknowledged has completed; the count is exact.
fn all_completed(host: &Server, wanted: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let counts = ask(host.port, "GET", &format!("{API}/instances/counts"))?;
        let completed: u64 = counts["counts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|count| count["runtimeStatus"] == "Completed")
            .filter_map(|count| count["count"].as_u64())
            .sum();
        if completed >= wanted {
            return Ok(());
        }
        ensure!(
            began.elapsed().as_secs() < 60,
            "{wanted} starts were acknowledged and {completed} instances completed"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn statuses(
    milliseconds: u64,
    bare: &Server,
    host: &Server,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let load = Load {
        method: "GET".to_owned(),
        path: format!("{API}/instances/bench-0-0"),
        body: String::new(),
        ..start_load(host.port, "", CONNECTIONS, milliseconds)
    };
    let (rate, (heard, cpu)) = beside(&load, bare, || under(&load, host))?;
    ensure!(heard.others() == 0, "unexpected answers to status: {:?}", heard.statuses);
    report("status", rate, &heard, cpu, figures);
    Ok(())
}

fn report(variant: &'static str, bare: f64, heard: &Heard, cpu: f64, figures: &mut Figures) {
    figures.add(variant, "bare server", "1/s", bare);
    figures.add(variant, "rate", "1/s", heard.rate());
    figures.add(variant, "of the bare server", "%", 100.0 * heard.rate() / bare);
    figures.add(variant, "p50", "ms", heard.p50 as f64 / 1e3);
    figures.add(variant, "p99", "ms", heard.p99 as f64 / 1e3);
    figures.add(variant, "server cpu", "us", 1e6 * cpu / heard.succeeded().max(1) as f64);
    figures.add(variant, "load cpu", "us", 1e6 * heard.cpu / heard.succeeded().max(1) as f64);
}

/// Far more connections than are good: refusals are fine, anything else is not.
fn overload(milliseconds: u64, host: &Server, figures: &mut Figures) -> anyhow::Result<()> {
    let load = start_load(host.port, "over", 2_000, milliseconds);
    let (heard, _) = under(&load, host)?;
    ensure!(heard.others() == 0, "unexpected answers under overload: {:?}", heard.statuses);
    figures.add("overload", "rate", "1/s", heard.rate());
    figures.add("overload", "refused", "", heard.refused() as f64);
    figures.add("overload", "p99", "ms", heard.p99 as f64 / 1e3);
    figures.add("overload", "rss", "MiB", machine::resident(host.pid())?);
    Ok(())
}

/// Many requests that wait for the end of one instance.
fn long_waits(count: usize, host: &Server, figures: &mut Figures) -> anyhow::Result<()> {
    ask(host.port, "POST", &format!("{API}/orchestrators/waits/gate"))?;
    let before = machine::resident(host.pid())?;
    let load = Load {
        method: "GET".to_owned(),
        path: format!("{API}/instances/gate?wait=120s"),
        body: String::new(),
        once: true,
        ..start_load(host.port, "", count, 0)
    };
    let waiting = Generator::start(&load)?;
    // Each connection holds a descriptor of the server: when all are there, all wait.
    let began = Instant::now();
    let sockets = format!("/proc/{}/fd", host.pid());
    while fs::read_dir(&sockets)?.count() < count {
        ensure!(began.elapsed().as_secs() < 60, "not all connections were made");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    figures.add(
        "long wait",
        "rss each",
        "KiB",
        (machine::resident(host.pid())? - before) * 1024.0 / count as f64,
    );
    let raised = Instant::now();
    ask(host.port, "POST", &format!("{API}/instances/gate/raiseEvent/Go"))?;
    let heard = waiting.heard()?;
    ensure!(heard.succeeded() == count as u64, "answers to long waits: {:?}", heard.statuses);
    figures.add("long wait", "answer all", "ms", raised.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

fn rows(workload: &'static str, figures: &Figures) -> Vec<Value> {
    let mut rows: Vec<(&Figure, Vec<f64>)> = Vec::new();
    for figure in &figures.0 {
        let same = |row: &&mut (&Figure, Vec<f64>)| {
            row.0.variant == figure.variant && row.0.metric == figure.metric
        };
        match rows.iter_mut().find(same) {
            Some((_, values)) => values.push(figure.value),
            None => rows.push((figure, vec![figure.value])),
        }
    }
    rows.into_iter()
        .map(|(figure, mut values)| {
            values.sort_by(f64::total_cmp);
            json!({
                "workload": workload,
                "variant": figure.variant,
                "metric": figure.metric,
                "unit": figure.unit,
                "median": values[values.len() / 2],
                "min": values[0],
                "max": values[values.len() - 1],
                "runs": values.len(),
            })
        })
        .collect()
}

fn table(rows: &[Value]) -> String {
    let mut text = String::new();
    for row in rows {
        let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| row[name].as_f64().unwrap_or_default();
        writeln!(
            text,
            "{:<27} {:<20} {:>12.2} {:<4} ({:.2} to {:.2})",
            word("variant"),
            word("metric"),
            number("median"),
            word("unit"),
            number("min"),
            number("max"),
        )
        .expect("a text takes what is written to it");
    }
    text
}
