//! The tables in memory.
//!
//! T1  Every read answers as the tables on disk do, order and paging included.
//! T2  A fold is one step under one lock: readers see all of it or nothing.

use std::{
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use everstep_model::{Guid, HubId, Iid, InstanceId, PayloadRef, Timestamp};
use everstep_store::{
    Applied, Chunk, Cursor, Due, Dump, Error, Filter, Fold, Hub, HubOptions, Order, Page, Row,
    Tables, Wake,
};

use crate::{
    Fault, fault,
    state::{State, executions},
};

/// After how many rows a count looks at the clock.
const ROWS_PER_GLANCE: u64 = 1024;

/// Tables in memory. A clone is a second handle on the same tables.
#[derive(Clone)]
pub struct MemoryTables {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Clone)]
struct Shared {
    hub: Hub,
    state: State,
    plan: Option<fault::Plan>,
}

impl MemoryTables {
    /// A new hub. Its id follows from its name, so that a simulation is the same each time.
    pub fn new(options: &HubOptions) -> (Self, Hub) {
        let id = HubId(Guid::v5(Guid([0; 16]), &options.name).0);
        let hub = Hub { id, name: options.name.clone(), partitions: options.partitions, epoch: 1 };
        let shared = Shared { hub: hub.clone(), state: State::new(options.partitions), plan: None };
        (Self { shared: Arc::new(Mutex::new(shared)) }, hub)
    }

    /// The same tables for the next run of a host: the epoch is raised.
    pub fn reopen(&self) -> (Self, Hub) {
        let mut shared = self.lock();
        shared.hub.epoch += 1;
        (self.clone(), shared.hub.clone())
    }

    /// A copy of the present state that goes its own way, without planned faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        let shared = Shared { plan: None, ..self.lock().clone() };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Makes a coming fold fail: the next one if `spare` is 0, else the one after that many.
    pub fn fail_fold(&self, spare: u32, fault: Fault) {
        self.lock().plan = Some(fault::Plan { fault, spare });
    }

    /// Everything the tables hold, for comparison.
    pub fn logical_dump(&self) -> Result<Dump, Error> {
        let shared = self.lock();
        let state = &shared.state;
        let mut dump = Dump {
            rows: state.rows.values().map(|row| Row::clone(row)).collect(),
            applied: state.applied.clone(),
            ..Dump::default()
        };
        for chunk in state.chunks.values() {
            dump.add_chunk(chunk).map_err(|error| Error::DamagedTables {
                file: "memory".into(),
                what: error.to_string(),
            })?;
        }
        dump.payloads.clone_from(&state.payloads);
        Ok(dump)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A fold that panics is a bug that ends the test; readers may still look at what is there.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables for MemoryTables {
    fn applied(&self) -> Result<Vec<Applied>, Error> {
        Ok(self.lock().state.applied.clone())
    }

    fn fold(&self, folds: &[Fold]) -> Result<(), Error> {
        let mut shared = self.lock();
        let struck = fault::strike(&mut shared.plan);
        if matches!(struck, None | Some(Fault::After)) {
            for fold in folds {
                shared.state.fold(fold);
            }
        }
        struck.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn purge_step(&self) -> Result<bool, Error> {
        Ok(false)
    }

    fn shrink_step(&self) -> Result<bool, Error> {
        Ok(false)
    }

    fn find(&self, ids: &[InstanceId]) -> Result<Vec<Option<Row>>, Error> {
        let state = &self.lock().state;
        Ok(ids
            .iter()
            .map(|id| state.by_id.get(id).map(|iid| Row::clone(&state.rows[iid])))
            .collect())
    }

    fn row(&self, iid: Iid) -> Result<Option<Row>, Error> {
        Ok(self.lock().state.rows.get(&iid).map(|row| Row::clone(row)))
    }

    fn chunks(
        &self,
        iid: Iid,
        execution: u32,
        from_seq: u32,
        bytes_max: usize,
    ) -> Result<Vec<Chunk>, Error> {
        let state = &self.lock().state;
        let mut bytes = 0;
        let chunks = state
            .chunks
            .range(executions(iid, execution..=execution))
            .map(|(_, chunk)| chunk)
            .filter(|chunk| chunk.seq.saturating_add(chunk.count) > from_seq)
            .take_while(|chunk| {
                let is_wanted = bytes == 0 || bytes < bytes_max;
                bytes += chunk.bytes.len();
                is_wanted
            });
        Ok(chunks.cloned().collect())
    }

    fn payload(&self, payload: &PayloadRef) -> Result<Bytes, Error> {
        let bad = |what| Error::BadPayload { iid: payload.iid.0, n: payload.n, what };
        let place = (payload.iid, payload.execution, payload.n);
        let bytes =
            self.lock().state.payloads.get(&place).cloned().ok_or_else(|| bad("is missing"))?;
        let is_whole = bytes.len() == payload.len as usize && crc32c::crc32c(&bytes) == payload.crc;
        if is_whole { Ok(bytes) } else { Err(bad("has other bytes than were written")) }
    }

    fn due(&self, upto: Timestamp, after: Option<&Due>, limit: usize) -> Result<Vec<Due>, Error> {
        let state = &self.lock().state;
        let after = after.map(|due| (due.wake.stored().unwrap_or(i64::MAX), due.iid));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let due = state
            .by_wake
            .range((from, Bound::Unbounded))
            .take_while(|(wake, _)| *wake <= upto.ticks())
            .take(limit)
            .map(|(wake, iid)| Due {
                iid: *iid,
                id: state.rows[iid].id.clone(),
                wake: Wake::from_stored(Some(*wake)),
            });
        Ok(due.collect())
    }

    fn list(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        let state = &self.lock().state;
        let after = after.map(|cursor| (cursor.created, cursor.iid));
        let wanted = limit.saturating_add(usize::from(limit > 0));
        let page = |keys: &mut dyn Iterator<Item = &(Timestamp, Iid)>| {
            let rows = keys.map(|(_, iid)| &*state.rows[iid]).filter(|row| filter.matches(row));
            rows.take(wanted)
                .map(|row| Row { live: Bytes::new(), ..row.clone() })
                .collect::<Vec<_>>()
        };
        let bound = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = match order {
            Order::OldestFirst => page(&mut state.by_created.range((bound, Bound::Unbounded))),
            Order::NewestFirst => {
                page(&mut state.by_created.range((Bound::Unbounded, bound)).rev())
            }
        };
        Ok(cut(rows, limit))
    }

    fn count(&self, filter: &Filter, within: Duration) -> Result<(u64, bool), Error> {
        let began = Instant::now();
        let state = &self.lock().state;
        let (mut read, mut count) = (0_u64, 0);
        for row in state.rows.values() {
            read += 1;
            count += u64::from(filter.matches(row));
            if read.is_multiple_of(ROWS_PER_GLANCE) && began.elapsed() > within {
                return Ok((count, false));
            }
        }
        Ok((count, true))
    }
}

/// A page of at most `limit` rows; one more row than that says that others follow.
fn cut(mut rows: Vec<Row>, limit: usize) -> Page {
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next =
        rows.last().filter(|_| has_more).map(|row| Cursor { created: row.created, iid: row.iid });
    Page { rows, next }
}
