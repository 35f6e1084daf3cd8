//! The orchestrations: a scan, a share, a repair.
//!
//! O1  Histories hold counters, names of shares and numbers of directories. Rows, the queue of directories and markers
//!     stand in the spool; a share asks it what comes next.
//! O2  A share goes on with an empty history after [`WAVES`] waves at the latest, so its history has no more than some
//!     [`EVENTS`] events.
//! O3  No plain success if anything was skipped or failed: the status says so, and counts say how much.
//! O4  A share that fails takes nothing from the others.

use std::time::Duration;

use everstep::{Activity, ActivityHandle, Context, Failure, Orchestrator, RetryPolicy, kinds};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    record::gigabytes,
    request::Scan,
    source::{LANES, SHARE_LOST},
    spool::queue::{Lane, Plan, Totals},
};

pub(crate) const MAIN: Orchestrator<Scan, Value> = Orchestrator::new("orchestrator_main");
pub(crate) const FILE_SHARE: Orchestrator<ShareRun, Value> =
    Orchestrator::new("orchestrator_file_share");
pub(crate) const REPAIR: Orchestrator<Repair, Value> = Orchestrator::new("orchestrator_repair");

pub(crate) const LIST_SHARES: Activity<Scan, Vec<String>> =
    Activity::new("activity_list_file_shares");
pub(crate) const OPEN_SHARE: Activity<OpenShare, i64> = Activity::new("activity_open_share");
pub(crate) const PLAN_WAVE: Activity<i64, Plan> = Activity::new("activity_plan_wave");
pub(crate) const SCAN_DIRECTORY: Activity<Part, Scanned> = Activity::new("activity_scan_directory");
pub(crate) const GIVE_UP: Activity<GiveUp, ()> = Activity::new("activity_give_up_directories");
pub(crate) const SEND: Activity<Sending, Sent> = Activity::new("activity_send_to_log_analytics");
pub(crate) const CLOSE_SHARE: Activity<CloseShare, ShareEnd> =
    Activity::new("activity_close_share");
pub(crate) const CLOSE_SCAN: Activity<CloseScan, ()> = Activity::new("activity_close_scan");
pub(crate) const REOPEN: Activity<String, Vec<i64>> = Activity::new("activity_reopen_batches");

/// Waves of one history.
const WAVES: u32 = 50;
/// Events of one history, about.
const EVENTS: usize = 2000;
/// Events of a wave beside those of its directories.
const EVENTS_OF_WAVE: usize = 8;
/// Pages that a large directory gives in one wave.
const PAGES: usize = 10;
/// Events of a page.
const EVENTS_OF_PAGE: usize = 2;
/// Events of a directory that is tried for the last time.
const EVENTS_OF_FAILURE: usize = 20;

/// Calls of an activity during which this process is killed again and again.
const CALLS: u32 = 5;

/// What a share's orchestration starts and goes on with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShareRun {
    pub(crate) scan: Scan,
    pub(crate) share: String,
    /// The scan that it belongs to.
    pub(crate) instance: String,
    /// The share's number in the spool, once it has one.
    pub(crate) id: Option<i64>,
    pub(crate) waves: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OpenShare {
    pub(crate) scan: Scan,
    pub(crate) share: String,
    pub(crate) instance: String,
}

/// Directories of a share.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) share: i64,
    pub(crate) lane: Lane,
}

/// What one page of each directory of a part has left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scanned {
    pub(crate) has_more: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GiveUp {
    pub(crate) part: Part,
    pub(crate) cause: String,
}

/// A share whose rows are to be sent.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sending {
    pub(crate) share: i64,
    /// No more rows will come.
    pub(crate) rest: bool,
}

/// What sending came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) success: bool,
    #[serde(rename = "records_sent")]
    pub(crate) records: u64,
    pub(crate) message: String,
    /// The time of one activity was over before the rows.
    pub(crate) has_more: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CloseShare {
    pub(crate) share: i64,
    /// Why it could not go on.
    pub(crate) lost: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CloseScan {
    pub(crate) scan: Scan,
    pub(crate) status: End,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Repair {
    pub(crate) execution_id: String,
}

/// What a share came to, as the spool has it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ShareEnd {
    pub(crate) totals: Totals,
    pub(crate) errors: Vec<String>,
    pub(crate) batches_sent: u64,
    pub(crate) batches_failed: u64,
    pub(crate) records_failed: u64,
}

/// How a share or a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    Completed,
    CompletedWithErrors,
    Failed,
}

impl End {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::CompletedWithErrors => "completed_with_errors",
            Self::Failed => "failed",
        }
    }
}

impl ShareEnd {
    pub(crate) fn end(&self, lost: Option<&str>) -> End {
        let has_trouble = self.totals.errors > 0 || self.batches_failed > 0;
        match lost {
            Some(_) => End::Failed,
            None if has_trouble => End::CompletedWithErrors,
            None => End::Completed,
        }
    }
}

pub(crate) async fn main(ctx: Context, scan: Scan) -> Result<Value, Failure> {
    let account = scan.storage_account_name.clone();
    let started = time(&ctx);
    let begun = json!({ "phase": "Initializing", "storageAccount": account, "startTime": started });
    ctx.set_custom_status(&begun);
    if scan.file_share_names.is_empty() {
        ctx.set_custom_status(&json!({ "phase": "Discovering file shares" }));
    }
    let shares = ask(&ctx, LIST_SHARES, scan.clone()).await?;
    if shares.is_empty() {
        let ended = CloseScan { scan: scan.clone(), status: End::Completed };
        ask(&ctx, CLOSE_SCAN, ended).await?;
        return Ok(json!({
            "status": "completed",
            "message": "No file shares found to scan",
            "execution_id": scan.execution_id,
            "total_shares": 0,
        }));
    }
    ctx.set_custom_status(&scanning(&shares));
    let instance = ctx.instance_id().as_str().to_owned();
    let run = |share: &String| ShareRun {
        scan: scan.clone(),
        share: share.clone(),
        instance: instance.clone(),
        id: None,
        waves: 0,
    };
    let runs = shares.iter().map(|share| ctx.child(FILE_SHARE, run(share))).collect();
    let ended: Vec<Result<Value, Failure>> = everstep::join_all(runs).await;
    ctx.set_custom_status(&json!({ "phase": "Aggregating results" }));
    let results = shares.iter().zip(ended).map(|(share, ended)| {
        ended.unwrap_or_else(|failure| failed_share(share, &failure.message))
    });
    let (end, output) = summary(&scan, results.collect());
    ask(&ctx, CLOSE_SCAN, CloseScan { scan, status: end }).await?;
    Ok(finished(&ctx, output))
}

/// The names only as far as a status has room for them.
fn scanning(shares: &[String]) -> Value {
    const NAMES_BYTES: usize = 6000;
    let mut bytes = 0;
    let shown: Vec<&String> = shares
        .iter()
        .take_while(|share| {
            bytes += share.encode_utf16().count();
            bytes < NAMES_BYTES
        })
        .collect();
    json!({ "phase": "Scanning file shares", "totalShares": shares.len(), "shares": shown })
}

fn finished(ctx: &Context, mut output: Value) -> Value {
    output["completed_at"] = json!(time(ctx));
    let mut status = json!({ "phase": "Completed" });
    for (key, value) in output.as_object().into_iter().flatten() {
        if key != "share_results" {
            status[key] = value.clone();
        }
    }
    ctx.set_custom_status(&status);
    output
}

fn summary(scan: &Scan, results: Vec<Value>) -> (End, Value) {
    let sum = |key: &str| results.iter().filter_map(|result| result[key].as_u64()).sum::<u64>();
    let count = |end: End| results.iter().filter(|result| result["status"] == end.name()).count();
    let failed = count(End::Failed);
    let end = match count(End::Completed) {
        completed if completed == results.len() => End::Completed,
        _ if failed == results.len() => End::Failed,
        _ => End::CompletedWithErrors,
    };
    let mut output = json!({
        "status": end.name(),
        "execution_id": scan.execution_id,
        "storage_account": scan.storage_account_name,
        "total_shares_scanned": results.len() - failed,
        "total_files_processed": sum("files_processed"),
        "total_bytes_processed": sum("bytes_processed"),
        "total_gb_processed": gigabytes(sum("bytes_processed")),
        "total_batches_sent": sum("batches_sent"),
        "total_errors": sum("error_count"),
    });
    let more = [
        ("total_shares_failed", failed as u64),
        ("total_batches_failed", sum("batches_failed")),
        ("total_records_failed", sum("records_failed")),
        ("total_entries_skipped", sum("entries_skipped")),
    ];
    for (key, number) in more.into_iter().filter(|(_, number)| *number > 0) {
        output[key] = json!(number);
    }
    output["share_results"] = Value::Array(results);
    (end, output)
}

fn failed_share(share: &str, cause: &str) -> Value {
    json!({ "file_share": share, "status": "failed", "error": cause, "error_count": 1 })
}

pub(crate) async fn file_share(ctx: Context, mut run: ShareRun) -> Result<Value, Failure> {
    let id = match run.id {
        Some(id) => id,
        None => {
            ctx.set_custom_status(&json!({ "phase": "Starting", "fileShare": run.share }));
            let ShareRun { scan, share, instance, .. } = run.clone();
            let open = OpenShare { scan, share, instance };
            ask(&ctx, OPEN_SHARE, open).await?
        }
    };
    run.id = Some(id);
    let (mut waves, mut events) = (0, 0);
    let lost = loop {
        if waves == WAVES || events + LANES * PAGES * EVENTS_OF_PAGE + EVENTS_OF_WAVE > EVENTS {
            return ctx.continue_as_new(run).await;
        }
        let plan = ask(&ctx, PLAN_WAVE, id).await?;
        if plan.lanes.is_empty() {
            break None;
        }
        (run.waves, waves) = (run.waves + 1, waves + 1);
        ctx.set_custom_status(&wave(&run, &plan));
        let parts = plan.lanes.iter().map(|lane| scan_part(&ctx, Part { share: id, lane: *lane }));
        // What earlier waves found is sent while this one looks for more.
        let sending = send(&ctx, plan.sends.then_some(Sending { share: id, rest: false }));
        let (ended, ()) = everstep::join((everstep::join_all(parts.collect()), sending)).await;
        events += EVENTS_OF_WAVE + ended.iter().flatten().sum::<usize>();
        let lost =
            ended.into_iter().filter_map(Result::err).find(|failure| failure.kind == SHARE_LOST);
        if let Some(lost) = lost {
            break Some(lost.message);
        }
    };
    send_rest(&ctx, id).await;
    let close = CloseShare { share: id, lost: lost.clone() };
    let end = ask(&ctx, CLOSE_SHARE, close).await?;
    Ok(share_result(&ctx, &run, &end, lost.as_deref()))
}

fn wave(run: &ShareRun, plan: &Plan) -> Value {
    json!({
        "phase": format!("Wave {}", run.waves),
        "fileShare": run.share,
        "directoriesInWave": plan.directories,
        "directoriesQueued": plan.totals.queued.saturating_sub(plan.directories),
        "filesProcessed": plan.totals.files,
        "bytesProcessed": plan.totals.bytes,
    })
}

/// Takes a part of the queue; gives the events that this took, about. An error that does not go away gives the part up; only
/// a lost share is passed on.
async fn scan_part(ctx: &Context, part: Part) -> Result<usize, Failure> {
    let mut events = 0;
    for _ in 0..PAGES {
        events += EVENTS_OF_PAGE;
        match ask(ctx, SCAN_DIRECTORY, part).await {
            Ok(Scanned { has_more: true }) => {}
            Ok(Scanned { has_more: false }) => break,
            Err(failure) if failure.kind == SHARE_LOST => return Err(failure),
            Err(failure) => {
                ask(ctx, GIVE_UP, GiveUp { part, cause: failure.message }).await?;
                return Ok(events + EVENTS_OF_FAILURE);
            }
        }
    }
    Ok(events)
}

/// Sends what makes full batches. What fails stays in the spool and is counted at the end.
async fn send(ctx: &Context, sending: Option<Sending>) {
    if let Some(sending) = sending {
        drop(ctx.call(SEND, sending).await);
    }
}

/// Sends everything that is left.
async fn send_rest(ctx: &Context, share: i64) {
    loop {
        match ask(ctx, SEND, Sending { share, rest: true }).await {
            Ok(sent) if sent.has_more => {}
            Ok(_) | Err(_) => return,
        }
    }
}

fn share_result(ctx: &Context, run: &ShareRun, end: &ShareEnd, lost: Option<&str>) -> Value {
    let Totals { files, bytes, directories, errors, skipped, .. } = end.totals;
    let mut result = json!({
        "file_share": run.share,
        "status": end.end(lost).name(),
        "files_processed": files,
        "bytes_processed": bytes,
        "gb_processed": gigabytes(bytes),
        "directories_processed": directories,
        "batches_sent": end.batches_sent,
        "waves_completed": run.waves,
        "errors": end.errors,
        "error_count": errors + u64::from(lost.is_some()),
        "completed_at": time(ctx),
    });
    if let Some(lost) = lost {
        result["error"] = json!(lost);
    }
    if end.batches_failed > 0 {
        result["batches_failed"] = json!(end.batches_failed);
        result["records_failed"] = json!(end.records_failed);
    }
    if skipped > 0 {
        result["entries_skipped"] = json!(skipped);
    }
    result
}

/// Sends what a scan left behind.
pub(crate) async fn repair(ctx: Context, repair: Repair) -> Result<Value, Failure> {
    let shares = ask(&ctx, REOPEN, repair.execution_id.clone()).await?;
    let (mut sent, mut failed, mut records) = (0, 0, 0);
    for share in shares {
        loop {
            let done = ask(&ctx, SEND, Sending { share, rest: true }).await?;
            records += done.records;
            if !done.has_more {
                break;
            }
        }
        let end = ask(&ctx, CLOSE_SHARE, CloseShare { share, lost: None }).await?;
        sent += end.batches_sent;
        failed += end.batches_failed;
    }
    let status = if failed == 0 { End::Completed } else { End::CompletedWithErrors };
    Ok(json!({
        "status": status.name(),
        "execution_id": repair.execution_id,
        "records_sent": records,
        "batches_sent": sent,
        "batches_failed": failed,
        "completed_at": time(&ctx),
    }))
}

fn time(ctx: &Context) -> String {
    crate::moment::iso(ctx.now().millis())
}

/// Calls an activity until it has worked, or is given up. Kills of this process from outside count as if the activity had
/// caused them; none of these activities does, so it is called anew.
async fn ask<A>(ctx: &Context, activity: A, input: A::Input) -> Result<A::Output, Failure>
where
    A: ActivityHandle + Copy,
    A::Input: Clone,
{
    for _ in 1..CALLS {
        match ctx.call(activity, input.clone()).retry(patient()).await {
            Err(failure) if failure.kind == kinds::POISON => {}
            ended => return ended,
        }
    }
    ctx.call(activity, input).retry(patient()).await
}

/// For what may work again in a minute.
fn patient() -> RetryPolicy {
    RetryPolicy {
        max_interval: Some(Duration::from_mins(1)),
        ..RetryPolicy::exponential(Duration::from_secs(2), 5)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use everstep::{
        App,
        testing::{self, Options, TestHub},
    };

    use super::*;
    use crate::request::Credential;

    fn app() -> App {
        App::new("1")
            .orchestrator(MAIN, main)
            .orchestrator(FILE_SHARE, file_share)
            .orchestrator(REPAIR, repair)
    }

    fn scan(shares: &[&str]) -> Scan {
        Scan {
            execution_id: "e".to_owned(),
            storage_account_name: "acct".to_owned(),
            credential: Credential::Setting,
            subscription_id: String::new(),
            resource_group: String::new(),
            file_share_names: shares.iter().map(|share| (*share).to_owned()).collect(),
            local_paths: Vec::new(),
            skip_hash_computation: true,
            batch_size: 500,
            max_file_size_for_hash_mb: 100.0,
            exclude_patterns: Vec::new(),
        }
    }

    /// A hub whose shares have so many waves of two lanes; what a share came to is `end`.
    fn hub(waves: u64, end: ShareEnd) -> TestHub {
        let mut hub = TestHub::new(app());
        mock(&mut hub, waves, end);
        hub
    }

    fn mock(hub: &mut TestHub, waves: u64, end: ShareEnd) {
        hub.mock(LIST_SHARES, |scan| Ok(scan.file_share_names));
        hub.mock(OPEN_SHARE, |open| Ok(i64::from(open.share == "bad")));
        let left = Arc::new(AtomicU64::new(0));
        hub.mock(PLAN_WAVE, move |_| {
            let wave = left.fetch_add(1, Ordering::Relaxed);
            let lane = |first| Lane { first, last: first };
            let lanes = if wave < waves { vec![lane(1), lane(2)] } else { Vec::new() };
            let totals = Totals { queued: 7, files: wave, ..Totals::default() };
            Ok(Plan { directories: lanes.len() as u64, lanes, totals, sends: true })
        });
        hub.mock(SCAN_DIRECTORY, |_| Ok(Scanned { has_more: false }));
        let message = String::new();
        hub.mock(SEND, move |_| {
            Ok(Sent { success: true, records: 1, message: message.clone(), has_more: false })
        });
        hub.mock(GIVE_UP, |_| Ok(()));
        hub.mock(CLOSE_SHARE, move |_| Ok(end.clone()));
        hub.mock(CLOSE_SCAN, |_| Ok(()));
    }

    fn totals() -> ShareEnd {
        let totals = Totals { files: 3, bytes: 5 << 29, directories: 2, ..Totals::default() };
        ShareEnd { totals, batches_sent: 4, ..ShareEnd::default() }
    }

    #[test]
    fn a_scan_sums_up_its_shares_and_says_so_in_its_status() {
        let mut hub = hub(0, totals());
        let run = hub.start(MAIN, scan(&["a", "b"])).unwrap();
        let output = hub.result(&run).unwrap();
        for (key, expected) in [
            ("status", json!("completed")),
            ("execution_id", json!("e")),
            ("storage_account", json!("acct")),
            ("total_shares_scanned", json!(2)),
            ("total_files_processed", json!(6)),
            ("total_bytes_processed", json!(5_u64 << 30)),
            ("total_gb_processed", json!(5.0)),
            ("total_batches_sent", json!(8)),
            ("total_errors", json!(0)),
        ] {
            assert_eq!(output[key], expected, "{key}");
        }
        assert_eq!(output["share_results"][1]["file_share"], "b");
        assert_eq!(output["share_results"][0]["gb_processed"], 2.5);
        assert_eq!(output["share_results"][0]["completed_at"].as_str().unwrap().len(), 24);
        let status: Value = hub.custom_status(run.id()).unwrap().unwrap();
        assert_eq!(status["phase"], "Completed");
        assert_eq!(status["total_files_processed"], 6);
        assert!(status.get("share_results").is_none());
    }

    #[test]
    fn a_share_of_many_waves_goes_on_with_an_empty_history() {
        let mut hub = hub(70, totals());
        let run = ShareRun {
            scan: scan(&["a"]),
            share: "a".to_owned(),
            instance: "i".to_owned(),
            id: None,
            waves: 0,
        };
        let run = hub.start(FILE_SHARE, run).unwrap();
        let output = hub.result(&run).unwrap();
        assert_eq!(output["waves_completed"], 70);
        let history = hub.history(run.id()).unwrap();
        assert!(history.len() < EVENTS, "{}", history.len());
        let status: Value = hub.custom_status(run.id()).unwrap().unwrap();
        assert_eq!(
            status,
            json!({
                "phase": "Wave 70", "fileShare": "a", "directoriesInWave": 2, "directoriesQueued": 5,
                "filesProcessed": 69, "bytesProcessed": 0,
            })
        );
    }

    #[test]
    fn a_large_directory_gives_some_pages_in_one_wave_and_the_rest_in_the_next() {
        let mut hub = hub(2, totals());
        let pages = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&pages);
        hub.mock(SCAN_DIRECTORY, move |part| {
            let is_large = part.lane.first == 1;
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Scanned { has_more: is_large })
        });
        let run = hub.start(MAIN, scan(&["a"])).unwrap();
        let output = hub.result(&run).unwrap();
        assert_eq!(output["share_results"][0]["waves_completed"], 2);
        assert_eq!(pages.load(Ordering::Relaxed), 2 * (PAGES as u64 + 1));
    }

    #[test]
    fn what_failed_is_no_plain_success() {
        let whole = totals();
        let totals = Totals { errors: 250, skipped: 2, ..whole.totals };
        let errors = vec!["one".to_owned()];
        let end = ShareEnd { totals, errors, batches_failed: 1, records_failed: 30, ..whole };
        let mut hub = hub(0, end);
        let run = hub.start(MAIN, scan(&["a", "b"])).unwrap();
        let output = hub.result(&run).unwrap();
        assert_eq!(output["status"], "completed_with_errors");
        assert_eq!(output["total_errors"], 500);
        assert_eq!(output["total_batches_failed"], 2);
        assert_eq!(output["total_records_failed"], 60);
        assert_eq!(output["total_entries_skipped"], 4);
        let share = &output["share_results"][0];
        assert_eq!(share["status"], "completed_with_errors");
        assert_eq!((&share["batches_failed"], &share["records_failed"]), (&json!(1), &json!(30)));
        assert_eq!(share["errors"], json!(["one"]));
    }

    #[test]
    fn a_share_that_fails_takes_nothing_from_the_others() {
        let mut hub = hub(1, totals());
        hub.mock(OPEN_SHARE, |open| match open.share.as_str() {
            "bad" => Err(Failure::new("Io", "no such disk").fatal()),
            _ => Ok(1),
        });
        let run = hub.start(MAIN, scan(&["a", "bad"])).unwrap();
        let output = hub.result(&run).unwrap();
        assert_eq!(output["status"], "completed_with_errors");
        assert_eq!(output["total_shares_scanned"], 1);
        assert_eq!(output["total_shares_failed"], 1);
        assert_eq!(output["total_errors"], 1);
        assert_eq!(output["share_results"][0]["status"], "completed");
        assert_eq!(output["share_results"][1]["error"], "no such disk");
        let run = hub.start(MAIN, scan(&["bad"])).unwrap();
        assert_eq!(hub.result(&run).unwrap()["status"], "failed");
    }

    #[test]
    fn a_directory_that_cannot_be_listed_is_given_up_and_a_lost_share_is_not_asked_again() {
        let mut hub = hub(3, totals());
        let given_up = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&given_up);
        hub.mock(SCAN_DIRECTORY, |_| Err(Failure::new("Busy", "try later")));
        hub.mock(GIVE_UP, move |give_up| {
            assert_eq!(give_up.cause, "try later");
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let run = hub.start(MAIN, scan(&["a"])).unwrap();
        assert_eq!(hub.result(&run).unwrap()["status"], "completed");
        assert_eq!(given_up.load(Ordering::Relaxed), 6);

        let mut hub = self::hub(3, totals());
        hub.mock(SCAN_DIRECTORY, |_| Err(crate::source::lost("a", "it is gone")));
        let run = hub.start(MAIN, scan(&["a"])).unwrap();
        let output = hub.result(&run).unwrap();
        assert_eq!(output["status"], "failed");
        let share = &output["share_results"][0];
        assert_eq!(share["error"], "the share `a` cannot be read: it is gone");
        assert_eq!((&share["waves_completed"], &share["error_count"]), (&json!(1), &json!(1)));
    }

    #[test]
    fn a_process_that_is_killed_again_and_again_is_not_the_activitys_fault() {
        let mut hub = hub(1, totals());
        let left = AtomicU64::new(3);
        hub.mock(SCAN_DIRECTORY, move |_| {
            let is_killed =
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            match is_killed {
                Ok(_) => Err(Failure::new(kinds::POISON, "taken down").fatal()),
                Err(_) => Ok(Scanned { has_more: false }),
            }
        });
        hub.mock(GIVE_UP, |_| panic!("nothing is to be given up"));
        let run = hub.start(MAIN, scan(&["a"])).unwrap();
        assert_eq!(hub.result(&run).unwrap()["status"], "completed");
    }

    #[test]
    fn an_account_without_shares_has_nothing_to_scan() {
        let mut hub = hub(0, totals());
        let run = hub.start(MAIN, scan(&[])).unwrap();
        let expected = json!({
            "status": "completed", "message": "No file shares found to scan", "execution_id": "e", "total_shares": 0,
        });
        assert_eq!(hub.result(&run).unwrap(), expected);
    }

    #[test]
    fn a_status_has_room_for_any_number_of_shares() {
        let names: Vec<String> = (0..5000).map(|number| format!("share-{number:05}")).collect();
        let status = scanning(&names);
        assert_eq!(status["totalShares"], 5000);
        assert!(status.to_string().len() * 2 < 16 << 10);
    }

    #[test]
    fn a_crash_at_any_commit_changes_nothing_in_the_outcome() {
        let swept = testing::crash_everywhere_with(&app(), &Options::default(), |hub| {
            mock(hub, 0, totals());
            let run = hub.start(MAIN, scan(&["a", "b"]))?;
            hub.result(&run)
        })
        .unwrap();
        assert_eq!(swept.result.unwrap()["total_files_processed"], 6);
    }
}
