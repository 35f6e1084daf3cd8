//! Queue triggers over the service in this process, over a process that is killed, and over an Azurite.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use everstep::Failure;
use everstep_storage::service::ServiceOptions;
use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::{
    FunctionApp, Queue as Messages, QueueCall, StartArgs,
    start::testing::{Running, folder, nothing},
};

/// An app whose function `Save` tells of its calls and then does what `code` says.
fn app<F>(code: F) -> (FunctionApp, mpsc::UnboundedReceiver<QueueCall>)
where
    F: Fn(&QueueCall) -> Result<(), Failure> + Clone + Send + Sync + 'static,
{
    let (ran, runs) = mpsc::unbounded_channel();
    let save = move |call: QueueCall| {
        let ended = code(&call);
        let told = ran.send(call);
        async move {
            told.unwrap();
            ended
        }
    };
    (nothing().queue("Save", Messages::new("orders"), save), runs)
}

fn fails(_: &QueueCall) -> Result<(), Failure> {
    Err(Failure::new("Wrong", "it went wrong"))
}

async fn send(host: &Running, text: &str) {
    let text = Encoding::Base64.encode(text);
    host.connection().await.send("orders", &text).await.unwrap();
}

/// How many messages are in a queue.
async fn count(host: &Running, queue: &str) -> u64 {
    let connection = host.connection().await;
    connection.queues().unwrap().properties(queue).await.unwrap().approximate_messages
}

#[tokio::test]
async fn a_message_runs_the_function_with_its_data_and_is_gone() {
    let (app, mut runs) = app(|_| Ok(()));
    let mut host = Running::open(app).await.listening().await;
    send(&host, r#"{"id": "mine", "Id": 1, "order": {"no": 7}}"#).await;
    let call = runs.recv().await.unwrap();
    assert_eq!(call.text(), r#"{"id": "mine", "Id": 1, "order": {"no": 7}}"#);
    assert_eq!(call.json::<Value>().unwrap()["order"]["no"], 7);
    assert_eq!(call.data("dequeuecount"), Some(&json!(1)));
    assert_eq!(call.data("order"), Some(&json!({ "no": 7 })));
    assert_eq!(call.data("QueueTrigger"), Some(&json!(call.text())));
    assert_eq!(call.data("id"), Some(&json!("mine")));
    assert!(call.data("Id").unwrap().is_string(), "it is the message's own");
    for time in ["InsertionTime", "ExpirationTime", "NextVisibleTime"] {
        let text = call.data(time).unwrap().as_str().unwrap();
        assert!(text.len() == 25 && text.ends_with("+00:00"), "{time}: {text}");
    }
    assert!(!call.data("PopReceipt").unwrap().as_str().unwrap().is_empty());
    host.deafen().await;
    assert_eq!((count(&host, "orders").await, count(&host, "orders-poison").await), (0, 0));
    host.stop().await;
}

#[tokio::test]
async fn what_was_sent_while_nobody_listened_is_worked_on_and_plain_text_is_taken_as_it_is() {
    let (app, mut runs) = app(|_| Ok(()));
    let host = Running::open(app).await;
    let connection = host.connection().await;
    for text in ["not base64", "abcd", &Encoding::Base64.encode("encoded")] {
        connection.send("orders", text).await.unwrap();
    }
    let host = host.listening().await;
    let mut texts = Vec::new();
    for _ in 0..3 {
        texts.push(runs.recv().await.unwrap().text());
    }
    texts.sort();
    assert_eq!(texts, ["abcd", "encoded", "not base64"]);
    host.stop().await;
}

#[tokio::test]
async fn a_message_that_always_fails_ends_in_the_poison_queue() {
    let (app, mut runs) = app(fails);
    let text = r#"{"version": "2.0", "extensions": {"queues": {"maxDequeueCount": 2}}}"#;
    let mut host = Running::with_file(app, "host.json", text).await.listening().await;
    send(&host, "bad").await;
    for times in 1..=2 {
        let call = runs.recv().await.unwrap();
        assert_eq!(call.data("DequeueCount"), Some(&json!(times)));
    }
    let connection = host.connection().await;
    connection.service.as_ref().unwrap().arrival("orders-poison").await;
    let put_aside = connection.queues().unwrap().peek("orders-poison", 2).await.unwrap();
    assert_eq!(put_aside.len(), 1);
    assert_eq!(put_aside[0].text, Encoding::Base64.encode("bad"));
    host.deafen().await;
    assert_eq!(count(&host, "orders").await, 0);
    assert!(runs.try_recv().is_err());
    host.stop().await;
}

#[tokio::test]
async fn a_retry_policy_is_used_up_before_the_message_counts_as_failed() {
    let (app, mut runs) = app(|call| if call.retries() == 0 { fails(call) } else { Ok(()) });
    let text = r#"{"version": "2.0", "retry": {"strategy": "fixedDelay", "maxRetryCount": 1, "delayInterval": "00:00:00"}}"#;
    let mut host = Running::with_file(app, "host.json", text).await.listening().await;
    send(&host, "again").await;
    for retries in 0..2 {
        let call = runs.recv().await.unwrap();
        assert_eq!((call.retries(), call.data("DequeueCount")), (retries, Some(&json!(1))));
    }
    host.deafen().await;
    assert_eq!((count(&host, "orders").await, count(&host, "orders-poison").await), (0, 0));
    host.stop().await;
}

#[tokio::test]
async fn a_host_that_is_held_or_draining_takes_nothing_until_it_may() {
    let may = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&may);
    let (app, mut runs) = app(move |_| {
        assert!(seen.load(Ordering::SeqCst), "it is too early");
        Ok(())
    });
    let host = Running::held(app).await.listening().await;
    let mut released = "POST /admin/host/release";
    for text in ["held", "draining"] {
        may.store(false, Ordering::SeqCst);
        if text == "draining" {
            assert_eq!(host.ask("POST /admin/host/drain", "").await.status, 202);
            released = "POST /admin/host/resume";
        }
        send(&host, text).await;
        may.store(true, Ordering::SeqCst);
        assert!(host.ask(released, "").await.status < 300);
        assert_eq!(runs.recv().await.unwrap().text(), text);
    }
    host.stop().await;
}

#[tokio::test]
async fn a_function_gets_no_more_messages_than_it_may_run() {
    let running = Arc::new(AtomicU32::new(0));
    let (ran, mut runs) = mpsc::unbounded_channel();
    let save = move |call: QueueCall| {
        let (running, ran) = (Arc::clone(&running), ran.clone());
        async move {
            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "another one runs");
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            ran.send(call.text()).unwrap();
            Ok::<(), Failure>(())
        }
    };
    let text = r#"{"version": "2.0", "extensions": {"everstep": {"functions": {"Save": {"maxConcurrency": 1}}}}}"#;
    let app = nothing().queue("Save", Messages::new("orders"), save);
    let host = Running::with_file(app, "host.json", text).await;
    let limits = limits(&host.site, "Save");
    assert_eq!((limits.batch_size, limits.new_batch_threshold), (1, 0));
    for number in 0..10 {
        send(&host, &number.to_string()).await;
    }
    let host = host.listening().await;
    let mut texts = Vec::new();
    for _ in 0..10 {
        texts.push(runs.recv().await.unwrap());
    }
    texts.sort();
    assert_eq!(texts, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    host.stop().await;
}

#[tokio::test]
async fn a_function_that_is_switched_off_gets_no_messages() {
    let (app, mut runs) = app(|_| Ok(()));
    let text = r#"{"IsEncrypted": false, "Values": {"AzureWebJobs.Save.Disabled": "true"}}"#;
    let mut host = Running::with_file(app, "local.settings.json", text).await.listening().await;
    send(&host, "never").await;
    host.deafen().await;
    assert!(runs.try_recv().is_err());
    assert_eq!(count(&host, "orders").await, 1);
    host.stop().await;
}

#[tokio::test]
async fn a_setting_names_the_queue_and_another_the_account() {
    let (app, _) = app(|_| Ok(()));
    let code = |_: QueueCall| async { Ok::<(), Failure>(()) };
    let app = app
        .queue("Named", Messages::new("%QUEUE%"), code)
        .queue("Odd", Messages::new("%ODD%"), code)
        .queue("Bad", Messages::new("orders").connection("ORDERS"), code)
        .queue("Identity", Messages::new("orders").connection("STORE"), code);
    let text = r#"{"IsEncrypted": false, "Values": {"QUEUE": "Named-Queue", "ODD": "a_b", "ORDERS": "AccountName", "STORE__credential": "key"}}"#;
    let host = Running::with_file(app, "local.settings.json", text).await;
    assert!(host.site.function("Named").is_some());
    let faults: Vec<String> = host
        .site
        .faults
        .iter()
        .map(|(name, faults)| format!("{name}: {}", faults.join(" ")))
        .collect();
    assert_eq!(
        faults,
        [
            "bad: the setting `ORDERS`: part 1 of the connection string has no `=`; parts are `Name=value`, separated by `;`",
            "identity: the setting `STORE__credential` is `key`; write `managedidentity`, or leave it out",
            "odd: function `Odd`, binding `message` (queueTrigger): `queueName` is \"a_b\"; a name has 3 to 63 lower-case letters, digits and single hyphens, and neither begins nor ends with a hyphen",
        ]
    );
    host.stop().await;
}

#[tokio::test]
async fn an_activity_sends_and_a_function_runs() {
    let (app, mut runs) = app(|_| Ok(()));
    let (told, mut tell) = mpsc::unbounded_channel();
    let start = move |call: crate::HttpCall| {
        let told = told.clone();
        async move {
            let services = call.services();
            let sent = services.send("", "orders", "from afar", crate::Encoding::Base64).await?;
            let wrong = services.send("", "Bad", "", crate::Encoding::None).await.unwrap_err();
            told.send((sent.message_id, wrong.message)).unwrap();
            let box_ = services.blobs("", "box");
            assert_eq!(box_.get("a").await?, None);
            box_.put("a", "content").await?;
            assert_eq!(box_.get("a").await?.as_deref(), Some(&b"content"[..]));
            box_.delete("a").await?;
            box_.delete("a").await?;
            Ok::<_, Failure>("sent")
        }
    };
    let app = app.http("Send", crate::Http::post("send"), start);
    let host = Running::open(app).await.listening().await;
    assert_eq!(host.ask("POST /api/send", "").await.body, "sent");
    let (id, wrong) = tell.recv().await.unwrap();
    let call = runs.recv().await.unwrap();
    assert_eq!((call.text().as_str(), call.data("Id")), ("from afar", Some(&json!(id))));
    assert_eq!(
        wrong,
        "putting a message into queue `Bad`: a name has 3 to 63 lower-case letters, digits and single hyphens, and neither begins nor ends with a hyphen"
    );
    host.stop().await;
}

const FOLDER: &str = "EVERSTEP_HOST_FOLDER";

/// Not a test of its own: a host that is killed while it works on a message.
#[tokio::test]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let hangs = |_: QueueCall| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "working").unwrap();
        out.flush().unwrap();
        std::future::pending::<Result<(), Failure>>()
    };
    let app = nothing().queue("Save", Messages::new("orders"), hangs);
    let host = Running::start(app, PathBuf::from(folder), StartArgs::default()).await;
    let host = host.listening().await;
    send(&host, "survivor").await;
    std::future::pending::<()>().await;
}

#[tokio::test]
#[cfg(unix)]
async fn a_message_in_work_comes_back_after_a_kill() {
    let folder = folder();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "triggers::queue::tests::child", "--nocapture"])
        .env(FOLDER, &folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with("working")));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "only a signal ends it");

    let (app, mut runs) = app(|_| Ok(()));
    let later = || SystemTime::now() + LEASE_EMBEDDED;
    let service = ServiceOptions { clock: Arc::new(later) };
    let host = Running::start_with(app, folder, StartArgs::default(), service).await;
    let mut host = host.listening().await;
    let call = runs.recv().await.unwrap();
    assert_eq!((call.text().as_str(), call.data("DequeueCount")), ("survivor", Some(&json!(2))));
    host.deafen().await;
    assert_eq!(count(&host, "orders").await, 0);
    host.stop().await;
}

#[tokio::test]
#[ignore = "needs azurite"]
async fn an_azurite_of_somebody_else_serves_as_well() {
    let connection =
        std::env::var("EVERSTEP_AZURITE").expect("the connection string of an Azurite");
    let values = json!({ "IsEncrypted": false, "Values": { "AzureWebJobsStorage": connection } });
    let (app, mut runs) = app(|call| if call.text() == "bad" { fails(call) } else { Ok(()) });
    let folder = folder();
    std::fs::write(folder.join("local.settings.json"), values.to_string()).unwrap();
    let host_json = r#"{"version": "2.0", "extensions": {"queues": {"maxDequeueCount": 2}}}"#;
    std::fs::write(folder.join("host.json"), host_json).unwrap();
    let host = Running::start(app, folder, StartArgs::default()).await;
    let connection = host.connection().await;
    assert!(connection.service.is_none());
    let queues = connection.queues().unwrap();
    for queue in ["orders", "orders-poison"] {
        queues.create(queue).await.unwrap();
        queues.clear(queue).await.unwrap();
    }
    let mut host = host.listening().await;
    send(&host, "good").await;
    assert_eq!(runs.recv().await.unwrap().text(), "good");
    send(&host, "bad").await;
    for times in 1..=2 {
        assert_eq!(runs.recv().await.unwrap().data("DequeueCount"), Some(&json!(times)));
    }
    host.deafen().await;
    assert_eq!((count(&host, "orders").await, count(&host, "orders-poison").await), (0, 1));
    host.stop().await;
}
