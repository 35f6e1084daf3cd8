//! Orchestrators on one partition's thread: each turn is either decided here or asked of a process.
//!
//! T1  A machine that is away with a question comes back with its answer, unless it was dropped meanwhile; an answer
//!     without a machine is for nobody.
//! T2  A turn whose process was lost is asked again. After [`LOSSES`] of the same turn its instance is parked, so that one
//!     orchestrator does not take the processes of all down for ever.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use everstep_model::{Action, Completion, Event, Iid, InstanceId, Timestamp};
use everstep_worker::{Decision, EntityBatch, EntityReply, History, TurnReply, TurnRequest, Turns};
use serde_json::json;

use crate::{
    failure::{self, Role},
    frame::Frame,
    orchestrator::{Machine, Next, Question},
    process::{Company, Loss, Place, Reply},
    worker::Shared,
};

/// How often a turn may lose its process.
const LOSSES: u32 = 3;

/// The orchestrators of one partition.
pub(crate) struct PythonTurns {
    shared: Arc<Shared>,
    residents: Residents,
}

type Residents = Arc<Mutex<HashMap<Iid, Resident>>>;

/// An execution and how far it is.
struct Resident {
    /// Names it to the process.
    run: u64,
    execution: u32,
    /// Events of the history that it has seen or made.
    seen: u32,
    place: Where,
}

enum Where {
    Here(Box<Machine>),
    /// With the question of the turn that began then.
    Away(Timestamp),
}

impl PythonTurns {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, residents: Arc::default() }
    }

    fn residents(&self) -> MutexGuard<'_, HashMap<Iid, Resident>> {
        lock(&self.residents)
    }

    /// The machine of an execution at the point that the request says.
    fn machine(&self, request: &TurnRequest<'_>) -> Result<(u64, Box<Machine>), TurnReply> {
        let held = self.residents().remove(&request.iid);
        let before: &[Event] = match request.history {
            History::Seen(0) => &[],
            History::Full(events) => events,
            History::Seen(count) => {
                return match held {
                    Some(Resident { run, execution, seen, place: Where::Here(machine) })
                        if seen == count && execution == request.execution =>
                    {
                        Ok((run, machine))
                    }
                    held => {
                        held.into_iter().for_each(|held| self.forget(request.iid, &held));
                        Err(TurnReply::NeedHistory)
                    }
                };
            }
        };
        held.into_iter().for_each(|held| self.forget(request.iid, &held));
        let mut machine = Box::new(Machine::new(request.name, request.execution_id));
        machine.replay(before);
        Ok((self.shared.new_run(), machine))
    }

    fn forget(&self, iid: Iid, resident: &Resident) {
        let frame = json!({ "t": "drop", "run": resident.run }).to_string() + "\n";
        self.shared.pool.tell(iid.0, frame);
    }

    /// What becomes of an instance whose function the app does not have.
    fn unknown(&self, request: &TurnRequest<'_>) -> TurnReply {
        let is_child = request
            .events
            .iter()
            .any(|event| matches!(event, Event::Started(started) if started.parent.is_some()));
        // Code of an instance that ran before may come back; nobody has ever had that of a new child.
        if request.history.is_empty() && is_child && !self.shared.is_broken(request.name) {
            let known = self.shared.names(Role::Orchestrator);
            let failure = failure::unknown(Role::Orchestrator, request.name, &known);
            let end = Action::Complete(Completion::Failed(Box::new(failure)));
            return TurnReply::Decided(Decision { actions: vec![end], ..Decision::default() });
        }
        TurnReply::UnknownFunction
    }
}

impl Turns for PythonTurns {
    fn turn(&mut self, request: &TurnRequest<'_>) -> TurnReply {
        let Some(function) = self.shared.function(Role::Orchestrator, request.name) else {
            return self.unknown(request);
        };
        let (run, mut machine) = match self.machine(request) {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        let seen = request.history.len() + request.events.len() as u32;
        let execution = request.execution;
        match machine.turn(request.instance, request.events) {
            Next::Decided(decision) => {
                let seen = seen + decision.actions.len() as u32;
                let place = Where::Here(machine);
                self.residents().insert(request.iid, Resident { run, execution, seen, place });
                TurnReply::Decided(decision)
            }
            Next::Ask(question) => {
                let Some(now) = began(request.events) else { return TurnReply::NeedHistory };
                let place = Where::Away(now);
                self.residents().insert(request.iid, Resident { run, execution, seen, place });
                let asking = Asking {
                    shared: self.shared.clone(),
                    residents: self.residents.clone(),
                    iid: request.iid,
                    instance: request.instance.clone(),
                    name: function,
                    now,
                    run,
                    seen,
                };
                drop(self.shared.runtime.spawn(asking.ask(machine, question)));
                TurnReply::Later
            }
        }
    }

    fn entity(&mut self, batch: &EntityBatch) -> EntityReply {
        unreachable!("entities of Python are not pure: {:?}", batch.entity)
    }

    fn evict(&mut self, iid: Iid) {
        let held = self.residents().remove(&iid);
        held.into_iter().for_each(|held| self.forget(iid, &held));
        self.shared.forgive(iid);
    }

    fn resident(&self) -> usize {
        self.residents().len()
    }
}

/// A question that is under way.
struct Asking {
    shared: Arc<Shared>,
    residents: Residents,
    iid: Iid,
    instance: InstanceId,
    /// The function's own name.
    name: String,
    now: Timestamp,
    run: u64,
    seen: u32,
}

impl Asking {
    async fn ask(self, mut machine: Box<Machine>, question: Question) {
        let Question { context, from, played, items, asked } = question;
        let mut frame = json!({
            "t": "turn", "run": self.run, "fn": self.name, "inv": self.shared.new_invocation(),
            "from": from, "played": played, "items": items,
        });
        if let Some(context) = context {
            frame["ctx"] = context;
        }
        let company =
            if self.shared.losses(self.iid) > 0 { Company::Alone } else { Company::Others };
        let limit = self.shared.limit;
        let frame = Frame::of(&frame);
        let place = Place::Thinks(self.iid.0);
        let ended = self.shared.pool.call(place, company, limit, |id| frame.numbered(id)).await;
        let reply = match ended {
            Ok(Reply::Turn(turned)) if turned.need => TurnReply::NeedHistory,
            Ok(Reply::Turn(turned)) => match machine.answered(asked, *turned) {
                Ok(decision) => return self.decided(machine, decision),
                Err(reason) => TurnReply::NonDeterminism { reason },
            },
            Ok(Reply::Call(_)) | Err(Loss::Swept) => TurnReply::Later,
            Err(Loss::Crashed(how)) => self.lost(&format!("ended ({how})")),
            Err(Loss::TooLong) => self.lost("was ended, since the turn took too long"),
        };
        if self.take_back() {
            self.shared.answer(&self.instance, self.now, reply);
        }
    }

    fn decided(self, machine: Box<Machine>, decision: Decision) {
        let seen = self.seen + decision.actions.len() as u32;
        self.shared.forgive(self.iid);
        {
            let mut residents = lock(&self.residents);
            let Some(resident) = residents.get_mut(&self.iid).filter(|held| self.is_mine(held))
            else {
                return;
            };
            resident.seen = seen;
            resident.place = Where::Here(machine);
        }
        self.shared.answer(&self.instance, self.now, TurnReply::Decided(decision));
    }

    /// The process went away with the turn.
    fn lost(&self, how: &str) -> TurnReply {
        let count = self.shared.blame(self.iid);
        tracing::warn!(
            target: "Worker", instance = %self.instance,
            "the process that ran a turn of `{}` {how} (loss {count} of {LOSSES} of this turn)", self.name
        );
        if count < LOSSES {
            return TurnReply::Later;
        }
        let reason = format!(
            "the process that ran a turn of `{}` {how}, {LOSSES} times; see the log for what it said, mend the code, and start the host again",
            self.name
        );
        TurnReply::NonDeterminism { reason }
    }

    fn is_mine(&self, resident: &Resident) -> bool {
        resident.run == self.run && matches!(resident.place, Where::Away(now) if now == self.now)
    }

    /// Drops the execution; tells whether it was still waited for.
    fn take_back(&self) -> bool {
        let mut residents = lock(&self.residents);
        let is_mine = residents.get(&self.iid).is_some_and(|held| self.is_mine(held));
        if is_mine {
            residents.remove(&self.iid);
        }
        is_mine
    }
}

/// The time of the turn that these events begin.
fn began(events: &[Event]) -> Option<Timestamp> {
    events.iter().rev().find_map(|event| match event {
        Event::TurnStarted { now } => Some(*now),
        _ => None,
    })
}

fn lock(residents: &Residents) -> MutexGuard<'_, HashMap<Iid, Resident>> {
    residents.lock().unwrap_or_else(PoisonError::into_inner)
}
