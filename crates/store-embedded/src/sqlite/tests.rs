//! A full disk, made by a limit on the database that only the connection itself can set.

use everstep_model::{GroupNo, PartitionId};
use everstep_store::Pumped;

use super::*;

fn set_page_limit(tables: &SqliteTables, pages: u32) {
    let limit = format!("pragma max_page_count = {pages}");
    tables.writer("limiting the pages").unwrap().conn.query_row(&limit, [], |_| Ok(())).unwrap();
}

fn fold_of(bytes: usize) -> Fold {
    let meta = Bytes::from(vec![1; bytes]);
    Fold { partition: PartitionId(0), upto: GroupNo(1), meta, purged: Vec::new(), rows: Vec::new() }
}

#[test]
fn a_full_disk_changes_nothing_and_the_same_fold_succeeds_when_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let (tables, _) = SqliteTables::open(folder.path(), &HubOptions::new("full", 1)).unwrap();
    let before = tables.logical_dump().unwrap();
    set_page_limit(&tables, 20);
    let fold = [fold_of(1 << 20)];
    for _ in 0..2 {
        let error = tables.fold(&fold).unwrap_err();
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        let text = error.to_string().replace(folder.path().to_str().unwrap(), "FOLDER");
        assert_eq!(
            text,
            "no space is left on the disk of `FOLDER` (folding); free some, everything goes on by itself then"
        );
        assert_eq!(tables.logical_dump().unwrap(), before);
    }
    set_page_limit(&tables, 1_000_000);
    tables.fold(&fold).unwrap();
    assert_eq!(tables.applied().unwrap()[0].group, GroupNo(1));
}

#[test]
fn a_direct_store_waits_for_space_and_goes_on() {
    use everstep_store::{Direct, Record, Store as _, Writer};

    let folder = tempfile::tempdir().unwrap();
    let (tables, hub) = SqliteTables::open(folder.path(), &HubOptions::new("full", 1)).unwrap();
    set_page_limit(&tables, 20);
    let store = Direct::new(tables, hub, Writer::Manual);
    let fold = fold_of(1 << 20);
    store.append(Record {
        partition: fold.partition,
        group: fold.upto,
        bytes: Bytes::new(),
        fold: Some(Box::new(fold)),
    });
    assert_eq!(store.pump(), Pumped::DiskFull);
    assert!(store.pressure().disk_full);
    assert!(
        matches!(store.close(), Err(Error::DiskFull { .. })),
        "what is queued is not given up silently"
    );
    set_page_limit(store.tables(), 1_000_000);
    assert_eq!(store.pump(), Pumped::Durable);
    assert!(!store.pressure().disk_full);
    store.close().unwrap();
}
