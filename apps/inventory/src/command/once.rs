//! `inventory scan`: a host that runs one scan to its end and stops.
//!
//! C1  The scan is a durable one. The same command finds it again after it was stopped or killed, and goes on.
//! C2  Data goes to standard output, the bar to the terminal, if there is one.

use std::{
    fmt::Write as _,
    io::IsTerminal as _,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use everstep::{
    BoxError, Client, Failure, Guid, InstanceId, StartOptions, TypedClient as _, Value as Payload,
};
use everstep_host::{OfflineOptions, StartArgs, Timer, TimerCall};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{FILE, Hub, complain, print};
use crate::{
    request::{Credential, Scan},
    run,
    settings::{Hashing, LOCAL, Settings},
    spool::report,
    work::Inventory,
};

/// How often the bar is drawn.
const DRAWN: Duration = Duration::from_millis(200);
/// Errors that are shown.
const ERRORS: usize = 10;
/// What one may want to do with what was found.
const NEXT: &str = "
ask:    inventory query 'FileInventory_CL | summarize count() by FileCategory'
charts: inventory report > report.html";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Folders; each is a share under its name
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Compute the MD5 of files
    #[arg(long)]
    hash: bool,
    /// Larger files are not hashed [default: 100]
    #[arg(long, value_name = "MB")]
    hash_limit: Option<f64>,
    /// Leave out files whose name matches
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hub: Hub,
}

/// What one scan came to.
struct Outcome {
    result: Result<Value, String>,
    seconds: f64,
}

type Kept = Arc<Mutex<Option<Outcome>>>;

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    for folder in &args.folders {
        if !folder.is_dir() {
            return complain(&format!("there is no folder {}", folder.display()));
        }
    }
    let start = StartArgs {
        script_root: args.hub.script_root.clone(),
        data: args.hub.data.clone(),
        port: Some(0),
        quiet: true,
        ..StartArgs::default()
    };
    let folder = match everstep_host::hub_folder(&OfflineOptions::from(&start)) {
        Ok(folder) => folder,
        Err(error) => return complain(&error),
    };
    let kept = Kept::default();
    let (asked, keep) = (args.clone(), Arc::clone(&kept));
    let ended = everstep_host::run(&start, |services| {
        let inventory = crate::inventory(services, folder.join(FILE))?;
        if inventory.ingestion.is_some() {
            // Rows that stay here are what everyone expects of this command.
            tracing::info!(target: crate::LOG, "{}", inventory.settings.notice());
        }
        let app = crate::functions(&inventory);
        // The host is ready when it runs what is to run at its start.
        let timer = Timer::new("0 0 0 1 1 *").run_on_startup().unmonitored();
        Ok::<_, BoxError>(app.timer("scan_once", timer, move |call: TimerCall| {
            let fresh = call.invocation_id();
            let scanning = scan(call.client(), Arc::clone(&inventory), asked.clone(), fresh);
            let keep = Arc::clone(&keep);
            async move {
                // Not in the function itself, whose time is limited.
                tokio::spawn(async move {
                    let outcome = scanning.await;
                    *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                    stop();
                });
                Ok::<_, Failure>(())
            }
        }))
    });
    let outcome = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    match outcome {
        None => ended,
        Some(outcome) => tell(args, &outcome),
    }
}

/// Asks this process to stop, as whoever started it would.
#[cfg(unix)]
fn stop() {
    use rustix::process::{Signal, getpid, kill_process};
    // A process may always signal itself.
    let _ = kill_process(getpid(), Signal::TERM);
}

/// Ends this process: what was acknowledged is on disk.
#[cfg(not(unix))]
fn stop() {
    std::process::exit(0);
}

async fn scan(client: Client, inventory: Arc<Inventory>, args: Args, fresh: Guid) -> Outcome {
    let began = Instant::now();
    let result = async {
        let wanted = wanted(&args, &inventory.settings)?;
        let id = start_or_find(&client, &inventory, wanted, fresh).await?;
        watch(&client, &inventory, &id).await
    };
    let result = result.await.map_err(|failure| failure.message);
    Outcome { result, seconds: began.elapsed().as_secs_f64() }
}

fn wanted(args: &Args, settings: &Settings) -> Result<Scan, Failure> {
    let local_paths = args
        .folders
        .iter()
        .map(|folder| folder.canonicalize().map(|path| path.to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()
        .map_err(everstep::failure)?;
    let exclude = settings.exclude.iter().chain(&args.exclude).cloned();
    Ok(Scan {
        execution_id: String::new(),
        storage_account_name: LOCAL.to_owned(),
        credential: Credential::None,
        subscription_id: String::new(),
        resource_group: String::new(),
        file_share_names: Vec::new(),
        local_paths,
        skip_hash_computation: !args.hash && settings.hashing == Hashing::Off,
        batch_size: settings.batch_size,
        max_file_size_for_hash_mb: args.hash_limit.unwrap_or(settings.hash_mb_max),
        exclude_patterns: exclude.collect(),
    })
}

/// The scan that an earlier command left behind, or a new one.
async fn start_or_find(
    client: &Client,
    inventory: &Inventory,
    mut scan: Scan,
    fresh: Guid,
) -> Result<InstanceId, Failure> {
    let wanted = scan.clone();
    let found = inventory
        .spool
        .read(move |db| {
            report::find_running(db, LOCAL, |options| {
                let other: Option<Scan> = serde_json::from_str(options).ok();
                other.is_some_and(|other| Scan { execution_id: String::new(), ..other } == wanted)
            })
        })
        .await?;
    if let Some((_, instance)) = found {
        let id = InstanceId::orchestration(&instance).map_err(everstep::failure)?;
        if client.get(&id).await.is_ok_and(|view| !view.status.is_terminal()) {
            return Ok(id);
        }
    }
    scan.execution_id = fresh.to_string();
    let id = InstanceId::orchestration(&scan.execution_id).map_err(everstep::failure)?;
    let options = StartOptions { id: Some(id.clone()), ..StartOptions::default() };
    client.run(run::MAIN, scan, options).await.map_err(everstep::failure)?;
    Ok(id)
}

/// Waits for the end and draws how far it is.
async fn watch(client: &Client, inventory: &Inventory, id: &InstanceId) -> Result<Value, Failure> {
    let bar = bar();
    let began = Instant::now();
    let view = loop {
        match client.wait_for(id, DRAWN).await {
            Ok(view) => break view,
            Err(everstep::ClientError::Timeout { .. }) => {}
            Err(error) => return Err(everstep::failure(error)),
        }
        if let Some(bar) = &bar {
            draw(bar, inventory, id, began).await;
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    match view.failure {
        Some(failure) => Err(failure),
        None => Ok(value(view.output.as_ref())),
    }
}

fn bar() -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar
    })
}

async fn draw(bar: &ProgressBar, inventory: &Inventory, id: &InstanceId, began: Instant) {
    let execution = id.as_str().to_owned();
    let found = inventory.spool.read(move |db| report::progress(db, Some(&execution))).await;
    let Ok(Some(scan)) = found else { return };
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a speed that is shown needs three digits"
    )]
    let speed = (scan.files as f64 / began.elapsed().as_secs_f64().max(0.001)) as u64;
    bar.set_message(format!(
        "{} files, {}, {} directories ({} wait), {} files/s, {} errors",
        HumanCount(scan.files),
        HumanBytes(scan.bytes),
        HumanCount(scan.directories),
        HumanCount(scan.directories_queued),
        HumanCount(speed),
        HumanCount(scan.errors),
    ));
    bar.tick();
}

fn value(stored: Option<&Payload>) -> Value {
    let bytes = stored.and_then(Payload::inline).map_or(&b""[..], |bytes| bytes);
    serde_json::from_slice(bytes).unwrap_or(Value::Null)
}

fn tell(args: &Args, outcome: &Outcome) -> ExitCode {
    let result = match &outcome.result {
        Err(message) => return complain(message),
        Ok(result) => result,
    };
    if args.json {
        let mut result = result.clone();
        result["seconds"] = json!(outcome.seconds);
        result["peak_memory_bytes"] = json!(peak_memory());
        print(result);
    } else {
        print(summary(result, outcome.seconds));
    }
    if result["status"] == "completed" { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

fn summary(result: &Value, seconds: f64) -> String {
    let number = |key: &str| result[key].as_u64().unwrap_or_default();
    let shares = result["share_results"].as_array().into_iter().flatten();
    let directories: u64 =
        shares.clone().filter_map(|share| share["directories_processed"].as_u64()).sum();
    let mut text = format!(
        "{}: {} files, {}, {} directories in {seconds:.1} s\nexecution {}",
        result["status"].as_str().unwrap_or("ended").replace('_', " "),
        HumanCount(number("total_files_processed")),
        HumanBytes(number("total_bytes_processed")),
        HumanCount(directories),
        result["execution_id"].as_str().unwrap_or_default(),
    );
    let errors: Vec<&str> = shares
        .flat_map(|share| {
            let listed = share["errors"].as_array().into_iter().flatten();
            share["error"].as_str().into_iter().chain(listed.filter_map(Value::as_str))
        })
        .collect();
    for error in errors.iter().take(ERRORS) {
        text.push_str("\n  ");
        text.push_str(error);
    }
    let left = number("total_errors").saturating_sub(errors.len().min(ERRORS) as u64);
    if left > 0 {
        write!(text, "\n  and {left} errors more").expect("a text takes what is written to it");
    }
    text.push_str(NEXT);
    text
}

/// The most memory that this process has had, as far as the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
