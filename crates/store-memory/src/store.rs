//! The whole store in memory: [`Direct`] over [`MemoryTables`], made in one call.

use std::sync::Arc;

use everstep_model::PartitionId;
use everstep_store::{
    Direct, Error, Fold, Hub, HubOptions, Mode, Observer, Pressure, Record, Store, Writer,
};

use crate::MemoryTables;

/// The store in memory. A group is durable as soon as the writer thread has put it into the tables.
pub struct MemoryStore(Direct<MemoryTables>);

impl MemoryStore {
    /// An empty hub named `memory` of that many partitions.
    pub fn new(partitions: u16) -> Self {
        let (tables, hub) = MemoryTables::new(&HubOptions::new("memory", partitions));
        Self(Direct::new(tables, hub, Writer::Thread))
    }
}

impl Store for MemoryStore {
    type Tables = MemoryTables;

    fn hub(&self) -> &Hub {
        self.0.hub()
    }

    fn mode(&self) -> Mode {
        self.0.mode()
    }

    fn tables(&self) -> &MemoryTables {
        self.0.tables()
    }

    fn acquire(&self, partition: PartitionId) -> Result<u64, Error> {
        self.0.acquire(partition)
    }

    fn release(&self, partition: PartitionId) -> Result<(), Error> {
        self.0.release(partition)
    }

    fn recover(
        &self,
        partitions: &[PartitionId],
        sink: &mut dyn FnMut(Record),
    ) -> Result<(), Error> {
        self.0.recover(partitions, sink)
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        self.0.observe(observer);
    }

    fn append(&self, record: Record) {
        self.0.append(record);
    }

    fn fold(&self, folds: &[Fold]) -> Result<(), Error> {
        self.0.fold(folds)
    }

    fn pressure(&self) -> Pressure {
        self.0.pressure()
    }

    fn close(&self) -> Result<(), Error> {
        self.0.close()
    }
}
