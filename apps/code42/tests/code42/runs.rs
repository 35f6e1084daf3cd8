//! Runs: each weakness of the original by its number in the specification of this app.

use code42::stand_in::{Content, StandIn};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::app::{Folder, gzip, lines, numbers};

const BUCKET: &str = "logs";

#[tokio::test]
async fn a_run_sends_the_objects_of_its_messages_and_deletes_them() {
    let stand_in = StandIn::start().await;
    for number in 0..12 {
        let key = format!("day/{number}.json.gz");
        stand_in.put(BUCKET, &key, lines(number * 10, 10));
        stand_in.notify(BUCKET, &key);
    }
    let folder = Folder::of(&stand_in).with("LOG_ANALYTICS_CHUNK_SIZE", 4);
    let app = folder.start();
    let output = app.run().await;
    for (key, expected) in [
        ("status", json!("completed")),
        ("messages_processed", json!(12)),
        ("messages_deleted", json!(12)),
        ("records_sent", json!(120)),
        ("objects", json!(12)),
        ("skipped_old", json!(0)),
        ("bad_lines", json!(0)),
        ("failed_objects", json!(0)),
        ("stopped_early", json!(false)),
    ] {
        assert_eq!(output[key], expected, "{key}");
    }
    assert_eq!(numbers(&stand_in), (0..120).collect::<Vec<_>>());
    assert_eq!(stand_in.messages(), (0, 0));
    assert_eq!(stand_in.calls("Upload"), 12 * 3);
    assert_eq!(folder.spooled(), 0);
    let row = Value::Object(stand_in.rows().remove(0));
    assert_eq!(row.as_object().unwrap().len(), 4);
    assert_eq!(row["Bucket_Name"], BUCKET);
    assert_eq!(row["Actual_Time"], "2026-11-21T01:02:03Z");
    let status = app.get("/api/code42/status").await;
    assert_eq!(status["running"], false);
    assert_eq!(status["runs"][0]["records_sent"], 120);
    let log = folder.log();
    for text in [
        "Function execution completed in ",
        "Total SQS messages processed: 12",
        "Total SQS messages deleted: 12",
        "Total log records sent: 120",
        "No more messages in the queue.",
    ] {
        assert!(log.contains(text), "{text}");
    }
}

#[tokio::test]
async fn weakness_1_a_message_whose_object_cannot_be_read_stays_and_ends_in_the_quarantine() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "good.gz", lines(0, 3));
    let whole = lines(0, 1000);
    stand_in.put(BUCKET, "corrupt.gz", whole[..whole.len() / 2].to_vec());
    let keys = ["good.gz", "missing.gz", "corrupt.gz"];
    let body = keys.map(|key| json!({ "Bucket Name": BUCKET, "Object Key": key }));
    stand_in.send(json!(body).to_string());
    let folder = Folder::of(&stand_in).with("C42_MAX_RECEIVES", 2);
    let app = folder.start();
    let first = app.run().await;
    assert_eq!(first["status"], "completed_with_errors");
    assert_eq!((&first["messages_deleted"], &first["failed_objects"]), (&json!(0), &json!(2)));
    assert_eq!(stand_in.messages(), (1, 0));
    assert!(app.quarantine().await.is_empty());
    stand_in.show_all();
    let second = app.run().await;
    assert_eq!(second["messages_quarantined"], 1);
    assert_eq!(stand_in.messages(), (0, 0));
    let entries = app.quarantine().await;
    let causes: Vec<&str> = entries.iter().map(|entry| entry["cause"].as_str().unwrap()).collect();
    assert_eq!(
        causes,
        [
            "the object store at AWS refused (404 NotFound): there is no such object or bucket",
            "the object cannot be read: incomplete deflate stream"
        ]
    );
    assert_eq!(entries[0]["key"], "missing.gz");
    assert!(entries[0]["text"].as_str().unwrap().contains("good.gz"));
    // What could be read was sent, once.
    assert_eq!(numbers(&stand_in), [0, 1, 2]);
}

#[tokio::test]
async fn weakness_1_a_queue_with_a_redrive_policy_puts_messages_aside_itself() {
    let stand_in = StandIn::start().await;
    stand_in.redrive_after(1);
    stand_in.notify(BUCKET, "missing.gz");
    // The queue's own limit counts, not that of the settings.
    let folder = Folder::of(&stand_in).with("C42_MAX_RECEIVES", 5);
    let app = folder.start();
    assert_eq!(app.run().await["messages_quarantined"], 1);
    assert_eq!(stand_in.messages(), (1, 0));
    stand_in.show_all();
    assert_eq!(app.run().await["messages_processed"], 0);
    assert_eq!(stand_in.dead().len(), 1);
    assert_eq!(app.quarantine().await.len(), 1);
}

#[tokio::test]
async fn weakness_1_a_message_is_not_put_aside_for_what_is_wrong_with_a_service() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "a.gz", lines(0, 3));
    stand_in.notify(BUCKET, "a.gz");
    stand_in.fail("Upload", 403, "Forbidden", u64::MAX);
    let folder = Folder::of(&stand_in).with("C42_MAX_RECEIVES", 1);
    let app = folder.start();
    let first = app.run().await;
    assert_eq!(
        (&first["status"], &first["failed_objects"]),
        (&json!("completed_with_errors"), &json!(1))
    );
    assert!(app.quarantine().await.is_empty());
    stand_in.mend();
    stand_in.show_all();
    assert_eq!(app.run().await["messages_deleted"], 1);
    assert_eq!(numbers(&stand_in), [0, 1, 2]);
}

#[tokio::test]
async fn weakness_2_all_shapes_of_notices_are_understood_and_others_are_kept() {
    let stand_in = StandIn::start().await;
    for (number, key) in (0..).zip(["raw 1.gz", "topic.gz", "event.gz"]) {
        stand_in.put(BUCKET, key, lines(number, 1));
    }
    let record = |key: &str| {
        json!({ "Records": [{
            "eventName": "ObjectCreated:Put", "eventTime": "2026-11-21T00:00:00Z",
            "s3": { "bucket": { "name": BUCKET }, "object": { "key": key } },
        }] })
    };
    stand_in.send(record("raw+1.gz").to_string());
    let topic = json!({ "Type": "Notification", "Message": record("topic.gz").to_string() });
    stand_in.send(topic.to_string());
    let event = json!({
        "source": "aws.s3", "detail-type": "Object Created", "time": "2026-11-21T00:00:00Z",
        "detail": { "bucket": { "name": BUCKET }, "object": { "key": "event.gz" } },
    });
    stand_in.send(event.to_string());
    stand_in.send(json!({ "Service": "Amazon S3", "Event": "s3:TestEvent" }).to_string());
    stand_in.send("[]");
    stand_in.send("hello");
    let folder = Folder::of(&stand_in).with("C42_MAX_RECEIVES", 1);
    let app = folder.start();
    let output = app.run().await;
    assert_eq!(
        (&output["messages_deleted"], &output["messages_processed"]),
        (&json!(5), &json!(6))
    );
    assert_eq!(output["notices_without_objects"], 2);
    assert_eq!(numbers(&stand_in), [0, 1, 2]);
    let entries = app.quarantine().await;
    assert_eq!((entries.len(), &entries[0]["text"]), (1, &json!("hello")));
}

#[tokio::test]
async fn weakness_3_old_objects_are_skipped_counted_and_listed_unless_told_otherwise() {
    let stand_in = StandIn::start().await;
    let old = Timestamp::now() - 49.hours();
    stand_in.put_at(BUCKET, "old.gz", Content::Whole(lines(0, 1).into()), old);
    stand_in.put(BUCKET, "new.gz", lines(1, 1));
    stand_in.put(BUCKET, "other.csv", "a,b");
    stand_in.put(BUCKET, "empty.json", "");
    for key in ["old.gz", "new.gz", "other.csv", "empty.json"] {
        stand_in.notify(BUCKET, key);
    }
    let app = Folder::of(&stand_in);
    let running = app.start();
    let output = running.run().await;
    assert_eq!(output["status"], "completed");
    assert_eq!((&output["skipped_old"], &output["skipped_other"]), (&json!(1), &json!(2)));
    assert_eq!(stand_in.messages(), (0, 0));
    assert_eq!(numbers(&stand_in), [1]);
    let status = running.get("/api/code42/status").await;
    assert_eq!(status["skippedOld"], json!(["logs/old.gz"]));
    drop(running);
    stand_in.notify(BUCKET, "old.gz");
    let app = app.with("C42_MAX_AGE", "off").start();
    assert_eq!(app.run().await["records_sent"], 1);
}

#[tokio::test]
async fn weakness_4_a_key_is_tried_as_given_and_then_decoded() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "a%20b.gz", lines(0, 1));
    stand_in.put(BUCKET, "c d+ї.gz", lines(1, 1));
    stand_in.notify(BUCKET, "a%20b.gz");
    stand_in.notify(BUCKET, "c%20d+%D1%97.gz");
    let folder = Folder::of(&stand_in);
    assert_eq!(folder.start().run().await["status"], "completed");
    assert_eq!(numbers(&stand_in), [0, 1]);
    let keys: Vec<Value> = stand_in.rows().iter().map(|row| row["Key"].clone()).collect();
    assert!(keys.contains(&json!("c%20d+%D1%97.gz")), "{keys:?}");
}

#[tokio::test]
async fn weakness_5_a_bad_line_goes_to_the_quarantine_and_the_rest_is_sent() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "a.gz", gzip("{\"n\":1}\n\nnot json\n{\"n\":2}\n"));
    stand_in.notify(BUCKET, "a.gz");
    let folder = Folder::of(&stand_in);
    let app = folder.start();
    let output = app.run().await;
    assert_eq!(
        (&output["status"], &output["bad_lines"]),
        (&json!("completed_with_errors"), &json!(1))
    );
    assert_eq!(numbers(&stand_in), [1, 2]);
    assert_eq!(stand_in.messages(), (0, 0));
    let entries = app.quarantine().await;
    assert_eq!((&entries[0]["line"], &entries[0]["text"]), (&json!(3), &json!("not json")));
    assert_eq!((&entries[0]["bucket"], &entries[0]["key"]), (&json!(BUCKET), &json!("a.gz")));
    assert_eq!(entries[0]["cause"], "no JSON: expected ident at line 1 column 2");
    let rest = app.get("/api/code42/quarantine?after=1").await;
    assert_eq!(rest, json!({ "entries": [], "next": null }));
    for name in ["after", "limit"] {
        let answer =
            reqwest::get(format!("{}/api/code42/quarantine?{name}=-1", app.url)).await.unwrap();
        assert_eq!(answer.status(), 400);
        let wrong: Value = answer.json().await.unwrap();
        assert_eq!(wrong["error"], format!("`{name}` in the query is no whole number"));
    }
}

#[tokio::test]
async fn weakness_6_a_redelivery_sends_only_what_is_missing() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "a.gz", lines(0, 50));
    stand_in.notify(BUCKET, "a.gz");
    stand_in.fail_after("Upload", 2, 400, 1);
    let folder = Folder::of(&stand_in).with("LOG_ANALYTICS_CHUNK_SIZE", 10);
    let app = folder.start();
    let first = app.run().await;
    assert_eq!((&first["records_sent"], &first["failed_objects"]), (&json!(20), &json!(1)));
    assert_eq!(stand_in.messages(), (1, 0));
    let status = app.get("/api/code42/status").await;
    assert_eq!(status["waitingRecords"], 30);
    stand_in.show_all();
    let second = app.run().await;
    assert_eq!((&second["records_sent"], &second["messages_deleted"]), (&json!(30), &json!(1)));
    assert_eq!(numbers(&stand_in), (0..50).collect::<Vec<_>>());
    // The object was read once.
    assert_eq!(stand_in.calls("GetObject"), 1);
}

#[tokio::test]
async fn weakness_7_a_busy_service_is_asked_again() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "a.gz", lines(0, 5));
    stand_in.notify(BUCKET, "a.gz");
    for operation in ["Upload", "ReceiveMessage", "HeadObject", "GetObject", "DeleteMessage"] {
        stand_in.fail(operation, 503, "SlowDown", 1);
    }
    let folder = Folder::of(&stand_in);
    let output = folder.start().run().await;
    assert_eq!((&output["status"], &output["records_sent"]), (&json!("completed"), &json!(5)));
    assert_eq!(stand_in.calls("Upload"), 2);
}

#[tokio::test]
async fn weakness_9_a_queue_that_cannot_be_read_fails_the_run() {
    let stand_in = StandIn::start().await;
    stand_in.fail("ReceiveMessage", 403, "AccessDenied", u64::MAX);
    let folder = Folder::of(&stand_in);
    let app = folder.start();
    app.start_run().await;
    let view = app.ended().await;
    assert_eq!(view["runtimeStatus"], "Failed");
    let cause = "the queue at AWS refused (403 AccessDenied): on demand; allow the role sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility";
    assert!(view["output"].as_str().unwrap().contains(cause), "{view}");
    let status = app.get("/api/code42/status").await;
    assert_eq!(
        (&status["runs"][0]["status"], &status["runs"][0]["cause"]),
        (&json!("failed"), &json!(cause))
    );
}

#[tokio::test]
async fn weakness_10_messages_are_kept_invisible_while_they_are_worked_on() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "a.gz", lines(0, 5));
    stand_in.notify(BUCKET, "a.gz");
    stand_in.hang("GetObject", 0);
    let folder = Folder::of(&stand_in).with("C42_VISIBILITY_SECONDS", 3);
    let app = folder.start();
    app.start_run().await;
    app.at_work_until(stand_in.asked("ChangeMessageVisibility", 4)).await;
    assert_eq!(stand_in.messages(), (1, 0));
}

#[tokio::test]
async fn weakness_10_a_graceful_stop_lets_go_of_what_was_not_begun() {
    let stand_in = StandIn::start().await;
    for (number, key) in (0..).zip(["a.gz", "b.gz", "c.gz"]) {
        stand_in.put(BUCKET, key, lines(number, 1));
        stand_in.notify(BUCKET, key);
    }
    // Two waits are longer than the run may take.
    stand_in.fail("HeadObject", 503, "SlowDown", 2);
    let folder = Folder::of(&stand_in)
        .with("PARALLEL_S3_OPERATIONS", 1)
        .with("MAX_EXECUTION_TIME_SECONDS", 1);
    let app = folder.start();
    let output = app.run().await;
    assert_eq!((&output["stopped_early"], &output["messages_deleted"]), (&json!(true), &json!(0)));
    assert_eq!(stand_in.messages(), (3, 3));
    assert!(folder.log().contains("Approaching timeout limit. Stopping processing after "));
    drop(app);
    let app = folder.with("MAX_EXECUTION_TIME_SECONDS", 60).start();
    assert_eq!(app.run().await["messages_deleted"], 3);
    assert_eq!(numbers(&stand_in), [0, 1, 2]);
}

#[tokio::test]
async fn weakness_10_what_was_not_begun_is_let_go_of_while_an_object_takes_longer_than_the_run() {
    let stand_in = StandIn::start().await;
    for (number, key) in (0..).zip(["a.gz", "b.gz", "c.gz"]) {
        stand_in.put(BUCKET, key, lines(number, 1));
        stand_in.notify(BUCKET, key);
    }
    stand_in.hang("GetObject", 0);
    let folder = Folder::of(&stand_in)
        .with("PARALLEL_S3_OPERATIONS", 1)
        .with("MAX_EXECUTION_TIME_SECONDS", 1);
    let app = folder.start();
    app.start_run().await;
    while stand_in.messages() != (3, 2) {
        assert_eq!(app.get("/api/code42/status").await["running"], true);
    }
}

#[tokio::test]
async fn weakness_12_only_queues_that_keep_order_get_names_of_attempts() {
    let stand_in = StandIn::start().await;
    let folder = Folder::of(&stand_in);
    assert_eq!(folder.start().run().await["status"], "completed");
    let folder = folder.with("C42_SQS_QUEUE_URL", format!("{}.fifo", stand_in.queue_url()));
    assert_eq!(folder.start().run().await["status"], "completed");
}

#[tokio::test]
async fn weakness_13_keys_are_renewed_within_a_run() {
    let stand_in = StandIn::start().await;
    stand_in.key_lifetime(std::time::Duration::from_mins(2));
    for number in 0..4 {
        let key = format!("{number}.gz");
        stand_in.put(BUCKET, &key, lines(number, 1));
        stand_in.notify(BUCKET, &key);
    }
    let folder = Folder::of(&stand_in);
    assert_eq!(folder.start().run().await["records_sent"], 4);
    // They would end within the margin, so each call has new ones.
    assert!(stand_in.calls("AssumeRoleWithWebIdentity") > 8);
}

#[tokio::test]
async fn weakness_13_keys_that_a_service_calls_expired_are_renewed() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "a.gz", lines(0, 1));
    stand_in.notify(BUCKET, "a.gz");
    stand_in.fail("GetObject", 400, "ExpiredToken", 1);
    let folder = Folder::of(&stand_in);
    assert_eq!(folder.start().run().await["records_sent"], 1);
    assert_eq!(stand_in.calls("AssumeRoleWithWebIdentity"), 2);
}

#[tokio::test]
async fn weakness_14_an_object_that_grows_too_large_is_refused() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "bomb.gz", gzip(&" ".repeat(5_000_000)));
    stand_in.notify(BUCKET, "bomb.gz");
    let folder =
        Folder::of(&stand_in).with("C42_MAX_OBJECT_BYTES", 1_000_000).with("C42_MAX_RECEIVES", 1);
    let app = folder.start();
    assert_eq!(app.run().await["failed_objects"], 1);
    assert_eq!(
        app.quarantine().await[0]["cause"],
        "the object cannot be read: it holds more than 1000000 bytes; C42_MAX_OBJECT_BYTES allows no more"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn weakness_14_memory_stays_flat_on_a_large_object_of_many_members() {
    let stand_in = StandIn::start().await;
    stand_in.count_only();
    let line = format!("{{\"n\":1,\"text\":\"{}\"}}\n", "x".repeat(4000));
    let member = Content::Repeated(gzip(&line.repeat(2000)).into(), 25);
    stand_in.put_at(BUCKET, "large.gz", member, Timestamp::now());
    stand_in.notify(BUCKET, "large.gz");
    let folder = Folder::of(&stand_in);
    let app = folder.start();
    assert_eq!(app.run().await["records_sent"], 50_000);
    let peak = app.peak_memory();
    assert!(peak < 150_000_000, "200 MB took {peak} bytes of memory");
}

#[tokio::test]
async fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let stand_in = StandIn::start().await;
    let content = lines(0, 20_000);
    let third = content.len() as u64 / 3;
    stand_in.put(BUCKET, "a.gz", content);
    stand_in.notify(BUCKET, "a.gz");
    stand_in.break_content(third, 2);
    let folder = Folder::of(&stand_in).with("LOG_ANALYTICS_CHUNK_SIZE", 5000);
    assert_eq!(folder.start().run().await["records_sent"], 20_000);
    assert_eq!(stand_in.calls("GetObject"), 3);
}

#[tokio::test]
async fn an_array_gives_one_record_for_each_element() {
    let stand_in = StandIn::start().await;
    stand_in.put(BUCKET, "a.json", "[{\"n\":1},\n {\"n\":2}]");
    stand_in.put(BUCKET, "b.json", "{\n  \"n\": 3\n}\n");
    stand_in.notify(BUCKET, "a.json");
    stand_in.notify(BUCKET, "b.json");
    let folder = Folder::of(&stand_in);
    assert_eq!(folder.start().run().await["records_sent"], 3);
    assert_eq!(numbers(&stand_in), [1, 2, 3]);
    let data: Vec<Value> = stand_in.rows().iter().map(|row| row["Raw_Data"].clone()).collect();
    assert!(data.contains(&json!("{\"n\":3}")));
}

#[tokio::test]
async fn other_buckets_are_not_read() {
    let stand_in = StandIn::start().await;
    stand_in.put("secret", "a.gz", lines(0, 1));
    stand_in.put("own", "b.gz", lines(1, 1));
    stand_in.notify("secret", "a.gz");
    stand_in.notify("own", "../secret/a.gz");
    stand_in.send(json!({ "Object Key": "b.gz" }).to_string());
    let folder = Folder::of(&stand_in).with("C42_bucket_name", "own").with("C42_MAX_RECEIVES", 1);
    let app = folder.start();
    assert_eq!(app.run().await["failed_objects"], 2);
    assert_eq!(numbers(&stand_in), [1]);
    let causes: Vec<Value> =
        app.quarantine().await.iter().map(|entry| entry["cause"].clone()).collect();
    assert!(causes.contains(&json!(
        "the bucket `secret` is not among those of C42_bucket_name and C42_ALLOWED_BUCKETS"
    )));
    assert!(causes.contains(&json!(
        "the key `../secret/a.gz` has `.` or `..` as a part; no address can say that"
    )));
}

#[tokio::test]
async fn there_is_one_run_at_a_time_and_firings_beside_it_are_counted() {
    let stand_in = StandIn::start().await;
    stand_in.hang("ReceiveMessage", 0);
    let folder = Folder::of(&stand_in).with("C42_SCHEDULE", "* * * * * *");
    let app = folder.start();
    // The timer starts it.
    stand_in.asked("ReceiveMessage", 1).await;
    let (status, body) = app.post("/api/code42/run").await;
    assert_eq!(status, 409);
    assert_eq!(body["error"], "a run is at work; its end can be waited for");
    loop {
        let status = app.get("/api/code42/status").await;
        assert_eq!(status["running"], true);
        if status["skippedFirings"].as_u64().unwrap() > 0 {
            break;
        }
    }
    assert_eq!(stand_in.calls("ReceiveMessage"), 1);
}

#[tokio::test]
async fn without_settings_the_app_starts_and_says_what_is_missing() {
    let folder = Folder::new();
    let app = folder.start();
    let (status, body) = app.post("/api/code42/run").await;
    let text = "nothing runs while these settings are missing: AWS_ROLE_ARN, C42_SQS_QUEUE_URL, LOG_ANALYTICS_DCE_ENDPOINT, LOG_ANALYTICS_DCR_IMMUTABLE_ID, C42_LOG_ANALYTICS_TABLE; set them and start the app again";
    assert_eq!((status, &body["error"]), (503, &json!(text)));
    assert_eq!(body["missing"].as_array().unwrap().len(), 5);
    let status = app.get("/api/code42/status").await;
    assert_eq!((&status["missing"], &status["runs"]), (&body["missing"], &json!([])));
    assert!(folder.log().contains(text));
}

#[tokio::test]
async fn settings_that_cannot_be_used_end_the_start() {
    let text = Folder::new().with("PARALLEL_S3_OPERATIONS", "many").refusal();
    assert!(
        text.contains(
            "the setting PARALLEL_S3_OPERATIONS is `many`; write a whole number from 1 to 64"
        ),
        "{text}"
    );
    let text = Folder::new()
        .with("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/logs")
        .with("C42_SQS_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/123456789012/q")
        .with("C42_LOG_ANALYTICS_TABLE", "Code42Logs_CL")
        .with("LOG_ANALYTICS_WORKSPACE_ID", "w")
        .with("LOG_ANALYTICS_SHARED_KEY", "half a key")
        .refusal();
    assert!(text.contains("the setting LOG_ANALYTICS_SHARED_KEY is `(hidden)`; copy "), "{text}");
    assert!(!text.contains("half a key"), "{text}");
    let text = Folder::new().with("C42_SCHEDULE", "sometimes").refusal();
    assert!(text.contains("the setting C42_SCHEDULE: "), "{text}");
}
