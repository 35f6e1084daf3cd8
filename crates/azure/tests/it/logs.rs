//! Uploads by the Logs Ingestion API.

use everstep_azure::{
    http_client,
    logs::{Batch, Ingestion, Limits, Packer, UploadError},
    retry::{Passing as _, retry},
};
use everstep_stand_ins::{
    Fault, Rule,
    logs::{Logs, LogsOptions, RULE, Stream, Type},
};
use serde_json::{Value, json};

use crate::setup::{AT_ONCE, identity};

const STREAM: &str = "Custom-FileInventory_CL";
const TABLE: &str = "FileInventory_CL";

async fn upload_to(service: &Logs) -> (everstep_stand_ins::identity::Identity, Ingestion) {
    let (identities, identity) = identity().await;
    let logs = Ingestion::new(&service.url(), RULE, STREAM, identity, http_client()).unwrap();
    (identities, logs)
}

fn batch(rows: &Value) -> Batch {
    let count = rows.as_array().map_or(0, Vec::len);
    Batch::from_json(rows.to_string(), count)
}

fn row(n: usize) -> Value {
    json!({"TimeGenerated": "2026-11-21T01:02:03.456Z", "FileName": format!("ї{n}"), "FileSizeBytes": n})
}

#[tokio::test]
async fn rows_arrive_as_they_are_packed() {
    let service = Logs::start().await;
    let (identities, logs) = upload_to(&service).await;
    let mut packer = Packer::new(Limits::LOGS_INGESTION.records(400));
    let mut batches = Vec::new();
    for n in 0..1_000 {
        batches.extend(packer.push(row(n).to_string().as_bytes()).unwrap());
    }
    batches.extend(packer.finish());
    assert_eq!(batches.iter().map(Batch::records).collect::<Vec<_>>(), [400, 400, 200]);
    for batch in &batches {
        logs.upload(batch).await.unwrap();
    }
    let rows = service.rows(TABLE);
    assert_eq!(rows.len(), 1_000);
    assert_eq!(Value::from(rows[999].clone()), row(999));
    assert_eq!((service.calls("Upload"), identities.calls("AppServiceToken")), (3, 1));
}

#[tokio::test]
async fn full_batches_stay_within_what_the_service_takes() {
    let options = LogsOptions {
        streams: [(STREAM.to_owned(), Stream::open())].into(),
        ..LogsOptions::default()
    };
    let service = Logs::start_with(options).await.unwrap();
    let (_identities, logs) = upload_to(&service).await;
    let mut packer = Packer::new(Limits::LOGS_INGESTION);
    let (mut batches, mut state) = (0, 1_u64);
    // Text that hardly compresses, so that the compressed size counts too; and a field above the limit in each record.
    for n in 0..40 {
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + (state >> 33) as u8 % 94)
        };
        let text: String = (0..70_000).map(|_| noise()).collect();
        let record = json!({"n": n, "text": text}).to_string();
        if let Some(batch) = packer.push(record.as_bytes()).unwrap() {
            logs.upload(&batch).await.unwrap();
            batches += 1;
        }
    }
    assert_eq!(packer.cut_fields(), 40);
    logs.upload(&packer.finish().unwrap()).await.unwrap();
    let rows = service.rows(TABLE);
    assert_eq!((rows.len(), batches), (40, 2));
    assert!(
        rows.iter().all(|row| row["text"].as_str().unwrap().ends_with("...[cut, 70000 bytes]"))
    );
}

#[tokio::test]
async fn what_the_service_refuses_is_not_repeated() {
    let service = Logs::start().await;
    let (_identities, logs) = upload_to(&service).await;
    let wrong = logs.upload(&batch(&json!([{"FileSizeBytes": "many"}]))).await.unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "the log service refused the batch (400 InvalidPayload): the column FileSizeBytes is not of the type Long"
    );
    let large = json!([{"FileName": "x".repeat(1_100_000)}]);
    let large = logs.upload(&batch(&large)).await.unwrap_err();
    assert_eq!(
        large.to_string(),
        "the log service refused a request of 1100017 bytes as too large; put fewer records into a batch"
    );
    service.faults().add(Rule::new(Fault::refuse(403, "OperationFailed")));
    let denied = logs.upload(&batch(&json!([]))).await.unwrap_err();
    assert!(denied.to_string().contains("Monitoring Metrics Publisher"), "{denied}");
    for error in [wrong, large, denied] {
        assert!(!error.is_worth_retrying() && !error.may_be_stored());
    }
    assert_eq!(service.count(TABLE), 0);
}

#[tokio::test]
async fn an_unknown_rule_or_stream_says_what_to_check() {
    let service = Logs::start().await;
    let (_identities, identity) = identity().await;
    for (rule, stream) in [("dcr-other", STREAM), (RULE, "Custom-Other_CL")] {
        let logs =
            Ingestion::new(&service.url(), rule, stream, identity.clone(), http_client()).unwrap();
        let error = logs.upload(&batch(&json!([]))).await.unwrap_err().to_string();
        assert!(
            error.ends_with("; check the rule's immutable id and the stream's name"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn throttling_and_failures_say_how_long_to_wait() {
    let service = Logs::start().await;
    let (_identities, logs) = upload_to(&service).await;
    let one = batch(&json!([row(1)]));
    service.faults().add(Rule::new(Fault::throttle(9)));
    let throttled = logs.upload(&one).await.unwrap_err();
    assert!(matches!(throttled, UploadError::Throttled { status: 429, .. }), "{throttled}");
    assert_eq!(throttled.retry_after().unwrap().as_secs(), 9);

    service.faults().add(Rule::new(Fault::busy(0)));
    service.faults().add(Rule::new(Fault::refuse(500, "InternalServerError")));
    service.faults().add(Rule::new(Fault::Cut));
    retry(&AT_ONCE, || logs.upload(&one)).await.unwrap();
    assert_eq!((service.calls("Upload"), service.count(TABLE)), (5, 1));
}

#[tokio::test]
async fn a_lost_answer_leaves_open_whether_the_rows_are_stored() {
    let service = Logs::start().await;
    let (_identities, logs) = upload_to(&service).await;
    service.faults().add(Rule::new(Fault::LoseAnswer));
    let error = logs.upload(&batch(&json!([row(1)]))).await.unwrap_err();
    assert!(error.may_be_stored() && error.is_worth_retrying(), "{error}");
    assert!(error.to_string().ends_with("; whether the batch is stored is unknown"), "{error}");
    assert_eq!(service.count(TABLE), 1);
}

#[tokio::test]
async fn a_token_that_the_service_refuses_is_replaced_once() {
    let service = Logs::start().await;
    let (identities, logs) = upload_to(&service).await;
    service.faults().add(Rule::new(Fault::refuse(401, "InvalidToken")));
    logs.upload(&batch(&json!([row(1)]))).await.unwrap();
    assert_eq!((identities.calls("AppServiceToken"), service.count(TABLE)), (2, 1));
    service.faults().add(Rule::new(Fault::refuse(401, "InvalidToken")).times(2));
    let error = logs.upload(&batch(&json!([row(1)]))).await.unwrap_err();
    assert!(error.to_string().ends_with("does not accept this identity's token"), "{error}");
}

#[tokio::test]
async fn columns_that_nobody_declared_are_dropped() {
    let options = LogsOptions {
        streams: [(STREAM.to_owned(), Stream::of([("n", Type::Long)]))].into(),
        ..LogsOptions::default()
    };
    let service = Logs::start_with(options).await.unwrap();
    let (_identities, logs) = upload_to(&service).await;
    logs.upload(&batch(&json!([{"n": 1, "m": 2}]))).await.unwrap();
    let row = &service.rows(TABLE)[0];
    assert_eq!((row.get("n"), row.get("m")), (Some(&json!(1)), None));
    assert!(row.contains_key("TimeGenerated"));
}

#[tokio::test]
async fn what_cannot_be_used_is_said() {
    let (_identities, identity) = identity().await;
    let said = |endpoint: &str, rule: &str, stream: &str| {
        let made = Ingestion::new(endpoint, rule, stream, identity.clone(), http_client());
        made.unwrap_err().to_string()
    };
    assert_eq!(
        said("http://dce.example", RULE, STREAM),
        "the data collection endpoint is `http://dce.example`; write it with `https://`: secrets do not travel in the clear"
    );
    assert_eq!(
        said("https://dce.example", "my-rule", STREAM),
        "the data collection rule is `my-rule`; write the immutable id of the rule, `dcr-...`, as its JSON view in the portal shows it"
    );
    assert_eq!(
        said("https://dce.example", RULE, "FileInventory_CL"),
        "the stream is `FileInventory_CL`; write the stream as the rule declares it, for example `Custom-FileInventory_CL`"
    );
}
