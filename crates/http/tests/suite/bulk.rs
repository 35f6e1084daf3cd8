//! `POST instances/bulk/{verb}`

use everstep_model::Status;

use crate::support::{Bed, named};

async fn bed() -> Bed {
    let bed = Bed::new();
    for id in ["a-1", "a-2", "b-1"] {
        bed.start("Wait", id, "null").await;
    }
    bed.start("Fail", "failed", "null").await;
    bed.start("Hello", "done", "null").await;
    bed
}

/// Starts a job and waits for its end.
async fn job(bed: &mut Bed, line: &str) -> String {
    let (status, body) = bed.post(line, "").await;
    assert_eq!(status, 202, "{body}");
    let links: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let id = links["id"].as_str().expect("an id").to_owned();
    let (status, _) = bed.ask(&format!("GET instances/{id}?wait=60s&showInput=false")).await;
    assert_eq!(status, 200);
    id
}

#[tokio::test]
async fn a_job_tells_all_that_match() {
    let mut bed = bed().await;
    job(&mut bed, "POST instances/bulk/suspend?instanceIdPrefix=a-&reason=later").await;
    for id in ["a-1", "a-2"] {
        bed.until(id, |view| view.status == Status::Suspended).await;
    }
    job(&mut bed, "POST instances/bulk/Resume?status=suspended").await;
    for id in ["a-1", "a-2"] {
        bed.until(id, |view| view.status == Status::Running).await;
    }
    job(&mut bed, "POST instances/bulk/terminate?name=wait&reason=enough").await;
    for id in ["a-1", "a-2", "b-1"] {
        bed.until(id, |view| view.status == Status::Terminated).await;
    }
    job(&mut bed, "POST instances/bulk/rewind?runtimeStatus=Failed").await;
    bed.client().wait(&named("failed")).await.expect("it ends again");
    job(&mut bed, "POST instances/bulk/purge?all=true").await;
    for id in ["a-1", "failed", "done"] {
        assert!(bed.client().get(&named(id)).await.is_err(), "{id}");
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_meant_is_refused() {
    let mut bed = bed().await;
    bed.post("POST instances/bulk/terminate", "").await;
    bed.post("POST instances/bulk/explode?all=true", "").await;
    bed.post("POST instances/bulk/purge?runtimeStatus=Running", "").await;
    bed.post("POST instances/bulk/purge?kind=entity", "").await;
    bed.post("POST instances/bulk/suspend?all=maybe", "").await;
    bed.ask("GET instances/bulk/terminate").await;
    insta::assert_snapshot!(bed.transcript());
}
