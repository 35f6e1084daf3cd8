//! A service to talk to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::Router;
use everstep_storage::{
    Clock,
    account::{Account, Kind},
    client::{Blobs, Queues},
    service::{Service, ServiceOptions},
};
use tempfile::TempDir;

const OUTSIDE: &str = "EVERSTEP_STORAGE";

/// Clients over HTTP, and what has to live as long as they are used.
pub(crate) struct Setup {
    pub(crate) queues: Queues,
    pub(crate) blobs: Blobs,
    _folder: Option<TempDir>,
}

/// The service that the environment names, or an embedded one.
pub(crate) async fn setup() -> Setup {
    let (account, folder) = match std::env::var(OUTSIDE) {
        Ok(text) => (Account::parse(&text).unwrap(), None),
        Err(_) => {
            let (service, folder) = embedded(ServiceOptions::default());
            (serve(&service).await, Some(folder))
        }
    };
    let (queues, blobs) = (Queues::new(&account).unwrap(), Blobs::new(&account).unwrap());
    Setup { queues, blobs, _folder: folder }
}

pub(crate) fn embedded(options: ServiceOptions) -> (Service, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Service::open(folder.path(), options).unwrap(), folder)
}

/// Serves both protocols on ports of the system's choice.
pub(crate) async fn serve(service: &Service) -> Account {
    let blob = listen(service.router(Kind::Blob)).await;
    let queue = listen(service.router(Kind::Queue)).await;
    Account::local(blob, queue)
}

pub(crate) async fn listen(router: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

/// A name that no other test and no earlier run has used.
pub(crate) fn fresh(word: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    format!("{word}-{now:x}-{}-{count}", std::process::id())
}

/// A clock that a test moves.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_795_224_108)))
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let hand = self.clone();
        Arc::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(hand.seconds()))
    }

    pub(crate) fn options(&self) -> ServiceOptions {
        ServiceOptions { clock: self.clock() }
    }
}
