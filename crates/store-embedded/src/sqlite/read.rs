//! Reads of single instances, their histories and payloads, of what is due, and of everything.

use bytes::Bytes;
use everstep_model::{GroupNo, Iid, InstanceId, PartitionId, PayloadRef, Timestamp};
use everstep_store::{Applied, Chunk, Due, Dump, Row, Wake};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    purge,
    row::{self, COLUMNS, Part, number},
};

pub(super) fn applied(conn: &Connection) -> rusqlite::Result<Vec<Applied>> {
    let mut select =
        conn.prepare_cached("select partition, applied, meta from partition order by partition")?;
    let applied = select.query_map([], |row| {
        Ok(Applied {
            partition: PartitionId(row.get(0)?),
            group: GroupNo(row.get(1)?),
            meta: Bytes::from(row.get::<_, Vec<u8>>(2)?),
        })
    })?;
    applied.collect()
}

pub(super) fn find(conn: &Connection, ids: &[InstanceId]) -> rusqlite::Result<Vec<Option<Row>>> {
    let sql = format!("select {COLUMNS}, live from instance where id = ?1 and {}", purge::VISIBLE);
    let mut select = conn.prepare_cached(&sql)?;
    ids.iter()
        .map(|id| select.query_row([id.as_str()], |row| row::read(row, Part::All)).optional())
        .collect()
}

pub(super) fn row(conn: &Connection, iid: Iid) -> rusqlite::Result<Option<Row>> {
    let sql = format!("select {COLUMNS}, live from instance where iid = ?1 and {}", purge::VISIBLE);
    conn.prepare_cached(&sql)?.query_row([number(iid)], |row| row::read(row, Part::All)).optional()
}

pub(super) fn chunks(
    conn: &Connection,
    (iid, execution): (Iid, u32),
    from_seq: u32,
    bytes_max: usize,
) -> rusqlite::Result<Vec<Chunk>> {
    if is_purged(conn, iid, execution)? {
        return Ok(Vec::new());
    }
    // The event may lie within the last chunk that begins at it or before.
    let mut select = conn.prepare_cached(
        "select seq, count, chunk from history where iid = ?1 and execution = ?2 and seq >= coalesce(
             (select max(seq) from history where iid = ?1 and execution = ?2 and seq <= ?3), 0)
         order by seq",
    )?;
    let mut rows = select.query(params![number(iid), execution, from_seq])?;
    let (mut chunks, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (seq, count): (u32, u32) = (row.get(0)?, row.get(1)?);
        if seq.saturating_add(count) <= from_seq {
            continue;
        }
        let chunk =
            Chunk { iid, execution, seq, count, bytes: Bytes::from(row.get::<_, Vec<u8>>(2)?) };
        bytes += chunk.bytes.len();
        chunks.push(chunk);
        if bytes >= bytes_max {
            break;
        }
    }
    Ok(chunks)
}

pub(super) fn payload(conn: &Connection, payload: &PayloadRef) -> rusqlite::Result<Option<Bytes>> {
    if is_purged(conn, payload.iid, payload.execution)? {
        return Ok(None);
    }
    let mut select = conn
        .prepare_cached("select bytes from payload where iid = ?1 and execution = ?2 and n = ?3")?;
    let bytes = select
        .query_row(params![number(payload.iid), payload.execution, payload.n], |row| row.get(0))
        .optional()?;
    Ok(bytes.map(|bytes: Vec<u8>| Bytes::from(bytes)))
}

fn is_purged(conn: &Connection, iid: Iid, execution: u32) -> rusqlite::Result<bool> {
    conn.prepare_cached("select 1 from purging where iid = ?1 and execution >= ?2")?
        .exists(params![number(iid), execution])
}

pub(super) fn due(
    conn: &Connection,
    upto: Timestamp,
    after: Option<&Due>,
    limit: usize,
) -> rusqlite::Result<Vec<Due>> {
    let after = after.map_or((i64::MIN, i64::MIN), |due| {
        (due.wake.stored().unwrap_or(i64::MAX), number(due.iid))
    });
    let sql = format!(
        "select wake, iid, id from instance indexed by instance_wake
         where wake is not null and (wake, iid) > (?1, ?2) and wake <= ?3 and {} order by wake, iid limit ?4",
        purge::VISIBLE
    );
    let mut select = conn.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let due = select.query_map(params![after.0, after.1, upto.ticks(), limit], |row| {
        Ok(Due {
            iid: row::iid(row, 1)?,
            id: InstanceId::from_stored(row.get_ref(2)?.as_str()?),
            wake: Wake::from_stored(row.get(0)?),
        })
    })?;
    due.collect()
}

/// Everything but the histories, and the chunks that make them.
pub(super) fn everything(conn: &Connection) -> rusqlite::Result<(Dump, Vec<Chunk>)> {
    let rows =
        format!("select {COLUMNS}, live from instance where {} order by iid", purge::VISIBLE);
    let rows = conn
        .prepare(&rows)?
        .query_map([], |row| row::read(row, Part::All))?
        .collect::<Result<_, _>>()?;
    let mut dump = Dump { rows, applied: applied(conn)?, ..Dump::default() };
    let payloads = kept("payload", "iid, execution, n, bytes");
    let mut payloads = conn.prepare(&payloads)?;
    let mut payloads = payloads.query([])?;
    while let Some(row) = payloads.next()? {
        let place = (row::iid(row, 0)?, row.get(1)?, row.get(2)?);
        dump.payloads.insert(place, Bytes::from(row.get::<_, Vec<u8>>(3)?));
    }
    let mut histories = conn.prepare(&kept("history", "iid, execution, seq, count, chunk"))?;
    let chunks = histories.query_map([], |row| {
        Ok(Chunk {
            iid: row::iid(row, 0)?,
            execution: row.get(1)?,
            seq: row.get(2)?,
            count: row.get(3)?,
            bytes: Bytes::from(row.get::<_, Vec<u8>>(4)?),
        })
    })?;
    let chunks = chunks.collect::<Result<_, _>>()?;
    Ok((dump, chunks))
}

/// Selects what belongs to executions that are not purged, in the order of the primary key.
fn kept(table: &str, columns: &str) -> String {
    format!(
        "select {columns} from {table} where not exists
             (select 1 from purging p where p.iid = {table}.iid and p.execution >= {table}.execution) order by 1, 2, 3"
    )
}
