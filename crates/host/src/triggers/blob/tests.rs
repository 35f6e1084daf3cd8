//! Blob triggers over the service in this process, over an account far away, and over events.

use everstep::Failure;
use everstep_storage::{
    account::Account,
    client::{Encoding, Metadata, PutBlob},
};
use tokio::sync::mpsc;

use super::*;
use crate::{
    Blob, BlobCall, FunctionApp, StartArgs,
    start::testing::{Running, nothing},
};

/// An app whose function `Read` tells of its calls; a blob with the content `bad` fails.
fn app(path: &str) -> (FunctionApp, mpsc::UnboundedReceiver<BlobCall>) {
    let (ran, runs) = mpsc::unbounded_channel();
    let read = move |call: BlobCall| {
        let is_bad = call.text() == "bad";
        let told = ran.send(call);
        async move {
            told.unwrap();
            if is_bad { Err(Failure::new("Wrong", "a bad blob")) } else { Ok(()) }
        }
    };
    (nothing().blob("Read", Blob::new(path), read), runs)
}

async fn put(host: &Running, name: &str, content: &'static str) {
    let metadata = Metadata::from([("owner".to_owned(), "me".to_owned())]);
    let how = PutBlob { content_type: "text/plain".to_owned(), metadata, ..PutBlob::default() };
    let content = Bytes::from_static(content.as_bytes());
    host.connection().await.write("inbox", name, content, &how).await.unwrap();
}

#[tokio::test]
async fn each_version_of_a_blob_runs_the_function_once_and_a_restart_changes_nothing() {
    let (first, mut runs) = app("inbox/{name}.{ext}");
    let host = Running::open(first).await;
    put(&host, "other", "no extension").await;
    put(&host, "dir/a b.txt", "one").await;
    let host = host.listening().await;
    let call = runs.recv().await.unwrap();
    assert_eq!(call.text(), "one");
    assert_eq!(call.data("name"), Some(&json!("dir/a b")));
    assert_eq!(call.data("ext"), Some(&json!("txt")));
    assert_eq!(call.data("BlobTrigger"), Some(&json!("inbox/dir/a b.txt")));
    assert_eq!(call.data("Metadata"), Some(&json!({ "owner": "me" })));
    let properties = call.data("Properties").unwrap();
    assert_eq!(
        (&properties["ContentLength"], &properties["ContentType"]),
        (&json!(3), &json!("text/plain"))
    );
    assert!(
        call.data("Uri")
            .unwrap()
            .as_str()
            .unwrap()
            .ends_with("/devstoreaccount1/inbox/dir/a%20b.txt")
    );
    put(&host, "dir/a b.txt", "two").await;
    assert_eq!(runs.recv().await.unwrap().text(), "two");
    let folder = host.leave().await;

    let (again, mut runs) = app("inbox/{name}.{ext}");
    let host = Running::start(again, folder, StartArgs::default()).await.listening().await;
    put(&host, "b.txt", "three").await;
    assert_eq!(runs.recv().await.unwrap().text(), "three");
    let folder = host.leave().await;
    assert!(runs.try_recv().is_err());
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_blob_that_always_fails_is_told_of_in_the_poison_queue() {
    let (app, mut runs) = app("inbox");
    let text = r#"{"version": "2.0", "extensions": {"blobs": {"poisonBlobThreshold": 2}}}"#;
    let mut host = Running::with_file(app, "host.json", text).await.listening().await;
    put(&host, "a", "bad").await;
    for _ in 0..2 {
        assert_eq!(runs.recv().await.unwrap().text(), "bad");
    }
    let connection = host.connection().await;
    connection.service.as_ref().unwrap().arrival(POISON).await;
    let told = connection.queues().unwrap().peek(POISON, 2).await.unwrap().remove(0);
    let told = Encoding::Base64.decode(&told.text).unwrap();
    let mut told: Value = serde_json::from_slice(&told).unwrap();
    let etag = told["ETag"].take();
    assert_eq!(etag, json!(connection.blobs().unwrap().head("inbox", "a").await.unwrap().etag));
    assert_eq!(
        told,
        json!({
            "Type": "BlobTrigger", "FunctionId": "Host.Functions.Read", "BlobType": "BlockBlob",
            "ContainerName": "inbox", "BlobName": "a", "ETag": null
        })
    );
    host.deafen().await;
    assert!(runs.try_recv().is_err());
    host.stop().await;
}

#[tokio::test]
async fn a_blob_that_took_the_process_down_too_often_is_not_begun_again() {
    let (app, mut runs) = app("inbox");
    let host = Running::open(app).await;
    put(&host, "killer", "fine").await;
    let receipts = Receipts::open(&host.site.folder.join("blobs/read.jsonl")).unwrap();
    let etag = host.connection().await.blobs().unwrap().head("inbox", "killer").await.unwrap().etag;
    for _ in 0..5 {
        receipts.begin("killer", &etag).unwrap();
        receipts.release("killer", &etag);
    }
    drop(receipts);
    let mut host = host.listening().await;
    host.connection().await.service.as_ref().unwrap().arrival(POISON).await;
    host.deafen().await;
    assert!(runs.try_recv().is_err());
    host.stop().await;
}

/// An app whose function hears of blobs from Event Grid.
fn eventful() -> (FunctionApp, mpsc::UnboundedReceiver<BlobCall>) {
    let (ran, runs) = mpsc::unbounded_channel();
    let read = move |call: BlobCall| {
        let told = ran.send(call);
        async move {
            told.unwrap();
            Ok::<(), Failure>(())
        }
    };
    (nothing().blob("Read", Blob::new("inbox/{name}.txt").event_grid(), read), runs)
}

const HOOK: &str = "POST /runtime/webhooks/blobs?functionName=Host.Functions.Read";

#[tokio::test]
async fn event_grid_is_answered_and_what_it_tells_is_worked_on() {
    let (app, mut runs) = eventful();
    let host = Running::open(app).await;
    // It was there before anybody listened, and only an event tells of it.
    put(&host, "a.txt", "old").await;
    let host = host.listening().await;
    let validation = [("aeg-event-type", "SubscriptionValidation")];
    let body = r#"[{"data": {"validationCode": "512d"}}]"#;
    let answer = host.ask_with(HOOK, &validation, body).await;
    assert_eq!((answer.status, &*answer.body), (200, r#"{"validationResponse":"512d"}"#));
    let notification = [("aeg-event-type", "Notification")];
    let event = |kind: &str, path: &str| {
        let subject = format!("/blobServices/default/containers/{path}");
        json!({ "eventType": kind, "subject": subject, "data": { "eTag": "0x1" } })
    };
    let created = "Microsoft.Storage.BlobCreated";
    let events = json!([
        event("Microsoft.Storage.BlobDeleted", "inbox/blobs/a.txt"),
        event(created, "elsewhere/blobs/a.txt"),
        event(created, "inbox/blobs/a.json"),
        event(created, "inbox/blobs/gone.txt"),
        event(created, "inbox/blobs/a.txt"),
    ]);
    let answer = host.ask_with(HOOK, &notification, &events.to_string()).await;
    assert_eq!((answer.status, &*answer.body), (202, ""));
    let call = runs.recv().await.unwrap();
    assert_eq!((call.text().as_str(), call.data("name")), ("old", Some(&json!("a"))));
    let elsewhere = "POST /runtime/webhooks/blobs?functionName=Host.Functions.Other";
    let answer = host.ask_with(elsewhere, &notification, "[]").await;
    assert_eq!(
        (answer.status, &*answer.body),
        (404, "cannot find function: 'Host.Functions.Other'")
    );
    let answer = host.ask_with(HOOK, &notification, "{").await;
    assert_eq!(answer.status, 400);
    let folder = host.leave().await;
    assert!(runs.try_recv().is_err());
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn what_event_grid_told_before_a_restart_is_not_forgotten() {
    let (first, _) = eventful();
    let host = Running::held(first).await;
    put(&host, "a.txt", "kept").await;
    let host = host.listening().await;
    let notification = [("aeg-event-type", "Notification")];
    let event = json!({
        "eventType": "Microsoft.Storage.BlobCreated",
        "subject": "/blobServices/default/containers/inbox/blobs/a.txt",
    });
    assert_eq!(host.ask_with(HOOK, &notification, &event.to_string()).await.status, 202);
    let folder = host.leave().await;
    let (again, mut runs) = eventful();
    let host = Running::start(again, folder, StartArgs::default()).await.listening().await;
    assert_eq!(runs.recv().await.unwrap().text(), "kept");
    host.stop().await;
}

#[tokio::test]
async fn a_run_by_hand_takes_the_path_of_a_blob() {
    let (app, mut runs) = app("inbox/{name}.txt");
    let host = Running::open(app).await;
    put(&host, "a.txt", "by hand").await;
    let ran = host.ask("POST /admin/functions/Read", r#"{"input": "inbox/a.txt"}"#).await;
    assert_eq!(ran.status, 202);
    let call = runs.recv().await.unwrap();
    assert_eq!((call.text().as_str(), call.data("name")), ("by hand", Some(&json!("a"))));
    host.stop().await;
}

#[tokio::test]
async fn blobs_of_an_account_far_away_are_found_by_looking() {
    let near = Running::open(nothing()).await;
    put(&near, "a.txt", "from far away").await;
    put(&near, "b.txt", "bad").await;
    // `in this process, blobs on http://127.0.0.1:1, queues on http://127.0.0.1:2 (AzureWebJobsStorage)`
    let shown = near.site.storage.shown().await.unwrap();
    let ports: Vec<u16> = shown
        .split(|sign: char| !sign.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect();
    let [blob, queue] = [ports[4], ports[9]];
    let text = Account::local_text(blob, queue);
    let values = json!({ "IsEncrypted": false, "Values": { "AzureWebJobsStorage": text } });
    let (app, mut runs) = app("inbox/{name}.txt");
    let far = Running::with_file(app, "local.settings.json", &values.to_string()).await;
    assert!(far.connection().await.service.is_none());
    let mut far = far.listening().await;
    let mut texts = Vec::new();
    for _ in 0..6 {
        texts.push(runs.recv().await.unwrap().text());
    }
    texts.sort();
    assert_eq!(texts, ["bad", "bad", "bad", "bad", "bad", "from far away"]);
    put(&near, "c.txt", "later").await;
    assert_eq!(runs.recv().await.unwrap().text(), "later");
    near.connection().await.service.as_ref().unwrap().arrival(POISON).await;
    far.deafen().await;
    far.stop().await;
    near.stop().await;
}
