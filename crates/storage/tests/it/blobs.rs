//! Every operation on blobs, over HTTP.

use bytes::Bytes;
use everstep_storage::{
    client::{Blobs, Condition, Created, Error, ListBlobs, Metadata, PutBlob},
    service::{Service, ServiceOptions},
};

use crate::setup::{embedded, fresh, setup};

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().code().unwrap().to_owned()
}

fn pattern(length: usize) -> Bytes {
    (0..length).map(|index| (index % 251) as u8).collect()
}

async fn container(blobs: &Blobs, word: &str) -> String {
    let name = fresh(word);
    assert_eq!(blobs.create_container(&name).await, Ok(Created::New));
    name
}

#[tokio::test]
async fn a_blob_is_written_read_described_and_deleted() {
    let setup = setup().await;
    let (blobs, name) = (&setup.blobs, "dir/a b&c%ї#?+.txt");
    let container = &container(blobs, "life").await;
    assert_eq!(blobs.create_container(container).await, Ok(Created::Existed));
    let how = PutBlob {
        content_type: "text/plain".to_owned(),
        metadata: Metadata::from([("owner".to_owned(), "me".to_owned())]),
        condition: Condition::None,
    };
    let etag = blobs.put(container, name, Bytes::from("hello"), &how).await.unwrap();
    let (properties, content) = blobs.get(container, name).await.unwrap();
    assert_eq!((&content[..], properties.length), (&b"hello"[..], 5));
    assert_eq!((&properties.etag, properties.content_type.as_str()), (&etag, "text/plain"));
    assert_eq!(properties.metadata, how.metadata);
    assert_eq!(blobs.head(container, name).await, Ok(properties));
    blobs.delete(container, name).await.unwrap();
    assert_eq!(code(blobs.get(container, name).await), "BlobNotFound");
    assert!(matches!(blobs.head(container, name).await, Err(Error::NotFound { .. })));
    assert_eq!(code(blobs.delete(container, name).await), "BlobNotFound");
    blobs.delete_container(container).await.unwrap();
}

#[tokio::test]
async fn contents_of_all_sizes_and_their_parts_come_back() {
    let setup = setup().await;
    let blobs = &setup.blobs;
    let container = &container(blobs, "sizes").await;
    // In a row, the longest in a row, in a file, in a file made of blocks.
    for length in [0, 1, 1 << 20, (1 << 20) + 1, (17 << 20) + 5] {
        let content = pattern(length);
        blobs.put(container, "blob", content.clone(), &PutBlob::default()).await.unwrap();
        let (properties, read) = blobs.get(container, "blob").await.unwrap();
        assert_eq!(properties.length, length as u64);
        assert!(read == content, "{length} bytes");
        if length > 2 {
            let whole = length as u64;
            for (range, part) in [
                (0..1, content.slice(0..1)),
                (1..whole, content.slice(1..)),
                (whole - 1..whole + 9, content.slice(length - 1..)),
            ] {
                assert!(blobs.get_range(container, "blob", range).await.unwrap() == part);
            }
        }
        let behind = length as u64 + 1..length as u64 + 2;
        assert_eq!(code(blobs.get_range(container, "blob", behind).await), "InvalidRange");
    }
    let mut stream = blobs.open(container, "blob", None).await.unwrap();
    let mut pieces = 0;
    while let Some(piece) = stream.chunk().await.unwrap() {
        pieces += usize::from(!piece.is_empty());
    }
    assert!(pieces > 1, "{pieces}");
    blobs.delete_container(container).await.unwrap();
}

#[tokio::test]
async fn conditions_let_one_writer_through() {
    let setup = setup().await;
    let blobs = &setup.blobs;
    let container = &container(blobs, "condition").await;
    let put = async |text: &'static str, condition: Condition| {
        let how = PutBlob { condition, ..PutBlob::default() };
        blobs.put(container, "blob", Bytes::from(text), &how).await
    };
    let first = put("one", Condition::IfAbsent).await.unwrap();
    let again = put("two", Condition::IfAbsent).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");
    assert_eq!(code(again), "BlobAlreadyExists");
    let second = put("two", Condition::IfMatch(first.clone())).await.unwrap();
    assert_eq!(code(put("three", Condition::IfMatch(first)).await), "ConditionNotMet");
    assert_eq!(blobs.head(container, "blob").await.unwrap().etag, second);
    blobs.delete_container(container).await.unwrap();
}

#[tokio::test]
async fn lists_have_prefixes_and_pages() {
    let setup = setup().await;
    let blobs = &setup.blobs;
    let container = &container(blobs, "list").await;
    let how = PutBlob {
        metadata: Metadata::from([("k".to_owned(), "v".to_owned())]),
        ..PutBlob::default()
    };
    for name in ["b/2", "a", "b/1", "b/3", "c & d"] {
        blobs.put(container, name, Bytes::from("x"), &how).await.unwrap();
    }
    let all = blobs.list(container, &ListBlobs::default()).await.unwrap();
    let names: Vec<_> = all.blobs.iter().map(|blob| blob.name.as_str()).collect();
    assert_eq!((names, all.next), (vec!["a", "b/1", "b/2", "b/3", "c & d"], None));
    assert_eq!(all.blobs[0].properties, blobs.head(container, "a").await.unwrap());
    let mut what = ListBlobs { prefix: "b/".to_owned(), max: 2, ..ListBlobs::default() };
    let page = blobs.list(container, &what).await.unwrap();
    assert_eq!((page.blobs.len(), page.next.is_some()), (2, true));
    what.marker = page.next;
    let page = blobs.list(container, &what).await.unwrap();
    assert_eq!((page.blobs[0].name.as_str(), page.blobs.len(), page.next), ("b/3", 1, None));
    assert_eq!(blobs.list_containers(container).await.unwrap(), std::slice::from_ref(container));
    blobs.delete_container(container).await.unwrap();
    assert_eq!(code(blobs.list(container, &what).await), "ContainerNotFound");
}

#[tokio::test]
async fn names_that_cannot_be_are_refused_before_they_are_sent() {
    let setup = setup().await;
    let said = async |container: &str, blob: &str| {
        setup.blobs.head(container, blob).await.unwrap_err().to_string()
    };
    assert_eq!(
        said("abc", "a/../b").await,
        "looking at blob `abc/a/../b`: a blob's name has 1 to 1024 characters, and `.` and `..` are no folders in it"
    );
    assert_eq!(
        said("a", "b").await,
        "looking at blob `a/b`: of its container: a name has 3 to 63 lower-case letters, digits and single hyphens, and neither begins nor ends with a hyphen"
    );
    let empty = setup.blobs.get_range("abc", "b", 1..1).await;
    assert_eq!(
        empty.unwrap_err().to_string(),
        "reading blob `abc/b`: the range is empty; ask for one byte or more"
    );
}

#[tokio::test]
async fn replaced_and_deleted_files_leave_the_folder_and_so_do_those_of_a_crash() {
    let (service, folder) = embedded(ServiceOptions::default());
    let blobs = service.blobs();
    let count = || std::fs::read_dir(folder.path().join("storage-blobs")).unwrap().count();
    blobs.create_container("abc").await.unwrap();
    for length in [2 << 20, 3 << 20, 20 << 20] {
        blobs.put("abc", "big", pattern(length), &PutBlob::default()).await.unwrap();
        assert_eq!(count(), 1);
    }
    blobs.put("abc", "big", pattern(5), &PutBlob::default()).await.unwrap();
    assert_eq!(count(), 0);
    let how = PutBlob { condition: Condition::IfAbsent, ..PutBlob::default() };
    assert_eq!(code(blobs.put("abc", "big", pattern(2 << 20), &how).await), "BlobAlreadyExists");
    assert_eq!(count(), 0);
    blobs.put("abc", "other", pattern(2 << 20), &PutBlob::default()).await.unwrap();
    std::fs::write(folder.path().join("storage-blobs/left-by-a-crash"), "x").unwrap();
    drop((blobs, service));
    let service = Service::open(folder.path(), ServiceOptions::default()).unwrap();
    assert_eq!(count(), 1);
    assert!(service.blobs().get("abc", "other").await.unwrap().1 == pattern(2 << 20));
    service.blobs().delete_container("abc").await.unwrap();
    assert_eq!(count(), 0);
}

#[tokio::test]
async fn who_listens_to_a_container_hears_of_every_write_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::open(folder.path(), ServiceOptions::default()).unwrap();
    let blobs = service.blobs();
    let mut written = service.written("heard");
    for container in ["heard", "other"] {
        blobs.create_container(container).await.unwrap();
        blobs.put(container, "small", pattern(1), &PutBlob::default()).await.unwrap();
        blobs.put(container, "large", pattern((8 << 20) + 1), &PutBlob::default()).await.unwrap();
        blobs.delete(container, "small").await.unwrap();
    }
    drop((blobs, service));
    let mut names = Vec::new();
    written.recv_many(&mut names, 9).await;
    assert_eq!(names, ["small", "large"]);
}
