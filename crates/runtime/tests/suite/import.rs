//! What was taken out of a hub and is put back.

use everstep_model::{Archive, Status, Timestamp};
use everstep_runtime::{Client, Existing, Hold, Imported, Options};

use crate::support::{
    Bed, Script, end, history, id, large, quiet, raise, start, until_state, until_why,
};

const ALL: [&str; 7] = ["done", "again", "failed", "ended", "parent", "parent-0", "@counter@k"];

/// A hub with instances that have ended in every way.
async fn fill(client: &Client) {
    start(client, "done", "call grow 20000;say half;wait Go;call gate x").await;
    until_why(client, "done", "event `Go`").await;
    raise(client, "done", "Go", &large(30_000)).await;
    start(client, "again", "call gate x;again call echo y").await;
    start(client, "failed", "call gate x;call fail z").await;
    start(client, "ended", "timer 1000").await;
    until_why(client, "ended", "a timer is due").await;
    client.terminate(&id("ended"), "not wanted", true).await.unwrap();
    start(client, "parent", "children 1 call echo x").await;
    for name in ALL.into_iter().filter(|name| !name.starts_with('@')) {
        end(client, name).await;
    }
    client.signal(&id("@counter@k"), "add", "3".into(), "").await.unwrap();
    until_state(client, "@counter@k", "3").await;
}

async fn archives(client: &Client) -> Vec<Archive> {
    let mut all = Vec::new();
    for name in ALL {
        all.push(client.archive(&id(name)).await.unwrap().expect("it is at rest"));
    }
    all
}

/// All that can be seen of the instances.
async fn seen(client: &Client) -> String {
    let mut seen = Vec::new();
    for name in ALL {
        let view = client.get(&id(name)).await.unwrap();
        let events = client.history(&id(name)).await.unwrap();
        seen.push(format!("{view:#?}\n{events:#?}"));
    }
    seen.push(format!("{:#?}", client.counts().await.unwrap()));
    seen.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_back_is_as_it_was_also_after_a_crash() {
    for fold in [false, true] {
        let (from, to) = (Bed::new(), Bed::new());
        let script = Script::new();
        script.open_gate();
        let host = from.open(&script, quiet());
        fill(&host.client()).await;
        if fold {
            host.fold().await.unwrap();
        }
        let (before, archives) = (seen(&host.client()).await, archives(&host.client()).await);
        host.stop().await.unwrap();

        let script = Script::new();
        let host = to.open(&script, quiet());
        let client = host.client();
        for archive in &archives {
            let imported = client.import(archive.clone(), Existing::Keep).await.unwrap();
            assert_eq!(imported, Imported::Done, "{}", archive.id);
        }
        assert_eq!(seen(&client).await, before);
        assert_eq!(self::archives(&client).await, archives);
        drop(host);
        let host = to.open(&script, quiet());
        assert_eq!(seen(&host.client()).await, before, "after a crash");
        host.stop().await.unwrap();
        let host = to.open(&script, quiet());
        assert_eq!(seen(&host.client()).await, before, "from the tables");
        assert!(script.running().most.is_empty(), "no activity has run");
        host.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_stays_unless_its_replacement_is_wanted() {
    let bed = Bed::new();
    let script = Script::new();
    script.open_gate();
    let host = bed.open(&script, quiet());
    fill(&host.client()).await;
    let archives = archives(&host.client()).await;
    let counts = host.client().counts().await.unwrap();
    let last = history(&host.client(), "done").await;
    host.stop().await.unwrap();

    let host = bed.open(&script, quiet());
    let client = host.client();
    for archive in &archives {
        let there = client.get(&archive.id).await.unwrap().status;
        let kept = client.import(archive.clone(), Existing::Keep).await.unwrap();
        assert_eq!(kept, Imported::Exists(there), "{}", archive.id);
        let replaced = client.import(archive.clone(), Existing::Replace).await.unwrap();
        assert_eq!(replaced, Imported::Replaced, "{}", archive.id);
    }
    assert_eq!(client.counts().await.unwrap(), counts);
    drop(host);
    let host = bed.open(&script, quiet());
    let client = host.client();
    assert_eq!(client.counts().await.unwrap(), counts, "after a crash");
    assert_eq!(history(&client, "done").await, last);

    client.purge(&id("done")).await.unwrap();
    start(&client, "done", "wait Go").await;
    until_why(&client, "done", "event `Go`").await;
    for existing in [Existing::Keep, Existing::Replace] {
        let imported = client.import(archives[0].clone(), existing).await.unwrap();
        assert_eq!(imported, Imported::Exists(Status::Running), "what runs stays");
    }
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_back_can_be_purged_rewound_and_started_again() {
    let (from, to) = (Bed::new(), Bed::new());
    let script = Script::new();
    script.open_gate();
    let host = from.open(&script, quiet());
    fill(&host.client()).await;
    let archives = archives(&host.client()).await;
    host.stop().await.unwrap();

    let host = to.open(&script, Options { hold: Hold::UntilReleased, ..quiet() });
    let client = host.client();
    for archive in archives {
        assert_eq!(client.import(archive, Existing::Keep).await.unwrap(), Imported::Done);
    }
    host.release();
    client.purge(&id("done")).await.unwrap();
    assert!(client.get(&id("done")).await.is_err());
    client.rewind(&id("failed"), "again").await.unwrap();
    assert_eq!(end(&client, "failed").await.0, Status::Failed);
    start(&client, "ended", "call echo here").await;
    assert_eq!(end(&client, "ended").await, (Status::Completed, "here".to_owned()));
    client.signal(&id("@counter@k"), "add", "4".into(), "").await.unwrap();
    until_state(&client, "@counter@k", "7").await;
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_not_taken_out_and_what_is_damaged_is_not_put_back() {
    let bed = Bed::new();
    let script = Script::new();
    let mut options = quiet();
    options.partition.limits.commit_bytes = 50_000;
    let host = bed.open(&script, options);
    let client = host.client();
    start(&client, "runs", "wait Go").await;
    assert_eq!(client.archive(&id("runs")).await.unwrap(), None);
    start(&client, "done", "call echo x").await;
    end(&client, "done").await;
    let archive = client.archive(&id("done")).await.unwrap().unwrap();
    client.purge(&id("done")).await.unwrap();

    let refused = async |archive: Archive| {
        let imported = client.import(archive, Existing::Keep).await.unwrap();
        let Imported::Refused(reason) = imported else { panic!("{imported:?}") };
        reason
    };
    let mut cut = archive.clone();
    cut.events.pop();
    assert_eq!(refused(cut).await, "its history does not lead to an end");
    let long = Archive { custom_status: Some(large(60_000).into()), ..archive.clone() };
    let reason = refused(long).await;
    assert!(reason.contains(" bytes, more than the hub writes at once (50000)"), "{reason}");
    let nameless = Archive { id: everstep_model::InstanceId::from_stored(""), ..archive.clone() };
    assert_eq!(
        refused(nameless).await,
        "an instance id must not be empty; leave it out to get one made"
    );
    assert!(client.get(&id("done")).await.is_err(), "nothing is left of it");
    assert_eq!(client.import(archive, Existing::Keep).await.unwrap(), Imported::Done);
    assert!(client.get(&id("done")).await.unwrap().created > Timestamp::EPOCH);
    host.stop().await.unwrap();
}
