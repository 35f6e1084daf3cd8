//! Orchestrators on one partition's thread.
//!
//! An execution stays resident between turns; an evicted one is rebuilt from its history, which gives the same.

use std::{collections::HashMap, sync::Arc};

use everstep_model::{Event, Iid};
use everstep_worker::{EntityBatch, EntityReply, History, TurnReply, TurnRequest, Turns};

use crate::{app::Registry, execution::Execution};

/// The executions of one partition.
pub(crate) struct LocalTurns {
    registry: Arc<Registry>,
    resident: HashMap<Iid, Execution>,
}

impl LocalTurns {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, resident: HashMap::new() }
    }

    /// Makes the execution and brings it to the end of its history.
    fn rebuild(
        &self,
        request: &TurnRequest<'_>,
        history: &[Event],
    ) -> Result<Execution, TurnReply> {
        let (name, code) =
            self.registry.orchestrators.find(request.name).ok_or(TurnReply::UnknownFunction)?;
        let Some(Event::Started(started)) = history.first().or(request.events.first()) else {
            let reason = "the history does not begin with the start of the execution".to_owned();
            return Err(TurnReply::NonDeterminism { reason });
        };
        let mut execution = Execution::new((name, code.as_ref()), request, started);
        execution.replay(history).map_err(|reason| TurnReply::NonDeterminism { reason })?;
        Ok(execution)
    }
}

impl Turns for LocalTurns {
    fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply {
        let seen = match request.history {
            History::Seen(0) | History::Full(_) => {
                self.resident.remove(&request.iid);
                let history =
                    if let History::Full(history) = request.history { history } else { &[] };
                match self.rebuild(request, history) {
                    Ok(execution) => self.resident.insert(request.iid, execution),
                    Err(reply) => return reply,
                };
                request.history.len()
            }
            History::Seen(seen) => seen,
        };
        let fits = |execution: &&mut Execution| {
            execution.seen == seen && execution.number == request.execution
        };
        let Some(execution) = self.resident.get_mut(&request.iid).filter(fits) else {
            self.resident.remove(&request.iid);
            return TurnReply::NeedHistory;
        };
        let decision = execution.advance(request.events);
        if execution.has_ended() {
            self.resident.remove(&request.iid);
        }
        TurnReply::Decided(decision)
    }

    fn entity(&mut self, batch: &EntityBatch) -> EntityReply {
        self.registry.run_entity_now(batch)
    }

    fn evict(&mut self, iid: Iid) {
        self.resident.remove(&iid);
    }

    fn resident(&self) -> usize {
        self.resident.len()
    }
}
