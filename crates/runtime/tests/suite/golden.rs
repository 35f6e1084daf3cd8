//! A folder that an earlier version wrote: it opens for ever, with a log that was not folded.
//!
//! `EVERSTEP_GOLDEN=write` writes the folder of the present format anew; a folder that was released stays as it is, and a
//! new format gets a folder of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use everstep_model::{Status, Timestamp};
use everstep_runtime::{Client, Raised};
use everstep_store::{Filter, Order};

use crate::support::{
    Bed, Script, end, history, id, large, named, quiet, raise, start, text, until_state, until_why,
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

/// Copies the files that make up a hub; the lock and what `SQLite` keeps beside its file belong to a process.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let name = file.file_name();
        let is_of_a_process = name == "LOCK" || name.to_string_lossy().ends_with("-shm");
        if !is_of_a_process {
            std::fs::copy(file.path(), to.join(name)).unwrap();
        }
    }
}

/// First what is folded, then what only the log has.
async fn fill(bed: &Bed) {
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    start(&client, "done", "call echo #20000;call echo y").await;
    end(&client, "done").await;
    start(&client, "failed", "call fail x").await;
    end(&client, "failed").await;
    start(&client, "both", "call echo x;wait Go;wait Go").await;
    start(&client, "timer", "timer 3600000").await;
    start(&client, "parent", "children 2 wait Go").await;
    client.signal(&id("@counter@k"), "add", "40".into(), "").await.unwrap();
    client.signal(&id("@ledger@k"), "add", "1".into(), "").await.unwrap();
    start(&client, "purged", "call echo x").await;
    end(&client, "purged").await;
    until_why(&client, "both", "event `Go`").await;
    until_why(&client, "parent-1", "event `Go`").await;
    until_state(&client, "@ledger@k", "1").await;
    host.stop().await.unwrap();

    let host = bed.open(&script, quiet());
    let client = host.client();
    raise(&client, "both", "Go", "first").await;
    client.purge(&id("purged")).await.unwrap();
    client.signal(&id("@counter@k"), "add", "2".into(), "").await.unwrap();
    until_state(&client, "@counter@k", "42").await;
    client.suspend(&id("parent"), "hold on").await.unwrap();
    start(&client, "fresh", "call gate x;call echo y").await;
    start(&client, "large", "wait Go;call echo $|").await;
    let value = Raised { name: "Go".into(), input: large(20_000).into(), key: "k".into() };
    client.raise(&id("large"), value).await.unwrap();
    end(&client, "large").await;
    let scheduled = Some(bed.clock.now().after(Duration::from_hours(1)));
    let later = everstep_runtime::StartOptions { scheduled, ..named("scheduled") };
    client.start("run", "call echo s".into(), later).await.unwrap();
    script.gathered("gate", 1).await;
    // The tail stays in the log.
    drop(host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_the_first_format_opens_and_its_instances_go_on() {
    if std::env::var("EVERSTEP_GOLDEN").is_ok_and(|value| value == "write") {
        let bed = Bed::new();
        fill(&bed).await;
        // Whoever closes the tables last copies their WAL into them; a read may have outlived the host.
        while bed.folder.path().join("state.db-wal").exists() {
            tokio::task::yield_now().await;
        }
        if golden().exists() {
            std::fs::remove_dir_all(golden()).unwrap();
        }
        copy(bed.folder.path(), &golden());
    }
    let bed = Bed::new();
    copy(&golden(), bed.folder.path());
    assert!(!bed.folder.path().join("state.db-wal").exists(), "two kinds of files are enough");
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    check(&client).await;

    script.open_gate();
    for (name, output) in [("both", "x,first,second"), ("fresh", "x,y")] {
        if name == "both" {
            raise(&client, name, "Go", "second").await;
        }
        assert_eq!(end(&client, name).await, (Status::Completed, output.to_owned()));
    }
    client.resume(&id("parent"), "go on").await.unwrap();
    for name in ["parent-0", "parent-1"] {
        raise(&client, name, "Go", name).await;
    }
    assert_eq!(end(&client, "parent").await, (Status::Completed, "parent-0,parent-1".to_owned()));
    bed.clock.advance(Duration::from_hours(2));
    host.stop().await.unwrap();
    let host = bed.open(&script, quiet());
    assert_eq!(end(&host.client(), "timer").await, (Status::Completed, "fired".to_owned()));
    assert_eq!(end(&host.client(), "scheduled").await, (Status::Completed, "s".to_owned()));
    host.stop().await.unwrap();
}

async fn check(client: &Client) {
    let page = client.list(&Filter::default(), Order::OldestFirst, None, 100).await.unwrap();
    let mut found: Vec<_> =
        page.rows.iter().map(|view| format!("{} {} {}", view.id, view.name, view.status)).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "@counter@k counter Running",
            "@ledger@k ledger Running",
            "both run Running",
            "done run Completed",
            "failed run Failed",
            "fresh run Running",
            "large run Completed",
            "parent run Suspended",
            "parent-0 run Running",
            "parent-1 run Running",
            "scheduled run Pending",
            "timer run Running",
        ]
    );
    let started = Timestamp::from_unix(Duration::from_secs(1 << 30));
    assert!(page.rows.iter().all(|view| view.created >= started));
    let output = text(client.get(&id("done")).await.unwrap().output.as_ref());
    assert!(output == format!("{},y", large(20_000)));
    assert_eq!(
        history(client, "both").await,
        [
            "Started run call echo x;wait Go;wait Go",
            "TaskScheduled { id: EventId(0), name: \"echo\", input: x, tags: {}, origin: None }",
            "TaskEnded { task: EventId(0), outcome: ok x }",
            "EventRaised { name: \"Go\", input: first, key: \"\" }",
        ]
    );
    assert_eq!(
        history(client, "large").await,
        [
            "Started run wait Go;call echo $|",
            "EventRaised { name: \"Go\", input: <20000 bytes>, key: \"k\" }",
            "TaskScheduled { id: EventId(1000), name: \"echo\", input: , tags: {}, origin: None }",
            "TaskEnded { task: EventId(1000), outcome: ok  }",
            "Completed { output: <20001 bytes> }",
        ]
    );
    assert_eq!(client.entity_state(&id("@counter@k")).await.unwrap().as_ref(), Some(&"42".into()));
    assert_eq!(client.entity_state(&id("@ledger@k")).await.unwrap().as_ref(), Some(&"1".into()));
    until_why(client, "timer", "a timer is due at 2004-01-10T14:37:04").await;
    until_why(client, "scheduled", "its start is scheduled for 2004-01-10T14:37:04").await;
    until_why(client, "fresh", "activity `gate` (call 0, attempt 1)").await;
}
