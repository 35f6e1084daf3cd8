//! `POST instances/{id}/{operation}`

use everstep_http::Compat;

use crate::support::{Bed, named};

/// One instance of each kind of status.
async fn bed(compat: Compat) -> Bed {
    let bed = Bed::with(|options| options.compat = compat);
    bed.start("Wait", "running", "null").await;
    bed.start("Hello", "done", "null").await;
    bed.start("Fail", "failed", "null").await;
    bed.start("Wait", "suspended", "null").await;
    bed.client().suspend(&named("suspended"), "").await.expect("it is held");
    bed.until("suspended", |view| view.status == everstep_model::Status::Suspended).await;
    bed
}

const IDS: [&str; 5] = ["running", "done", "failed", "suspended", "missing"];

#[tokio::test]
async fn an_event_needs_an_instance_that_lives_and_json() {
    let mut bed = bed(Compat::V3).await;
    for id in ["missing", "done", "failed"] {
        bed.full(&format!("POST instances/{id}/raiseEvent/Go"), &[], "nonsense").await;
    }
    bed.full("POST instances/running/raiseEvent/Go", &[("content-type", "text/plain")], "{").await;
    bed.full("POST instances/running/raiseEvent/Go", &[], "1").await;
    bed.post("POST instances/running/raiseEvent/Go", "{").await;
    bed.post("POST instances/running/raiseEvent/Go", "").await;
    bed.post("POST instances/@counter@a/raiseEvent/Go", "1").await;
    bed.post("POST instances/suspended/raiseEvent/Go", "1").await;
    let charset = [("content-type", "Application/JSON; charset=utf-8")];
    bed.full("POST instances/running/RaiseEvent/GO", &charset, "{\"x\":  1}").await;
    bed.ask("GET instances/running?wait=30s").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn terminate_fits_what_has_not_ended() {
    let mut bed = bed(Compat::V3).await;
    for id in IDS {
        bed.ask(&format!("POST instances/{id}/terminate?reason=it+was%20time")).await;
    }
    bed.ask("GET instances/running?wait=30s").await;
    bed.ask("POST instances/@counter@a/terminate").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn terminate_takes_children_unless_it_is_told_not_to_or_is_of_version_2() {
    for (compat, query, expected) in [
        (Compat::V3, "", "Terminated"),
        (Compat::V3, "?recursive=false", "Running"),
        (Compat::V2, "", "Running"),
        (Compat::V2, "?recursive=true", "Terminated"),
    ] {
        let mut bed = Bed::with(|options| options.compat = compat);
        bed.start("Nap", "a", "null").await;
        assert_eq!(bed.ask(&format!("POST instances/a/terminate{query}")).await.0, 202);
        bed.client().wait(&named("a")).await.expect("it ends");
        if expected == "Terminated" {
            bed.client().wait(&named("the-sleeper")).await.expect("it ends");
        }
        let child = bed.client().get(&named("the-sleeper")).await.expect("it is there");
        assert_eq!(child.status.name(), expected, "{compat:?} {query}");
    }
}

#[tokio::test]
async fn suspend_fits_what_runs_and_resume_what_is_suspended() {
    let mut bed = bed(Compat::V3).await;
    for id in IDS {
        bed.ask(&format!("POST instances/{id}/suspend?reason=r")).await;
    }
    bed.until("running", |view| view.status == everstep_model::Status::Suspended).await;
    for id in IDS {
        bed.ask(&format!("POST instances/{id}/resume")).await;
    }
    bed.until("running", |view| view.status == everstep_model::Status::Running).await;
    bed.ask("POST instances/running/resume").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn rewind_fits_what_has_failed() {
    let mut bed = bed(Compat::V3).await;
    for id in IDS {
        bed.ask(&format!("POST instances/{id}/rewind?reason=once+more")).await;
    }
    bed.ask("POST instances/a%01/rewind").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn rewind_in_version_2_has_other_codes() {
    let mut bed = bed(Compat::V2).await;
    for id in IDS {
        bed.ask(&format!("POST instances/{id}/rewind?reason=once+more")).await;
    }
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn unpark_fits_what_has_not_ended() {
    let mut bed = bed(Compat::V3).await;
    for id in IDS {
        bed.ask(&format!("POST instances/{id}/unpark")).await;
    }
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_parameter_of_ours_that_cannot_be_read_is_answered_with_what_to_write() {
    let mut bed = bed(Compat::V3).await;
    bed.ask("POST instances/running/terminate?recursive=perhaps").await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn a_plus_in_a_path_is_a_blank_in_version_3() {
    for (compat, event) in [(Compat::V2, "a+b"), (Compat::V3, "a b")] {
        let mut bed = bed(compat).await;
        bed.post("POST instances/running/raiseEvent/a+b", "1").await;
        let history = bed.client().history(&named("running")).await.expect("a history");
        let raised = history.iter().any(|found| {
            matches!(found, everstep_model::Event::EventRaised { name, .. } if name == event)
        });
        assert!(raised, "{history:?}");
    }
}
