//! Folders of this machine.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::app::{App, Folder};

fn local(root: &Path) -> Folder {
    Folder::new(&[("LOCAL_SCAN_ROOTS", root.to_str().unwrap())])
}

/// Folders with files; gives the paths of the files.
fn tree(root: &Path, folders: u32, files: u32) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for folder in 0..folders {
        let folder = format!("{:02}/{folder:03}", folder % 7);
        fs::create_dir_all(root.join(&folder)).unwrap();
        for file in 0..files {
            let path = format!("{folder}/f{file:05}.txt");
            fs::write(root.join(&path), "x".repeat(file as usize % 50)).unwrap();
            paths.insert(path);
        }
    }
    paths
}

#[tokio::test]
async fn a_scan_is_started_by_its_route_and_leaves_a_row_for_each_file() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("docs/deep")).unwrap();
    fs::write(root.path().join("docs/deep/Report.PDF"), vec![b'a'; 2_000_000]).unwrap();
    fs::write(root.path().join("docs/ї %#?.tar.gz"), "abc").unwrap();
    fs::write(root.path().join("docs/skip.tmp"), "excluded").unwrap();
    fs::write(root.path().join(".bashrc"), "").unwrap();
    fs::write(root.path().join(std::ffi::OsStr::from_bytes(b"bad\xff.log")), "x").unwrap();
    std::os::unix::fs::symlink(root.path(), root.path().join("docs/loop")).unwrap();
    let folder = local(root.path());
    let mut app = folder.start();
    let body = json!({ "skipHashComputation": false, "maxFileSizeForHashMB": 1, "batchSize": 1 });
    let started = app.post("/api/start-scan", &body).await;
    assert_eq!(started.status(), 202);
    assert_eq!(started.headers()["retry-after"], "10");
    let location = started.headers()["location"].to_str().unwrap().to_owned();
    let started: Value = started.json().await.unwrap();
    assert_eq!(started["statusQueryGetUri"], location);
    assert_eq!(started["storageAccount"], "local");
    assert!(started["rewindPostUri"].is_string());
    let time = started["startTime"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.len() == 24, "{time}");
    let id = started["executionId"].as_str().unwrap();

    let output = app.output(id).await;
    let share = root.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(output["status"], "completed", "{output}");
    assert_eq!(output["execution_id"], id);
    assert_eq!(output["storage_account"], "local");
    assert_eq!(output["total_shares_scanned"], 1);
    assert_eq!(output["total_files_processed"], 4);
    assert_eq!(output["total_bytes_processed"], 2_000_004);
    assert_eq!(output["total_gb_processed"], 0.0);
    assert_eq!(output["total_batches_sent"], 0);
    assert_eq!(output["total_errors"], 0);
    assert_eq!(output["total_entries_skipped"], 1);
    let result = &output["share_results"][0];
    assert_eq!(result["file_share"], share);
    assert_eq!(result["directories_processed"], 3);
    assert_eq!(result["waves_completed"], 3);
    assert_eq!(result["errors"], json!([]));

    let expected = [
        (".bashrc", 0, "D41D8CD98F00B204E9800998ECF8427E"),
        ("bad\u{fffd}.log", 1, "9DD4E461268C8034F5C8564E155C67A6"),
        ("docs/deep/Report.PDF", 2_000_000, "SKIPPED_TOO_LARGE"),
        ("docs/ї %#?.tar.gz", 3, "900150983CD24FB0D6963F7D28E17F72"),
    ];
    let expected = expected
        .map(|(path, size, hash)| (share.to_owned(), path.to_owned(), size, hash.to_owned()));
    assert_eq!(folder.rows(), expected);
    for (column, expected) in [
        ("FileExtension", json!(["", ".log", ".PDF", ".gz"])),
        ("FileName", json!([".bashrc", "bad\u{fffd}.log", "Report.PDF", "ї %#?.tar.gz"])),
        ("FileSizeMB", json!([0.0, 0.0, 1.91, 0.0])),
        ("FileSizeGB", json!([0.0, 0.0, 0.0019, 0.0])),
        ("FileCategory", json!(["Other", "Logs", "Documents", "Archives"])),
        ("SizeBucket", json!(["< 1 KB", "< 1 KB", "1 MB - 10 MB", "< 1 KB"])),
        ("AgeBucket", json!(["0-7 days", "0-7 days", "0-7 days", "0-7 days"])),
        ("IsDuplicate", json!(["Unknown", "Unknown", "Unknown", "Unknown"])),
        ("DuplicateCount", json!([0, 0, 0, 0])),
        ("ExecutionId", json!([id, id, id, id])),
    ] {
        assert_eq!(Value::Array(folder.column(column)), expected, "{column}");
    }
    for column in ["TimeGenerated", "LastModified", "LastWriteTime"] {
        for time in folder.column(column) {
            let time = time.as_str().unwrap().to_owned();
            assert_eq!((time.len(), &time[10..11], &time[23..]), (24, "T", "Z"), "{column}");
        }
    }
    assert_eq!(folder.column("ScanTimestamp")[0].as_str().unwrap().len(), 19);

    let status = app.json(&format!("/api/scan-status/{id}")).await;
    assert_eq!(status["runtimeStatus"], "Completed");
    assert_eq!(status["instanceId"], id);
    assert_eq!(status["output"], output);
    assert_eq!(status["customStatus"]["phase"], "Completed");
    assert!(status["customStatus"].get("share_results").is_none());
    let progress = app.json("/api/inventory/progress").await;
    assert_eq!(progress["scan"]["status"], "completed");
    assert_eq!(progress["scan"]["files"], 4);
    assert_eq!(
        progress["groups"]["category"][0],
        json!({ "name": "Documents", "files": 1, "bytes": 2_000_000 })
    );
    let page = app.get("/api/inventory").await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.text().await.unwrap().contains("inventory"));
    let query = json!({ "query": "FileInventory_CL | summarize Files = count() by FileCategory | order by FileCategory asc" });
    let answer = app.post("/api/inventory/query", &query).await;
    assert_eq!(
        answer.json::<Value>().await.unwrap(),
        json!({
            "columns": ["FileCategory", "Files"],
            "rows": [["Archives", 1], ["Documents", 1], ["Logs", 1], ["Other", 1]],
            "truncated": false,
            "chart": null,
        })
    );
    let refused =
        app.post("/api/inventory/query", &json!({ "query": "DELETE FROM FileInventory_CL" })).await;
    assert_eq!(refused.status(), 400);
    let report = app.get("/api/inventory/report").await.text().await.unwrap();
    assert!(report.contains("<svg"), "{report}");
    assert!(app.signal(Signal::TERM).success());
}

#[tokio::test]
async fn instances_that_are_not_there_are_not_found_and_cancelling_ends_what_runs() {
    let root = tempfile::tempdir().unwrap();
    tree(root.path(), 1, 1);
    let folder = local(root.path());
    let app = folder.start();
    let missing = app.get("/api/scan-status/nobody").await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.text().await.unwrap(), r#"{"error":"Instance nobody not found"}"#);
    let missing = app.post("/api/cancel-scan/nobody", &json!({})).await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.text().await.unwrap(), r#"{"error":"Instance nobody not found"}"#);
    let missing = app.post("/api/scan-repair/nothing", &json!({})).await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.text().await.unwrap(), r#"{"error":"Scan nothing not found"}"#);
    let id = app.scan(&json!({})).await;
    let cancelled = app.post(&format!("/api/cancel-scan/{id}"), &json!({})).await;
    assert_eq!(cancelled.status(), 200);
    let text = format!(r#"{{"message":"Termination request sent for instance {id}"}}"#);
    assert_eq!(cancelled.text().await.unwrap(), text);
    app.ended(&id).await;
    let again = app.post(&format!("/api/cancel-scan/{id}"), &json!({})).await;
    assert_eq!(again.status(), 200);
    let repaired = app.post(&format!("/api/scan-repair/{id}"), &json!({})).await;
    // Terminated before it noted itself, or known by then.
    assert!([202, 404].contains(&repaired.status().as_u16()));
}

#[tokio::test]
async fn requests_that_cannot_be_meant_are_refused() {
    let folder = Folder::new(&[]);
    let app = folder.start();
    for (body, expected) in [
        (json!({}), "storageAccountName is required"),
        (
            json!({ "storageAccountName": "acct" }),
            "storageAccountKey is required (or set STORAGE_ACCOUNT_KEY env var)",
        ),
        (
            json!({ "storageAccountName": "acct", "storageAccountKey": "a2V5", "batchSize": 0 }),
            "batchSize must be a whole number from 1 to 10000",
        ),
        (
            json!({ "localPaths": "/" }),
            "LOCAL_SCAN_ROOTS is required for the account `local`: set it to the folders that may be scanned",
        ),
    ] {
        let refused = app.post("/api/start-scan", &body).await;
        assert_eq!(refused.status(), 400);
        let said: Value = refused.json().await.unwrap();
        assert_eq!(said, json!({ "error": expected }));
    }
}

#[test]
fn settings_that_cannot_be_used_end_the_start_with_their_name() {
    for (settings, expected) in [
        (
            &[("BATCH_SIZE", "0")][..],
            "error: the setting BATCH_SIZE is `0`; write a whole number from 1 to 10000",
        ),
        (
            &[("LOG_ANALYTICS_MODE", "both")],
            "error: the setting LOG_ANALYTICS_DCE_ENDPOINT is missing; rows cannot be sent without it; set it, or set LOG_ANALYTICS_MODE to local",
        ),
        (
            &[("STORAGE_ACCOUNT_KEY", "no key")],
            "error: STORAGE_ACCOUNT_KEY: the key of the storage account is `(hidden)`; copy the whole key as the portal shows it, with the `=` signs at its end",
        ),
    ] {
        let said = Folder::new(settings).refusal();
        assert!(said.contains(expected), "{said}");
    }
}

/// Progress until it is past a number of files, or the scan has ended; whether it still runs.
async fn is_running_past(app: &App, files: u64) -> Option<u64> {
    loop {
        let progress = app.json("/api/inventory/progress").await;
        let done = progress["scan"]["files"].as_u64().unwrap_or_default();
        if progress["scan"]["status"].as_str().is_some_and(|status| status != "running") {
            return None;
        }
        if done > files {
            return Some(done);
        }
    }
}

#[tokio::test]
async fn a_scan_that_is_killed_again_and_again_ends_with_the_rows_of_one_that_was_not() {
    let root = tempfile::tempdir().unwrap();
    let mut paths = tree(root.path(), 60, 20);
    for file in 0..17_000 {
        let path = format!("big-{file:05}.log");
        fs::write(root.path().join(&path), "").unwrap();
        paths.insert(path);
    }
    let folder = local(root.path());
    let mut app = folder.start();
    let id = app.scan(&json!({})).await;
    let mut files = 0;
    while let Some(done) = is_running_past(&app, files).await {
        files = done;
        app.signal(Signal::KILL);
        app = folder.start();
    }
    let output = app.output(&id).await;
    assert_eq!(output["status"], "completed", "{output}");
    assert_eq!(output["total_files_processed"], paths.len());
    let rows = folder.rows();
    assert_eq!(rows.len(), paths.len());
    let found: BTreeSet<String> = rows.into_iter().map(|(_, path, ..)| path).collect();
    assert_eq!(found, paths);
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_told_and_takes_nothing_from_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let one = root.path().join("one");
    fs::create_dir_all(one.join("closed")).unwrap();
    fs::write(one.join("secret"), "x").unwrap();
    fs::write(one.join("open"), "x").unwrap();
    fs::set_permissions(one.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(one.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let is_root = fs::read(one.join("secret")).is_ok();
    let folder = local(root.path());
    let app = folder.start();
    let body = json!({ "fileShareNames": ["one", "gone", "one"], "skipHashComputation": false });
    let output = app.output(&app.scan(&body).await).await;
    assert_eq!(output["status"], "completed_with_errors");
    assert_eq!(output["total_shares_scanned"], 1);
    assert_eq!(output["total_shares_failed"], 1);
    let gone = &output["share_results"][1];
    assert_eq!(gone["status"], "failed");
    let cause = gone["error"].as_str().unwrap();
    assert!(cause.starts_with("the share `gone` cannot be read: "), "{cause}");
    let read = &output["share_results"][0];
    assert_eq!(read["files_processed"], 2);
    // Whoever may read everything has nothing to tell.
    if !is_root {
        assert_eq!(read["status"], "completed_with_errors");
        assert_eq!(
            read["errors"],
            json!([
                "Error processing file secret: Permission denied (os error 13)",
                "Error scanning directory closed: Permission denied (os error 13)",
            ])
        );
        let hashes: Vec<_> = folder.rows().into_iter().map(|(.., hash)| hash).collect();
        assert_eq!(hashes, ["9DD4E461268C8034F5C8564E155C67A6", "ERROR"]);
    }
    let failed = app.output(&app.scan(&json!({ "fileShareNames": "gone" })).await).await;
    assert_eq!(failed["status"], "failed");
}

#[test]
fn the_command_scans_to_the_end_and_prints_the_result() {
    let root = tempfile::tempdir().unwrap();
    tree(root.path(), 5, 10);
    let folder = Folder::new(&[]);
    let path = root.path().to_str().unwrap();
    let output = folder.run(&["scan", "--json", path]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["total_files_processed"], 50);
    assert_eq!(folder.rows().len(), 50);
    let text = folder.run(&["scan", "--hash", path]).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("completed: 50 files, "), "{text}");
    assert_eq!(folder.rows().len(), 100);
    let said = |words: &[&str]| {
        let output = folder.run(words);
        String::from_utf8(if output.status.success() { output.stdout } else { output.stderr })
            .unwrap()
    };
    let count =
        "FileInventory_CL | summarize Files = count() by ExecutionId | take 1 | project Files";
    assert_eq!(said(&["query", count]), " Files \n 50    \n");
    assert_eq!(said(&["query", "--json", count]), "{\"Files\":50}\n");
    let sql = "SELECT FileName FROM FileInventory_CL ORDER BY 1 LIMIT 1";
    assert_eq!(said(&["export", "--format", "ndjson", sql]), "{\"FileName\":\"f00000.txt\"}\n");
    assert_eq!(said(&["export", sql]).lines().collect::<Vec<_>>(), ["FileName", "f00000.txt"]);
    assert_eq!(said(&["export"]).lines().count(), 101);
    assert!(said(&["report"]).starts_with("<!doctype html>"));
    assert!(said(&["query", "FileInventory_CL | sumarize count()"]).contains("summarize"));
    let refused = folder.run(&["scan", "nowhere"]);
    assert_eq!(String::from_utf8(refused.stderr).unwrap(), "error: there is no folder nowhere\n");
}

#[test]
fn the_command_goes_on_with_the_scan_that_it_left_behind() {
    let root = tempfile::tempdir().unwrap();
    let paths = tree(root.path(), 12, 1000);
    let folder = Folder::new(&[]);
    let path = root.path().to_str().unwrap();
    let mut child = folder.spawn(&["scan", "--hash", path]);
    while !folder.spool().exists() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = folder.run(&["scan", "--hash", "--json", path]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["total_files_processed"], paths.len());
    assert_eq!(folder.rows().len(), paths.len());
}
