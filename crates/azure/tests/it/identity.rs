//! Tokens: where they come from, how long they are kept, what happens when none comes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use everstep_azure::{
    Clock,
    identity::{Identity, MONITOR, STORAGE, Waits},
    retry::Policy,
};
use everstep_stand_ins::{Fault, Rule, identity as service};
use tokio::task::JoinSet;

use crate::setup::{AT_ONCE, identity, identity_of};

/// A clock that a test moves on.
fn moving_clock() -> (Arc<AtomicU64>, Clock) {
    let seconds = Arc::new(AtomicU64::new(0));
    let moved = Arc::clone(&seconds);
    let clock: Clock =
        Arc::new(move || SystemTime::now() + Duration::from_secs(moved.load(Ordering::Relaxed)));
    (seconds, clock)
}

fn with_clock(service: &service::Identity, clock: Clock) -> Identity {
    let waits = Waits { busy: Policy { attempts: 2, ..AT_ONCE }, updating: AT_ONCE };
    identity_of(&service.settings()).with(waits, clock)
}

#[tokio::test]
async fn all_three_sources_give_tokens() {
    let service = service::Identity::start().await;
    let folder = tempfile::tempdir().unwrap();
    let all = [
        service.settings(),
        service.machine_settings(),
        service.workload_settings(folder.path()).unwrap(),
    ];
    for settings in &all {
        let token = identity_of(settings).token(MONITOR).await.unwrap();
        assert_eq!(token.secret().split('.').count(), 3);
    }
    let operations = ["AppServiceToken", "MachineProbe", "MachineToken", "WorkloadToken"];
    assert_eq!(operations.map(|operation| service.calls(operation)), [1; 4]);
}

#[tokio::test]
async fn a_token_is_kept_until_five_minutes_before_its_end() {
    let service = service::Identity::start().await;
    service.lifetime(Duration::from_hours(1));
    let (moved, clock) = moving_clock();
    let identity = with_clock(&service, clock);
    let first = identity.token(MONITOR).await.unwrap();
    moved.store(54 * 60, Ordering::Relaxed);
    assert_eq!(identity.token(MONITOR).await.unwrap(), first);
    assert_ne!(identity.token(STORAGE).await.unwrap(), first);
    moved.store(56 * 60, Ordering::Relaxed);
    assert_ne!(identity.token(MONITOR).await.unwrap(), first);
    assert_eq!(service.calls("AppServiceToken"), 3);
}

#[tokio::test]
async fn the_old_token_serves_to_its_end_while_there_is_no_new_one() {
    let service = service::Identity::start().await;
    service.lifetime(Duration::from_hours(1));
    let (moved, clock) = moving_clock();
    let identity = with_clock(&service, clock);
    let first = identity.token(MONITOR).await.unwrap();
    service.faults().add(Rule::new(Fault::refuse(503, "busy")).always());
    moved.store(58 * 60, Ordering::Relaxed);
    assert_eq!(identity.token(MONITOR).await.unwrap(), first);
    moved.store(61 * 60, Ordering::Relaxed);
    let error = identity.token(MONITOR).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the identity endpoint (`IDENTITY_ENDPOINT`) has no token for `https://monitor.azure.com/` at present (503); try again later"
    );
}

#[tokio::test]
async fn many_who_ask_at_once_cause_one_request_also_when_it_fails() {
    let (service, identity) = identity().await;
    let ask = async |identity: &Identity| {
        let mut asking = JoinSet::new();
        for _ in 0..50 {
            let identity = identity.clone();
            asking.spawn(async move { identity.token(MONITOR).await });
        }
        asking.join_all().await
    };
    service.faults().latency(Duration::from_millis(20));
    service.faults().add(Rule::new(Fault::refuse(400, "no")));
    let answers = ask(&identity).await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    // Who asks only after the failure asks anew.
    assert!(failed >= 1 && service.calls("AppServiceToken") <= 2, "{failed}");
    let before = service.calls("AppServiceToken");
    let answers = ask(&identity).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(service.calls("AppServiceToken") <= before + 1);
}

#[tokio::test]
async fn a_metadata_service_that_is_not_ready_is_asked_again() {
    let service = service::Identity::start().await;
    for status in [404, 410, 429, 500] {
        service.faults().add(Rule::new(Fault::refuse(status, "later")).on("MachineToken"));
    }
    let identity = identity_of(&service.machine_settings());
    identity.token(MONITOR).await.unwrap();
    assert_eq!(service.calls("MachineToken"), 5);
    // The endpoint of App Service is either there or wrong: 404 is final.
    service.faults().add(Rule::new(Fault::refuse(404, "no")).on("AppServiceToken"));
    let error = identity_of(&service.settings()).token(MONITOR).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the identity endpoint (`IDENTITY_ENDPOINT`) refused a token for `https://monitor.azure.com/` (404): This failure was asked for."
    );
}

#[tokio::test]
async fn without_any_identity_the_text_says_what_was_looked_for() {
    let gone = service::Identity::start().await.machine_settings();
    let error = identity_of(&gone).token(MONITOR).await.unwrap_err().to_string();
    assert!(
        error.starts_with("no identity is here: neither `AZURE_FEDERATED_TOKEN_FILE` nor `IDENTITY_ENDPOINT` is set, and no metadata service answers ("),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_token_file_is_named_by_its_variable() {
    let service = service::Identity::start().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = service.workload_settings(folder.path()).unwrap();
    drop(folder);
    let error = identity_of(&settings).token(MONITOR).await.unwrap_err().to_string();
    assert!(
        error.starts_with("the file that `AZURE_FEDERATED_TOKEN_FILE` names cannot be read: "),
        "{error}"
    );
}
