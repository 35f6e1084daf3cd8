//! Uploads by the Data Collector API.

use everstep_azure::{
    collector::Collector,
    http_client,
    logs::{Batch, Limits, Packer},
    retry::{Passing as _, retry},
};
use everstep_stand_ins::{
    Fault, Rule,
    logs::{Logs, WORKSPACE, WORKSPACE_KEY},
};
use serde_json::json;

use crate::setup::AT_ONCE;

fn collector(service: &Logs, key: &str) -> Collector {
    let collector = Collector::new(WORKSPACE, key, "Code42Logs_CL", http_client()).unwrap();
    collector.at(&service.url()).unwrap()
}

#[tokio::test]
async fn rows_arrive_with_columns_named_by_their_types() {
    let service = Logs::start().await;
    let rows = json!([{
        "Key": "ї",
        "Actual_Time": "2026-11-21T01:02:03Z",
        "Id": "00000000-0000-0000-0000-000000000001",
        "Score": 1.5,
        "Trusted": true,
        "Tags": ["a"],
        "None": null,
    }]);
    let batch = Batch::from_json(rows.to_string(), 1);
    collector(&service, WORKSPACE_KEY).upload(&batch).await.unwrap();
    let mut row = service.rows("Code42Logs_CL").remove(0);
    assert!(row.remove("TimeGenerated").is_some());
    assert_eq!(
        json!(row),
        json!({
            "Key_s": "ї",
            "Actual_Time_t": "2026-11-21T01:02:03Z",
            "Id_g": "00000000-0000-0000-0000-000000000001",
            "Score_d": 1.5,
            "Trusted_b": true,
            "Tags_s": "[\"a\"]",
        })
    );
}

#[tokio::test]
async fn a_time_field_gives_rows_their_time() {
    let service = Logs::start().await;
    let near = jiff::Timestamp::now().as_second() - 3_600;
    let near = jiff::Timestamp::from_second(near).unwrap().to_string();
    let rows = json!([{"at": near}, {"at": "2016-01-01T00:00:00Z"}]);
    let collector = collector(&service, WORKSPACE_KEY).time_field("at").unwrap();
    collector.upload(&Batch::from_json(rows.to_string(), 2)).await.unwrap();
    let rows = service.rows("Code42Logs_CL");
    assert_eq!(rows[0]["TimeGenerated"], near);
    assert_ne!(rows[1]["TimeGenerated"], "2016-01-01T00:00:00Z");
}

#[tokio::test]
async fn a_field_too_long_for_this_api_is_cut_before_it_is_sent() {
    let service = Logs::start().await;
    let mut packer = Packer::new(Limits::DATA_COLLECTOR);
    let record = json!({"Raw_Data": "x".repeat(40_000)}).to_string();
    packer.push(record.as_bytes()).unwrap();
    assert_eq!(packer.cut_fields(), 1);
    let batch = packer.finish().unwrap();
    collector(&service, WORKSPACE_KEY).upload(&batch).await.unwrap();
    let rows = service.rows("Code42Logs_CL");
    let text = rows[0]["Raw_Data_s"].as_str().unwrap();
    assert!(text.len() == 32 << 10 && text.ends_with("...[cut, 40000 bytes]"));
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_a_busy_service_is_asked_again() {
    let service = Logs::start().await;
    let batch = Batch::from_json("[{\"n\":\"ї\"}]", 1);
    let error = collector(&service, "c2VjcmV0").upload(&batch).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the log service refused the batch (403 InvalidAuthorization): The signature is not that of this request; give the workspace's id and key another look"
    );
    assert!(!error.is_worth_retrying());
    service.faults().add(Rule::new(Fault::throttle(0)).times(2));
    let collector = collector(&service, WORKSPACE_KEY);
    retry(&AT_ONCE, || collector.upload(&batch)).await.unwrap();
    assert_eq!(service.count("Code42Logs_CL"), 1);
}
