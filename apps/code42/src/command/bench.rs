//! `code42 bench`: runs in a process of their own, with stand-ins of AWS and Azure in this one.
//!
//! Beside each figure stands what the machine does with the same bytes by itself: one thread that decompresses them.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use bytes::Bytes;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::print;
use crate::stand_in::{Content, StandIn};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// 256 MB instead of 2 GB
    #[arg(long)]
    quick: bool,
    /// Write the figures to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the app's folder is made [default: the folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: io::Error },
    #[error("the app did not answer: {0}")]
    Http(#[from] reqwest::Error),
    #[error("the run came to nothing: {0}")]
    Run(Value),
}

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing, source }
}

/// Objects at a time.
const LANES: usize = 5;
/// Bytes of one gzip member, decompressed.
const MEMBER: usize = 8 << 20;
const MEGABYTE: f64 = 1e6;

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(io_error("starting threads"))?.block_on(measure(args))
}

async fn measure(args: &Args) -> Result<(), Error> {
    let (members, objects) = if args.quick { (32, 20) } else { (256, 100) };
    let above = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let place = Place(above.join(format!("code42-bench-{}", std::process::id())));
    fs::create_dir_all(&place.0).map_err(io_error("making the app's folder"))?;
    let (member, records) = member()?;
    let plain = decompress(&member)?;
    let many = one_run(&place.0, &member, records, vec![1; objects]).await?;
    let large = one_run(&place.0, &member, records, vec![members]).await?;
    let figures = json!({
        "objects_in_parallel": many,
        "one_large_object": large,
        "decompression_alone_mb_per_second": plain,
    });
    for (title, figure) in [("objects, 5 at a time", &many), ("one large object", &large)] {
        let number = |key: &str| figure[key].as_f64().unwrap_or_default();
        print(format!(
            "{title:<22} {:>9.0} records/s {:>6.0} MB/s, {:.0} MB in {:.1} s, peak memory {:.0} MB",
            number("records_per_second"),
            number("mb_per_second"),
            number("mb"),
            number("seconds"),
            number("peak_memory_mb"),
        ));
    }
    print(format!("decompression alone, one thread: {plain:.0} MB/s"));
    if let Some(file) = &args.json {
        fs::write(file, format!("{figures:#}\n")).map_err(io_error("writing the figures"))?;
    }
    Ok(())
}

/// The app's folder; it goes with the value.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed lies among temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A gzip member of events, and how many they are.
fn member() -> Result<(Bytes, u64), Error> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let (mut bytes, mut records) = (0, 0_u64);
    while bytes < MEMBER {
        let odd = records.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let event = json!({
            "@timestamp": "2026-11-21T01:02:03.456Z",
            "event": { "id": format!("0_{odd:016x}-{records}"), "action": "file-created", "observer": "Endpoint" },
            "user": { "email": format!("user{}@example.com", odd % 1000), "id": odd.to_string() },
            "file": {
                "name": format!("report-{:x}.docx", odd >> 32), "directory": "D:/teams/sales/documents/",
                "sizeInBytes": odd % 10_000_000, "hash": { "md5": format!("{odd:032x}"), "sha256": format!("{odd:064x}") },
            },
            "risk": { "score": odd % 10, "indicators": [{ "name": "Remote activity", "weight": 0 }] },
        });
        let line = format!("{event}\n");
        bytes += line.len();
        records += 1;
        encoder.write_all(line.as_bytes()).map_err(io_error("compressing"))?;
    }
    Ok((encoder.finish().map_err(io_error("compressing"))?.into(), records))
}

/// Megabytes a second of one thread that decompresses and does nothing else.
fn decompress(member: &Bytes) -> Result<f64, Error> {
    let began = Instant::now();
    let (mut bytes, mut buffer) = (0, vec![0; 256 << 10]);
    for _ in 0..8 {
        let mut decoder = MultiGzDecoder::new(member.as_ref());
        loop {
            match decoder.read(&mut buffer).map_err(io_error("decompressing"))? {
                0 => break,
                read => bytes += read,
            }
        }
    }
    Ok(as_f64(bytes as u64) / MEGABYTE / began.elapsed().as_secs_f64())
}

/// One run over objects of so many members each.
async fn one_run(
    place: &Path,
    member: &Bytes,
    records: u64,
    objects: Vec<u64>,
) -> Result<Value, Error> {
    let stand_in = StandIn::start().await;
    stand_in.count_only();
    let members: u64 = objects.iter().sum();
    for (number, members) in objects.into_iter().enumerate() {
        let key = format!("logs/{number:04}.json.gz");
        stand_in.put_at("logs", &key, Content::Repeated(member.clone(), members), Timestamp::now());
        stand_in.notify("logs", &key);
    }
    let app = App::start(place, &stand_in)?;
    let began = Instant::now();
    let http = reqwest::Client::new();
    http.post(format!("{}/api/code42/run", app.url)).send().await?.error_for_status()?;
    let instance = format!("{}/runtime/webhooks/durabletask/instances/code42?wait=60s", app.url);
    let output = loop {
        let answer = http.get(&instance).send().await?.bytes().await?;
        let view: Value = serde_json::from_slice(&answer).unwrap_or_default();
        match view["runtimeStatus"].as_str() {
            Some("Pending" | "Running" | "ContinuedAsNew") => {}
            Some("Completed") => break view["output"].clone(),
            _ => return Err(Error::Run(view)),
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    if output["records_sent"] != records * members {
        return Err(Error::Run(output));
    }
    let megabytes = as_f64(members * MEMBER as u64) / MEGABYTE;
    Ok(json!({
        "records": output["records_sent"],
        "mb": megabytes,
        "seconds": seconds,
        "records_per_second": as_f64(records * members) / seconds,
        "mb_per_second": megabytes / seconds,
        "peak_memory_mb": app.peak_memory().map(|bytes| as_f64(bytes) / MEGABYTE),
        "lanes": LANES,
    }))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// The app in a process of its own; it ends with the value.
struct App {
    child: Child,
    url: String,
}

impl App {
    fn start(place: &Path, stand_in: &StandIn) -> Result<Self, Error> {
        let folder = place.join("app");
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).map_err(io_error("making the app's folder"))?;
        let program = std::env::current_exe().map_err(io_error("finding this program"))?;
        let mut child = Command::new(program)
            .args(["--json", "--port", "0", "--script-root"])
            .arg(&folder)
            .env_remove("EVERSTEP_DATA")
            .envs(stand_in.settings())
            .env("C42_SCHEDULE", "0 0 0 1 1 *")
            .env("MAX_EXECUTION_TIME_SECONDS", "3600")
            .env("PARALLEL_S3_OPERATIONS", LANES.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(io_error("starting the app"))?;
        let stdout = child.stdout.take().expect("it is a pipe");
        let mut app = Self { child, url: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(io_error("starting the app"))?;
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        let Some(url) = ready["url"].as_str() else { return Err(Error::Run(ready)) };
        app.url.push_str(url);
        Ok(app)
    }

    /// The most memory that it had, where the system tells.
    fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kilobytes << 10)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
