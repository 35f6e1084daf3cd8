//! The store in memory passes the suite that all backends pass, and its own additions hold.

use everstep_store::{Direct, HubOptions, Writer, conformance};
use everstep_store_memory::MemoryTables;

#[test]
fn the_store_in_memory_conforms() {
    let mut last: Option<MemoryTables> = None;
    conformance::exercise(|which| {
        let (tables, hub) = match (which, &last) {
            (conformance::Which::Same, Some(tables)) => tables.reopen(),
            _ => MemoryTables::new(&HubOptions::new("suite", conformance::PARTITIONS)),
        };
        last = Some(tables.clone());
        Direct::new(tables, hub, Writer::Thread)
    });
}
