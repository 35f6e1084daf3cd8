//! The log services and the identity of other stand-ins, which check what they get: tokens, signatures, sizes.

use code42::stand_in::StandIn;
use everstep_stand_ins::{
    Fault, Rule,
    identity::Identity,
    logs::{Logs, LogsOptions},
};
use serde_json::{Value, json};

use crate::app::{Folder, files, gzip, lines};

const BUCKET: &str = "logs";
const TABLE: &str = "Code42Logs_CL";

struct Azure {
    aws: StandIn,
    logs: Logs,
}

impl Azure {
    async fn start() -> Self {
        Self { aws: StandIn::start().await, logs: Logs::start().await }
    }

    /// The identity of a stand-in that gives out real tokens knows nothing of STS, so that one takes any.
    fn ingestion(&self, identity: &Identity) -> Folder {
        let folder = Folder::of(&self.aws)
            .with("LOG_ANALYTICS_DCE_ENDPOINT", self.logs.url())
            .with("LOG_ANALYTICS_DCR_IMMUTABLE_ID", LogsOptions::default().rule);
        identity
            .settings()
            .into_iter()
            .fold(folder, |folder, (name, value)| folder.with(name, value))
    }

    fn collector(&self) -> Folder {
        let LogsOptions { workspace, workspace_key, .. } = LogsOptions::default();
        Folder::of(&self.aws)
            .without("LOG_ANALYTICS_DCE_ENDPOINT")
            .without("LOG_ANALYTICS_DCR_IMMUTABLE_ID")
            .with("LOG_ANALYTICS_ENDPOINT", self.logs.url())
            .with("LOG_ANALYTICS_WORKSPACE_ID", workspace)
            .with("LOG_ANALYTICS_SHARED_KEY", workspace_key)
    }
}

#[tokio::test]
async fn weakness_8_requests_stay_within_the_services_limits_and_long_fields_are_cut() {
    let azure = Azure::start().await;
    azure.aws.take_any_token();
    let identity = Identity::start().await;
    let record = |text: usize| format!("{{\"text\":\"{}\"}}\n", "x".repeat(text));
    let content = format!("{}{}", record(50_000).repeat(60), record(100_000));
    azure.aws.put(BUCKET, "a.gz", gzip(&content));
    azure.aws.notify(BUCKET, "a.gz");
    azure.logs.faults().add(Rule::new(Fault::throttle(1)).on("Upload"));
    let folder = azure.ingestion(&identity);
    let output = folder.start().run().await;
    assert_eq!((&output["records_sent"], &output["cut_fields"]), (&json!(61), &json!(1)));
    let rows = azure.logs.rows(TABLE);
    assert_eq!(rows.len(), 61);
    let last = rows[60]["Raw_Data"].as_str().unwrap();
    assert!(last.ends_with("...[cut, 100011 bytes]") && last.len() <= 65_536, "{}", last.len());
    // 60 records of 50 KB do not fit three requests of 1 MB; one request was refused first.
    assert_eq!(azure.logs.calls("Upload"), 5);
}

#[tokio::test]
async fn weaknesses_11_and_15_the_collector_gets_the_tables_name_and_a_signature_over_bytes() {
    let azure = Azure::start().await;
    azure.aws.put(BUCKET, "a.gz", gzip("{\"name\":\"їжак 🦀\"}\n"));
    azure.aws.notify(BUCKET, "a.gz");
    let folder = azure.collector();
    assert_eq!(folder.start().run().await["records_sent"], 1);
    let rows = azure.logs.rows(TABLE);
    assert_eq!(rows.len(), 1);
    let row = Value::Object(rows[0].clone());
    assert_eq!(row["Raw_Data_s"], "{\"name\":\"їжак 🦀\"}");
    assert_eq!(row["Key_s"], "a.gz");
    assert!(row.get("Actual_Time_t").is_some(), "{row}");
    let key = LogsOptions::default().workspace_key;
    assert!(folder.files_with(&key).is_empty());
}

#[tokio::test]
async fn flat_records_have_their_columns() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "a.gz", gzip("{\"event\":{\"id\":\"e\"}}\n5\n"));
    stand_in.notify(BUCKET, "a.gz");
    let folder = Folder::of(&stand_in).with("C42_RECORD_FORMAT", "flat");
    let output = folder.start().run().await;
    assert_eq!((&output["records_sent"], &output["bad_lines"]), (&json!(1), &json!(1)));
    let row = stand_in.rows().remove(0);
    assert_eq!((row["Event_ID"].as_str(), row.len()), (Some("e"), 41));
}

#[tokio::test]
async fn the_local_sink_leaves_one_file_for_each_chunk() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "a.gz", lines(0, 25));
    stand_in.notify(BUCKET, "a.gz");
    let sent = tempfile::tempdir().unwrap();
    let folder = Folder::of(&stand_in)
        .with("C42_SINK", "local")
        .with("C42_LOCAL_FOLDER", sent.path().display())
        .with("LOG_ANALYTICS_CHUNK_SIZE", 10);
    assert_eq!(folder.start().run().await["records_sent"], 25);
    let mut found = files(sent.path());
    found.sort();
    let records = found.iter().map(|path| {
        let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        rows.len()
    });
    assert_eq!(records.collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(stand_in.calls("Upload"), 0);
}
