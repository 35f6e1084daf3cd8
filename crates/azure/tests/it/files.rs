//! File shares: what is there is found, whatever its name; what fails is named.

use std::{sync::Arc, time::SystemTime};

use everstep_azure::{
    files::{Credentials, EntryKind, Error, Files, Management, Protocol},
    http_client,
    retry::{Passing as _, retry},
};
use everstep_stand_ins::{
    Fault, Rule, files as service,
    files::FilesOptions,
    tree::{Content, Generated, Share, Times, Tree},
};

use crate::setup::{AT_ONCE, files, identity, names, pages, signed};

const ODD: [&str; 14] = [
    "100%.txt",
    "a#b?c.txt",
    "a%20b.txt",
    "a+b=c;d@e$f,g!.txt",
    "a & b <c> \"d\" 'e'.txt",
    "ends with a dot.",
    "ends with dots...",
    " leads with a space",
    "їжак і єнот.pdf",
    "📄🦀",
    "z\u{fffe}y\u{1}.txt",
    "...",
    "%2e%2e",
    "~$lock[1]{2}|3^4`5\\6",
];

#[tokio::test]
async fn shares_are_listed_through_all_pages_with_what_they_are() {
    let mut tree = Tree::new()
        .share("mounted", Share::built().nfs())
        .share("old", Share::built().snapshot("2024-01-01T00:00:00.0000000Z"));
    for n in 0..7 {
        tree = tree.share(&format!("s{n}"), Share::built());
    }
    let options = FilesOptions { page_max: 2, ..FilesOptions::default() };
    let service = service::Files::start_with(tree, options).await.unwrap();
    let files = signed(&service);
    let (mut found, mut marker, mut empty_pages) = (Vec::new(), None, 0);
    loop {
        let page = files.shares(marker.as_deref()).await.unwrap();
        empty_pages += usize::from(page.shares.is_empty());
        found.extend(page.shares.into_iter().map(|share| (share.name, share.protocol)));
        marker = page.next;
        if marker.is_none() {
            break;
        }
    }
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["mounted", "old", "s0", "s1", "s2", "s3", "s4", "s5", "s6"]);
    assert_eq!((found[0].1, found[1].1), (Protocol::Nfs, Protocol::Smb));
    assert_eq!(empty_pages, 1);
}

#[tokio::test]
async fn every_name_is_listed_and_reaches_its_file() {
    let mut share = Share::built();
    for name in ODD {
        share = share.file(name, format!("bytes of {name}").as_str());
        share = share.file(&format!("in {name}/{name}"), "deep");
    }
    let longest = "ї".repeat(255);
    share = share.file(&longest, "long");
    let (_service, files) = files(Tree::new().share("odd", share)).await;
    let mut expected: Vec<String> = ODD.iter().map(|name| (*name).to_owned()).collect();
    expected.extend(ODD.iter().map(|name| format!("in {name}")));
    expected.push(longest.clone());
    expected.sort();
    assert_eq!(names(&files, "odd", "").await, expected);
    for name in ODD {
        assert_eq!(names(&files, "odd", &format!("in {name}")).await, [name]);
        let content = files.read("odd", name, None, None).await.unwrap().bytes().await.unwrap();
        assert_eq!(content, format!("bytes of {name}"));
        let deep = format!("in {name}/{name}");
        assert_eq!(files.properties("odd", &deep).await.unwrap().size, 4, "{deep}");
    }
    assert_eq!(files.properties("odd", &longest).await.unwrap().size, 4);
}

#[tokio::test]
async fn a_listing_says_sizes_and_times() {
    let times = Times {
        created: "2023-05-06T07:08:09.1234567Z".parse().unwrap(),
        last_modified: "2024-02-03T04:05:06Z".parse().unwrap(),
        last_write: "2024-02-03T04:05:05.5Z".parse().unwrap(),
    };
    let share = Share::built().file_at("a.txt", "12345", times).directory("d");
    let (_service, files) = files(Tree::new().share("s", share)).await;
    let page = files.list("s", "", None, 5_000).await.unwrap();
    let file = &page.entries[0];
    assert_eq!((file.name.as_str(), file.kind), ("a.txt", EntryKind::File { size: 5 }));
    assert_eq!(
        (file.created, file.last_modified, file.last_write),
        (Some(times.created), Some(times.last_modified), Some(times.last_write))
    );
    assert_eq!(page.entries[1].kind, EntryKind::Directory);
    let properties = files.properties("s", "a.txt").await.unwrap();
    assert_eq!((properties.size, &properties.etag), (5, &file.etag));
    assert_eq!(
        (properties.created, properties.last_modified, properties.last_write),
        (file.created, file.last_modified, file.last_write)
    );
}

#[tokio::test]
async fn a_large_directory_comes_in_pages_one_of_which_is_empty() {
    let tree = Tree::new().share("flat", Share::generated(Generated::flat(4_321)));
    let (service, files) = files(tree).await;
    let pages = pages(&files, "flat", "", 5_000).await;
    let sizes: Vec<usize> = pages.iter().map(|page| page.entries.len()).collect();
    assert_eq!(sizes, [1_000, 0, 1_000, 1_000, 1_000, 321]);
    assert_eq!(service.calls("ListDirectory"), 6);
    let total: u64 = pages
        .iter()
        .flat_map(|page| &page.entries)
        .map(|entry| match entry.kind {
            EntryKind::File { size } => size,
            EntryKind::Directory => 0,
        })
        .sum();
    assert_eq!(Generated::flat(4_321).totals(), (4_321, total));
}

#[tokio::test]
async fn ranges_put_together_are_the_file() {
    let content = Content::Generated { seed: 5, size: 1_000_003 };
    let share = Share::built().file("big", content.clone()).file("empty", "");
    let (service, files) = files(Tree::new().share("s", share)).await;
    let first = files.read("s", "big", Some(0..400_000), None).await.unwrap();
    assert_eq!(first.properties.size, 1_000_003);
    let tag = first.properties.etag.clone().unwrap();
    let mut whole = first.bytes().await.unwrap().to_vec();
    for range in [400_000..800_000, 800_000..1_200_000] {
        let part = files.read("s", "big", Some(range), Some(&tag)).await.unwrap();
        whole.extend_from_slice(&part.bytes().await.unwrap());
    }
    assert_eq!(whole, content.read(0, 1_000_003));
    let empty = files.read("s", "empty", None, None).await.unwrap();
    assert_eq!((empty.properties.size, empty.bytes().await.unwrap().len()), (0, 0));
    let past = files.read("s", "empty", Some(0..10), None).await.unwrap_err();
    assert!(matches!(past, Error::OutOfRange { .. }), "{past}");

    service.put("s", "big", "other bytes", Times::at("2025-01-01T00:00:00Z".parse().unwrap()));
    let changed = files.read("s", "big", Some(0..4), Some(&tag)).await.unwrap_err();
    assert_eq!(
        changed.to_string(),
        "reading `big` of the share `s`: the file was changed meanwhile"
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_and_not_a_short_file() {
    let share = Share::built().file("big", Content::Generated { seed: 5, size: 500_000 });
    let (service, files) = files(Tree::new().share("s", share)).await;
    service.faults().add(Rule::new(Fault::BreakBody(100_000)).on("GetFile"));
    let content = files.read("s", "big", None, None).await.unwrap();
    let error = content.bytes().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_worth_retrying(), "{error}");
}

#[tokio::test]
async fn what_passes_is_worth_a_repeat_and_the_wait_is_known() {
    let share = Share::built().file("a", "1");
    let (service, files) = files(Tree::new().share("s", share)).await;
    service.faults().add(Rule::new(Fault::busy(7)).on("ListDirectory"));
    let error = files.list("s", "", None, 10).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "listing `` of the share `s`: the file service is busy (503 ServerBusy)"
    );
    assert_eq!(error.retry_after().unwrap().as_secs(), 7);

    service.faults().add(Rule::new(Fault::Cut).on("ListDirectory"));
    service.faults().add(Rule::new(Fault::refuse(500, "InternalError")).on("ListDirectory"));
    service.faults().add(Rule::new(Fault::busy(0)).on("ListDirectory").times(2));
    let page = retry(&AT_ONCE, || files.list("s", "", None, 10)).await.unwrap();
    assert_eq!((page.entries.len(), service.calls("ListDirectory")), (1, 6));
}

#[tokio::test]
async fn what_is_gone_forbidden_or_mounted_otherwise_is_named() {
    let tree = Tree::new()
        .share("s", Share::built().file("d/a", "1"))
        .share("closed", Share::built().forbidden())
        .share("mounted", Share::built().nfs());
    let (service, files) = files(tree).await;
    let said = async |share: &str, directory: &str| {
        let error = files.list(share, directory, None, 10).await.unwrap_err();
        assert!(!error.is_worth_retrying());
        error.to_string()
    };
    assert_eq!(
        said("none", "").await,
        "listing `` of the share `none`: The specified share does not exist. (ShareNotFound)"
    );
    assert_eq!(
        said("s", "d/a").await,
        "listing `d/a` of the share `s`: The specified resource does not exist. (ResourceNotFound)"
    );
    assert_eq!(
        said("closed", "").await,
        "listing `` of the share `closed`: the storage account refused the request (AuthorizationFailure); the account's firewall or its network rules keep this machine out, or the identity has no role on it"
    );
    assert!(said("mounted", "").await.ends_with("(400 NfsNotSupported)"));
    assert_eq!(
        said("s", "../x").await,
        "listing `../x` of the share `s`: no part of a path is `.` or `..`"
    );
    service.remove("s", "d");
    let gone = files.properties("s", "d/a").await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone}");
}

#[tokio::test]
async fn a_directory_that_vanishes_between_two_pages_is_not_found() {
    let mut share = Share::built();
    for n in 0..30 {
        share = share.file(&format!("d/{n:02}"), "");
    }
    let (service, files) = files(Tree::new().share("s", share)).await;
    let page = files.list("s", "d", None, 10).await.unwrap();
    assert_eq!(page.entries.len(), 10);
    service.remove("s", "d");
    let gone = files.list("s", "d", page.next.as_deref(), 10).await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone}");
}

#[tokio::test]
async fn a_marker_of_another_directory_is_refused() {
    let tree = Tree::new()
        .share("flat", Share::generated(Generated { directories: 1, ..Generated::flat(50) }));
    let (_service, files) = files(tree).await;
    let page = files.list("flat", "", None, 10).await.unwrap();
    let error = files.list("flat", "d0000001", page.next.as_deref(), 10).await.unwrap_err();
    assert!(error.to_string().ends_with("(400 InvalidQueryParameterValue)"), "{error}");
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_clock_are_refused_without_showing_the_key() {
    let service = service::Files::start(Tree::new()).await;
    let wrong = Credentials::key("c2VjcmV0").unwrap();
    let files = Files::new(&service.url(), service.account(), wrong, http_client()).unwrap();
    let error = files.shares(None).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "listing the shares: the storage account refused the request (AuthenticationFailed); check the account's name and key, and that this machine's clock is right"
    );
    let late = FilesOptions {
        clock: Arc::new(|| SystemTime::now() + std::time::Duration::from_mins(16)),
        ..FilesOptions::default()
    };
    let service = service::Files::start_with(Tree::new(), late).await.unwrap();
    assert!(matches!(signed(&service).shares(None).await, Err(Error::Denied { .. })));
}

#[tokio::test]
async fn an_identity_reads_all_that_a_key_reads() {
    let service =
        service::Files::start(Tree::new().share("s", Share::built().file("a", "1"))).await;
    let (_identities, identity) = identity().await;
    let credentials = Credentials::Identity(identity);
    let files = Files::new(&service.url(), service.account(), credentials, http_client()).unwrap();
    assert_eq!(files.shares(None).await.unwrap().shares[0].name, "s");
    assert_eq!(names(&files, "s", "").await, ["a"]);
    let content = files.read("s", "a", Some(0..10), None).await.unwrap();
    assert_eq!(content.bytes().await.unwrap(), "1");
}

#[tokio::test]
async fn the_management_api_lists_shares_page_by_page() {
    let mut tree = Tree::new();
    for n in 0..5 {
        tree = tree
            .share(&format!("s{n}"), if n == 3 { Share::built().nfs() } else { Share::built() });
    }
    let service = service::Files::start(tree).await;
    let (_identities, identity) = identity().await;
    let management = Management::new(identity, http_client()).at(&service.url()).unwrap();
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let page = management.shares("sub", "my group", "standin", next.as_deref()).await.unwrap();
        found.extend(page.shares);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let names: Vec<_> = found.iter().map(|share| share.name.as_str()).collect();
    assert_eq!(names, ["s0", "s1", "s2", "s3", "s4"]);
    assert_eq!(found[3].protocol, Protocol::Nfs);
    assert_eq!(service.calls("ManagementListShares"), 3);

    let elsewhere = management.shares("s", "g", "standin", Some("https://evil.example/x")).await;
    assert_eq!(
        elsewhere.unwrap_err().to_string(),
        "listing the shares of `standin` by the management API: the answer links to another place for its next page; is this a file service?"
    );
    let unknown = management.shares("s", "g", "other", None).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { .. }), "{unknown}");
}

#[tokio::test]
async fn no_answer_names_the_host_and_may_be_repeated() {
    let service = service::Files::start(Tree::new()).await;
    let files = signed(&service);
    drop(service);
    let error = files.shares(None).await.unwrap_err();
    assert!(
        error.to_string().starts_with("listing the shares: no answer from 127.0.0.1: "),
        "{error}"
    );
    assert!(error.is_worth_retrying());
}
