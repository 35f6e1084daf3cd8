//! Copies of what has ended: whoever was told of a change does not read what was before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use everstep_model::Status;
use everstep_runtime::{Client, ClientError, Existing};

use crate::support::{Bed, Script, end, id, quiet, start};

/// Reads an instance again and again until it is told to stop.
fn reader(client: &Client, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    let (client, stop) = (client.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut reads = 0;
        while !stop.load(Ordering::Relaxed) {
            let found = client.get(&id("it")).await;
            assert!(matches!(found, Ok(_) | Err(ClientError::NotFound(_))), "{found:?}");
            reads += 1;
            tokio::task::yield_now().await;
        }
        reads
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_after_an_acknowledged_change_sees_it() {
    let bed = Bed::new();
    let script = Script::new();
    let host = bed.open(&script, quiet());
    let client = host.client();
    let stop = Arc::<AtomicBool>::default();
    let readers: Vec<_> = (0..4).map(|_| reader(&client, &stop)).collect();
    for round in 0..100 {
        start(&client, "it", "call fail x").await;
        assert_eq!(end(&client, "it").await.0, Status::Failed);
        let first = client.get(&id("it")).await.unwrap();
        if round % 3 == 0 {
            host.fold().await.unwrap();
            assert_eq!(client.get(&id("it")).await.unwrap(), first, "from the tables");
        }

        client.rewind(&id("it"), "again").await.unwrap();
        let rewound = client.get(&id("it")).await.unwrap();
        assert!(rewound.updated >= first.updated);
        assert_eq!(end(&client, "it").await.0, Status::Failed);

        start(&client, "it", "call echo y").await;
        let second = client.get(&id("it")).await.unwrap();
        assert_ne!(second.execution_id, first.execution_id, "the old run is not seen any more");
        assert_eq!(end(&client, "it").await.0, Status::Completed);
        assert_eq!(client.get(&id("it")).await.unwrap().status, Status::Completed);

        let archive = client.archive(&id("it")).await.unwrap().unwrap();
        client.purge(&id("it")).await.unwrap();
        let gone = client.get(&id("it")).await;
        assert!(matches!(gone, Err(ClientError::NotFound(_))), "{gone:?}");

        client.import(archive, Existing::Keep).await.unwrap();
        assert_eq!(client.get(&id("it")).await.unwrap().status, Status::Completed);
        // An instance's own time may be a little ahead of the clock.
        let later = bed.clock.now().after(Duration::from_secs(1));
        client.purge_ended_before(later).await.unwrap();
        let gone = client.get(&id("it")).await;
        assert!(matches!(gone, Err(ClientError::NotFound(_))), "{gone:?}");
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    host.stop().await.unwrap();
    let late = client.get(&id("it")).await;
    assert!(late.is_err(), "nobody answers for a host that has stopped");
}
