//! What all tests start with.

use std::time::Duration;

use everstep_azure::{
    files::{Credentials, Files, Page},
    http_client,
    identity::{self, Waits},
    retry::Policy,
    system_clock,
};
use everstep_stand_ins::{files as file_service, identity as identities, tree::Tree};

/// Waits that pass at once: what is tested is that there are repeats, not how long they take.
pub(crate) const AT_ONCE: Policy = Policy {
    attempts: 5,
    first: Duration::ZERO,
    longest: Duration::ZERO,
    longest_asked: Duration::from_mins(5),
};

pub(crate) fn identity_of(settings: &[(&str, String)]) -> identity::Identity {
    let setting =
        |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    let identity = identity::Identity::from_settings(setting, http_client()).unwrap();
    identity
        .with(Waits { busy: AT_ONCE, updating: Policy { attempts: 8, ..AT_ONCE } }, system_clock())
}

pub(crate) async fn identity() -> (identities::Identity, identity::Identity) {
    let service = identities::Identity::start().await;
    let identity = identity_of(&service.settings());
    (service, identity)
}

pub(crate) async fn files(tree: Tree) -> (file_service::Files, Files) {
    let service = file_service::Files::start(tree).await;
    let files = signed(&service);
    (service, files)
}

pub(crate) fn signed(service: &file_service::Files) -> Files {
    let credentials = Credentials::key(service.key()).unwrap();
    Files::new(&service.url(), service.account(), credentials, http_client()).unwrap()
}

/// All pages of a directory.
pub(crate) async fn pages(files: &Files, share: &str, directory: &str, most: u32) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut marker = None;
    loop {
        let page = files.list(share, directory, marker.as_deref(), most).await.unwrap();
        marker.clone_from(&page.next);
        pages.push(page);
        if marker.is_none() {
            return pages;
        }
    }
}

/// The names of all entries of a directory.
pub(crate) async fn names(files: &Files, share: &str, directory: &str) -> Vec<String> {
    let pages = pages(files, share, directory, 5_000).await;
    pages.into_iter().flat_map(|page| page.entries).map(|entry| entry.name).collect()
}
