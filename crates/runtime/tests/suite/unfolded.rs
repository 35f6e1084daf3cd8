//! What the tables lack, for those who read the tables themselves.

use everstep_model::{Event, stored};
use everstep_runtime::{Hold, Options, Unfolded};
use everstep_store::{Chunk, Store, Tables, chunk};

use crate::support::{
    Bed, Script, end, history, id, large, open_store, quiet, raise, start, until, until_state,
    until_why,
};

fn events(chunks: &[Chunk]) -> Vec<Event> {
    let mut all = Vec::new();
    for found in chunks {
        let plain = chunk::unpack(&found.bytes).unwrap();
        all.extend(stored::events(&plain).map(Result::unwrap));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unfolded_is_what_the_next_fold_writes() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    assert_eq!(client.unfolded().await.unwrap(), Unfolded::default());
    start(&client, "folded", "call echo x").await;
    end(&client, "folded").await;
    start(&client, "gone", "call echo x").await;
    end(&client, "gone").await;
    start(&client, "both", "call echo y;wait Go;call echo $").await;
    until_why(&client, "both", "event `Go`").await;
    host.fold().await.unwrap();
    let gone = client.get(&id("gone")).await.unwrap();
    client.purge(&gone.id).await.unwrap();
    raise(&client, "both", "Go", &large(20_000)).await;
    end(&client, "both").await;
    start(&client, "new", "wait Go").await;
    until_why(&client, "new", "event `Go`").await;
    client.signal(&id("@counter@k"), "add", "3".into(), "").await.unwrap();
    until_state(&client, "@counter@k", "3").await;
    let unfolded = client.unfolded().await.unwrap();
    let mut ids: Vec<_> = unfolded.rows.iter().map(|folded| folded.row.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["@counter@k", "both", "new"]);
    assert_eq!(unfolded.purged.len(), 1);
    let before = {
        let both = unfolded.rows.iter().find(|folded| folded.row.id.as_str() == "both").unwrap();
        both.chunks[0].seq
    };
    assert!(before > 0, "the tables have the beginning");
    host.stop().await.unwrap();
    let store = loop {
        match open_store(bed.folder.path()) {
            Err(everstep_store::Error::InUse { .. }) => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    let tables = store.tables();
    for folded in &unfolded.rows {
        let iid = folded.row.iid;
        assert_eq!(tables.row(iid).unwrap().as_ref(), Some(&folded.row));
        let stored = tables.chunks(iid, folded.row.execution, 0, usize::MAX).unwrap();
        let stored: Vec<_> = stored
            .into_iter()
            .filter(|chunk| folded.chunks.first().is_some_and(|first| chunk.seq >= first.seq))
            .collect();
        assert_eq!(events(&stored), events(&folded.chunks));
        for (payload, bytes) in &folded.payloads {
            assert_eq!(tables.payload(payload).unwrap(), *bytes);
        }
    }
    for purged in &unfolded.purged {
        assert_eq!(tables.row(purged.iid).unwrap(), None);
    }
    drop(store);
    // After a start without a fold it is found again, from the log.
    let host = bed.open(&script, quiet());
    let client = host.client();
    raise(&client, "new", "Other", "x").await;
    until(async || history(&client, "new").await.iter().any(|line| line.contains("Other"))).await;
    let unfolded = host.client().unfolded().await.unwrap();
    drop(host);
    let held = Options { hold: Hold::UntilReleased, ..quiet() };
    let host = bed.open(&script, held);
    assert_eq!(host.client().unfolded().await.unwrap(), unfolded);
    host.stop().await.unwrap();
}
