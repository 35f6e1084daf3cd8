//! The schema, how a hub comes into being in it, and how older formats are brought up to date.
//!
//! H1  A hub is made in one transaction: a database has the whole schema with an identity, or nothing.
//! H2  The epoch is raised durably at each opening.
//! H3  A newer format is refused before anything is changed.

use everstep_model::HubId;
use everstep_store::{Error, FORMAT, Hub, HubOptions};
use rusqlite::{
    Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params, types::FromSql,
};

use super::error::Place;

/// Values are text where a person could read them. `*_ref` names a payload by the 24 bytes of its reference, so that no
/// value of a user can be taken for one. `live` comes last: lists never reach its pages.
///
/// `instance_entity` costs orchestrations nothing and saves a list of few entities among many orchestrations a scan of
/// them all; the others serve one filter each.
const SCHEMA: &str = "
create table meta (key text primary key, value) without rowid;
create table partition (partition integer primary key, applied integer not null, meta blob not null);
create table instance (
    iid integer primary key,
    id text not null,
    kind integer not null,
    execution integer not null,
    execution_id text not null,
    name text not null,
    version text not null,
    status integer not null,
    created integer not null,
    updated integer not null,
    completed integer,
    parent text,
    tags text,
    wake integer,
    input, output, custom_status,
    input_ref blob, output_ref blob, custom_status_ref blob,
    failure text,
    live blob not null
);
create unique index instance_id on instance (id);
create index instance_created on instance (created);
create index instance_status on instance (status, created);
create index instance_entity on instance (created) where kind = 1;
create index instance_parent on instance (parent, created) where parent is not null;
create index instance_completed on instance (completed) where completed is not null;
create index instance_wake on instance (wake) where wake is not null;
create table history (
    iid integer not null,
    execution integer not null,
    seq integer not null,
    count integer not null,
    chunk blob not null,
    primary key (iid, execution, seq)
) without rowid;
create table payload (
    iid integer not null,
    execution integer not null,
    n integer not null,
    bytes blob not null,
    primary key (iid, execution, n)
) without rowid;
create table purging (iid integer primary key, execution integer not null);
";

/// Page size and vacuum mode are fixed by the first write.
const BEFORE_FIRST_WRITE: &str = "pragma page_size = 16384; pragma auto_vacuum = incremental;";

/// How the one connection that writes behaves.
const WRITER: &str = "
pragma journal_mode = wal;
pragma synchronous = full;
pragma wal_autocheckpoint = 0;
pragma mmap_size = 0;
pragma cache_size = -65536;
";

/// How each of the connections that read behaves: small caches, the operating system has the pages.
pub(super) const READER: &str = "
pragma query_only = on;
pragma mmap_size = 0;
pragma cache_size = -4096;
";

/// Makes the hub in an empty database, or opens the one that is there.
pub(super) fn open(
    conn: &mut Connection,
    place: &Place,
    options: &HubOptions,
) -> Result<Hub, Error> {
    let opening = |error| place.opening(error);
    let tables: i64 = conn
        .query_row("select count(*) from sqlite_schema", [], |row| row.get(0))
        .map_err(opening)?;
    if tables == 0 {
        conn.execute_batch(BEFORE_FIRST_WRITE).map_err(opening)?;
        conn.execute_batch(WRITER).map_err(opening)?;
        create(conn, options).map_err(opening)
    } else {
        let format = required(conn, "format").map_err(opening)?;
        if format > FORMAT {
            return Err(Error::NewerFormat {
                folder: place.folder().to_owned(),
                found: format,
                known: FORMAT,
            });
        }
        conn.execute_batch(WRITER).map_err(opening)?;
        upgrade(format, place)?;
        let hub = reopen(conn).map_err(opening)?;
        if hub.partitions != options.partitions {
            tracing::info!(
                hub = hub.name,
                partitions = hub.partitions,
                asked = options.partitions,
                "the number of partitions was fixed when the hub was made; the configured one is ignored"
            );
        }
        Ok(hub)
    }
}

/// The hub that is there, without a change. The present format is the first; a later one says here how it reads older
/// ones as they are.
pub(super) fn read(conn: &Connection, place: &Place) -> Result<Hub, Error> {
    let reading = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::Unknown) => place.damaged(error.to_string()),
        _ => place.reading("opening the tables")(error),
    };
    let format: u32 = required(conn, "format").map_err(reading)?;
    if format > FORMAT {
        let folder = place.folder().to_owned();
        return Err(Error::NewerFormat { folder, found: format, known: FORMAT });
    }
    identity(conn).map_err(reading)
}

fn create(conn: &mut Connection, options: &HubOptions) -> rusqlite::Result<Hub> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("the system has a source of random bytes");
    let hub =
        Hub { id: HubId(id), name: options.name.clone(), partitions: options.partitions, epoch: 1 };
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(SCHEMA)?;
    {
        let mut meta = tx.prepare("insert into meta (key, value) values (?1, ?2)")?;
        meta.execute(params!["format", FORMAT])?;
        meta.execute(params!["hub", hub.id.0])?;
        meta.execute(params!["name", hub.name])?;
        meta.execute(params!["partitions", hub.partitions])?;
        meta.execute(params!["epoch", 1])?;
        let mut partition =
            tx.prepare("insert into partition (partition, applied, meta) values (?1, 0, x'')")?;
        for n in 0..hub.partitions {
            partition.execute([n])?;
        }
    }
    tx.commit()?;
    Ok(hub)
}

/// Brings the tables from an older format to the present one. The present one is the first.
fn upgrade(from: u32, place: &Place) -> Result<(), Error> {
    match from {
        FORMAT => Ok(()),
        other => Err(place.damaged(format!("format {other} was never written"))),
    }
}

fn reopen(conn: &mut Connection) -> rusqlite::Result<Hub> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute("update meta set value = value + 1 where key = 'epoch'", [])?;
    let hub = identity(&tx)?;
    tx.commit()?;
    Ok(hub)
}

fn identity(conn: &Connection) -> rusqlite::Result<Hub> {
    Ok(Hub {
        id: HubId(required(conn, "hub")?),
        name: required(conn, "name")?,
        partitions: required(conn, "partitions")?,
        epoch: required(conn, "epoch")?,
    })
}

/// A value of `meta`; its absence is damage.
fn required<V: FromSql>(conn: &Connection, key: &str) -> rusqlite::Result<V> {
    let value = conn
        .query_row("select value from meta where key = ?1", [key], |row| row.get(0))
        .optional()?;
    value.ok_or(rusqlite::Error::QueryReturnedNoRows)
}
