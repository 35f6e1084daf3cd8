//! Shares of the file service and rows sent to Azure Monitor, with stand-ins.

use everstep_stand_ins::{
    Fault, Rule,
    files::{Files, FilesOptions},
    identity::Identity,
    logs::{Logs, LogsOptions},
    tree::{Generated, Share, Tree},
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::app::{App, Folder};

const TABLE: &str = "FileInventory_CL";

struct Azure {
    files: Files,
    logs: Logs,
    identity: Identity,
}

impl Azure {
    async fn start(tree: Tree) -> Self {
        let options = FilesOptions { page_max: 40, ..FilesOptions::default() };
        Self {
            files: Files::start_with(tree, options).await.unwrap(),
            logs: Logs::start().await,
            identity: Identity::start().await,
        }
    }

    fn folder(&self, mode: &str) -> Folder {
        Folder::new(&[
            ("LOG_ANALYTICS_MODE", mode),
            ("LOG_ANALYTICS_DCR_IMMUTABLE_ID", &LogsOptions::default().rule),
        ])
        .with(self.identity.settings())
        .with(vec![
            ("STORAGE_FILE_ENDPOINT", self.files.url()),
            ("LOG_ANALYTICS_DCE_ENDPOINT", self.logs.url()),
        ])
    }

    fn asked(&self) -> Value {
        json!({
            "storageAccountName": self.files.account(),
            "storageAccountKey": self.files.key(),
            "skipHashComputation": false,
            "batchSize": 50,
        })
    }

    /// Paths of the rows that have arrived, in order.
    fn arrived(&self) -> Vec<String> {
        let rows = self.logs.rows(TABLE);
        let mut paths: Vec<String> = rows
            .iter()
            .map(|row| {
                let text = |column: &str| row[column].as_str().unwrap().to_owned();
                format!("{}/{}", text("FileShare"), text("FilePath"))
            })
            .collect();
        paths.sort();
        paths
    }
}

fn odd_names() -> Share {
    Share::built()
        .file("root.txt", "abc")
        .file("a b/c%20d#?.PDF", vec![b'x'; 5_000_000])
        .file("a b/ends.", "x")
        .file(&format!("deep/{}.log", "n".repeat(251)), "")
        .file("deep/ї/з.docx", "документ")
        .file("deep/skip.tmp", "x")
        .directory("empty")
}

fn two_shares() -> Tree {
    let many = Generated { directories: 30, fan_out: 5, files: 9, sizes: 0..2000, seed: 3 };
    Tree::new().share("odd", odd_names()).share("many", Share::generated(many))
}

async fn finished(app: &App, azure: &Azure) -> Value {
    let id = app.scan(&azure.asked()).await;
    app.output(&id).await
}

#[tokio::test]
async fn shares_are_scanned_and_their_rows_sent_once_each() {
    let azure = Azure::start(two_shares()).await;
    let folder = azure.folder("both");
    let app = folder.start();
    let output = finished(&app, &azure).await;
    assert_eq!(output["status"], "completed", "{output}");
    assert_eq!(output["total_shares_scanned"], 2);
    assert_eq!(output["total_files_processed"], 31 * 9 + 5);
    let batches = output["total_batches_sent"].as_u64().unwrap();
    assert_eq!(batches, 6 + 1);
    let expected: Vec<String> =
        folder.rows().into_iter().map(|(share, path, ..)| format!("{share}/{path}")).collect();
    assert_eq!(expected.len(), 31 * 9 + 5);
    let mut expected_sorted = expected.clone();
    expected_sorted.sort();
    assert_eq!(azure.arrived(), expected_sorted);
    let rows = azure.logs.rows(TABLE);
    let row = rows.iter().find(|row| row["FileName"] == "root.txt").unwrap();
    assert_eq!(row.len(), 21);
    assert_eq!(row["FileHash"], "900150983CD24FB0D6963F7D28E17F72");
    assert_eq!(row["LastModified"], "2024-01-01T00:00:00.000Z");
    assert_eq!(row["Created"], "2024-01-01T00:00:00.123Z");
    assert!(row["AgeInDays"].as_i64().unwrap() > 365);
    let large = rows.iter().find(|row| row["FilePath"] == "a b/c%20d#?.PDF").unwrap();
    assert_eq!(large["FileHash"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn no_file_and_no_answer_holds_the_key_of_a_request() {
    let azure = Azure::start(two_shares()).await;
    let folder = azure.folder("azure");
    let mut app = folder.start();
    let id = app.scan(&azure.asked()).await;
    app.output(&id).await;
    let shown = [
        app.get(&format!("/api/scan-status/{id}")).await.text().await.unwrap(),
        app.get(&format!("/runtime/webhooks/durabletask/instances/{id}?showInput=true&showHistory=true&showHistoryOutput=true"))
            .await
            .text()
            .await
            .unwrap(),
    ];
    let key = azure.files.key();
    assert!(shown.iter().all(|text| !text.contains(key)), "{shown:?}");
    assert!(app.signal(Signal::TERM).success());
    assert_eq!(folder.files_with(key), Vec::<std::path::PathBuf>::new());
    // Sent rows are not kept in this mode.
    assert_eq!(folder.rows(), []);
    assert_eq!(azure.logs.count(TABLE), 31 * 9 + 5);
}

#[tokio::test]
async fn trouble_that_passes_changes_nothing() {
    let azure = Azure::start(two_shares()).await;
    azure.files.faults().add(Rule::new(Fault::busy(0)).on("ListDirectory").every(7).times(5));
    azure.files.faults().add(Rule::new(Fault::Cut).on("GetFile").every(9).times(3));
    azure.logs.faults().add(Rule::new(Fault::throttle(0)).times(1));
    azure.logs.faults().add(Rule::new(Fault::refuse(500, "Internal")).after(2).times(1));
    let folder = azure.folder("both");
    let app = folder.start();
    let output = finished(&app, &azure).await;
    assert_eq!(output["status"], "completed", "{output}");
    assert_eq!(azure.arrived().len(), 31 * 9 + 5);
}

#[tokio::test]
async fn what_could_not_be_sent_is_counted_and_sent_by_a_repair() {
    let azure = Azure::start(two_shares()).await;
    azure.logs.faults().add(Rule::new(Fault::refuse(403, "Forbidden")).always());
    let folder = azure.folder("azure");
    let app = folder.start();
    let output = finished(&app, &azure).await;
    assert_eq!(output["status"], "completed_with_errors", "{output}");
    assert_eq!(output["total_records_failed"], 31 * 9 + 5);
    assert_eq!(output["total_batches_failed"], 6 + 1);
    assert_eq!(output["total_batches_sent"], 0);
    assert_eq!(azure.logs.count(TABLE), 0);
    azure.logs.faults().clear();
    let execution = output["execution_id"].as_str().unwrap();
    let repair = app.post(&format!("/api/scan-repair/{execution}"), &json!({})).await;
    assert_eq!(repair.status(), 202);
    let repair: Value = repair.json().await.unwrap();
    assert_eq!(repair["executionId"], execution);
    let output = app.output(repair["id"].as_str().unwrap()).await;
    assert_eq!(output["status"], "completed", "{output}");
    assert_eq!(output["records_sent"], 31 * 9 + 5);
    assert_eq!(azure.logs.count(TABLE), 31 * 9 + 5);
}

#[tokio::test]
async fn a_share_that_is_closed_or_gone_fails_alone() {
    let tree = two_shares().share("closed", Share::built().file("a", "x").forbidden());
    let azure = Azure::start(tree).await;
    let folder = azure.folder("both");
    let app = folder.start();
    let mut asked = azure.asked();
    asked["fileShareNames"] = json!(["odd", "closed", "gone"]);
    let output = app.output(&app.scan(&asked).await).await;
    assert_eq!(output["status"], "completed_with_errors", "{output}");
    let statuses: Vec<&str> = output["share_results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| share["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["completed", "failed", "failed"]);
    assert_eq!(azure.logs.count(TABLE), 5);
    assert_eq!(output["total_errors"], 2);
}

#[tokio::test]
async fn an_account_without_shares_has_nothing_to_scan() {
    let azure = Azure::start(Tree::new()).await;
    let folder = azure.folder("both");
    let app = folder.start();
    let id = app.scan(&azure.asked()).await;
    let expected = json!({
        "status": "completed", "message": "No file shares found to scan", "execution_id": id, "total_shares": 0,
    });
    assert_eq!(app.output(&id).await, expected);
}

#[tokio::test]
async fn a_cancelled_scan_ends_with_its_shares_and_sends_nothing_more() {
    let large = Generated { directories: 3000, fan_out: 20, files: 20, sizes: 0..10, seed: 3 };
    let azure = Azure::start(Tree::new().share("large", Share::generated(large))).await;
    let folder = azure.folder("both");
    let app = folder.start();
    let mut asked = azure.asked();
    asked["skipHashComputation"] = json!(true);
    let id = app.scan(&asked).await;
    while azure.logs.count(TABLE) == 0 {
        tokio::task::yield_now().await;
    }
    let cancelled = app.post(&format!("/api/cancel-scan/{id}"), &json!({})).await;
    assert_eq!(cancelled.status(), 200);
    let ended = app.ended(&id).await;
    assert_eq!(ended["runtimeStatus"], "Terminated");
    assert_eq!(ended["output"], "Cancelled by user request");
    let instances = app.json("/runtime/webhooks/durabletask/instances").await;
    for instance in instances.as_array().unwrap() {
        let child = instance["instanceId"].as_str().unwrap();
        assert_eq!(app.ended(child).await["runtimeStatus"], "Terminated", "{instance}");
    }
    // One request may have been under way.
    let (sent, calls) = (azure.logs.count(TABLE), azure.logs.calls("Upload"));
    for _ in 0..20 {
        app.json("/api/inventory/progress").await;
    }
    assert!(azure.logs.calls("Upload") <= calls + 1);
    assert!(azure.logs.count(TABLE) <= sent + 50);
}

#[tokio::test]
async fn rows_arrive_through_kills() {
    let large = Generated { directories: 200, fan_out: 5, files: 9, sizes: 0..10, seed: 3 };
    let azure = Azure::start(Tree::new().share("large", Share::generated(large))).await;
    let folder = azure.folder("both");
    let mut app = folder.start();
    let id = app.scan(&azure.asked()).await;
    let mut seen = 0;
    for _ in 0..4 {
        while azure.logs.count(TABLE) <= seen {
            tokio::task::yield_now().await;
        }
        seen = azure.logs.count(TABLE);
        app.signal(Signal::KILL);
        app = folder.start();
    }
    let output = app.output(&id).await;
    assert_eq!(output["status"], "completed", "{output}");
    assert_eq!(folder.rows().len(), 201 * 9);
    // Only a request whose answer the kill took may have come twice.
    let mut arrived = azure.arrived();
    assert!(arrived.len() <= 201 * 9 + 4 * 50, "{}", arrived.len());
    arrived.dedup();
    assert_eq!(arrived.len(), 201 * 9);
}
