//! Turns: asking the worker, and what a commit does to memory.

use everstep_engine::{
    Decided, EntityAnswer, EntityTurn, Finished, Incoming, Turn, begin, begin_entity, externalise,
    finish, finish_entity, hold, park, present, restart_needed,
};
use everstep_model::{
    Action, Body, Commit, Completion, Event, InstanceId, Kind, Message, Status, Timestamp, stored,
};
use everstep_worker::{
    Decision, EntityBatch, EntityReply, History, OperationCall, Purity, TurnReply, TurnRequest,
    Turns,
};

use super::{
    Asks, Audience, Busy, Effect, Known, Output, Partition, Response, Rings, Seen, Slot, dispatch,
    values::measured_answer,
};
use crate::lifecycle::Turned;

impl Partition {
    /// Lets an instance take a turn with what is there for it.
    pub(super) fn turn(&mut self, id: &InstanceId, out: &mut Vec<Output>) {
        self.used += 1;
        let used = self.used;
        let Some(known) = self.known(id) else { return };
        known.queued = false;
        known.used = used;
        match known.instance.id.kind() {
            _ if self.held => self.held_turn(id, out),
            Kind::Entity => self.entity_turn(id),
            Kind::Orchestration => self.orchestration_turn(id, out),
        }
    }

    fn orchestration_turn(&mut self, id: &InstanceId, out: &mut Vec<Output>) {
        let most = self.options.turn_messages;
        let Some(known) = self.known(id) else { return };
        // A termination takes the turn back from whoever has it; a late answer finds nobody waiting.
        let ends = known.mail.iter().any(|message| matches!(message.body, Body::Terminate { .. }));
        if matches!(known.busy, Busy::History | Busy::Remote(_)) && !ends {
            return;
        }
        known.busy = Busy::No;
        // Taken whole when possible: an instance that waits keeps no empty buffers.
        let mail: Vec<Message> = if known.mail.len() <= most {
            std::mem::take(&mut known.mail).into()
        } else {
            known.mail.drain(..most).collect()
        };
        let more = !known.mail.is_empty();
        let mut incoming: Vec<Incoming> = Vec::with_capacity(mail.len());
        if !known.instance.inbox.is_empty() && restart_needed(&known.instance, &mail) {
            let held = known.instance.inbox.iter();
            incoming.extend(held.map(|(number, message)| Incoming {
                held: Some(number),
                message: message.clone(),
            }));
        }
        incoming.extend(mail.into_iter().map(|message| Incoming { held: None, message }));
        if more {
            self.enqueue(id);
        }
        if self.rewinds(id, &incoming) {
            self.rewind_turn(id, incoming, out);
            return;
        }
        self.run(id, incoming, None, out);
    }

    /// Begins a turn and asks the worker. `history` is what is folded of it, if the worker asked for it.
    pub(super) fn run(
        &mut self,
        id: &InstanceId,
        incoming: Vec<Incoming>,
        history: Option<&[Event]>,
        out: &mut Vec<Output>,
    ) {
        let (wall, limits) = (self.now, self.options.limits);
        let Some(Slot::Known(known)) = self.slots.get_mut(id) else { return };
        let now = present(wall.max(known.lost), &known.instance, &incoming);
        let turn = begin(&known.instance, now, incoming.clone());
        if turn.is_empty() {
            return;
        }
        if turn.ended || !turn.ask {
            let Finished { commit, .. } =
                finish(&known.instance, &limits, turn, Decided::default(), &mut no_next);
            let events = commit.events.clone();
            known.unseen.extend(events);
            self.commit(id, commit);
            return;
        }
        let reply = ask(&mut *self.turns, known, &turn, history);
        match reply {
            TurnReply::Decided(decision) => self.decided(id, turn, decision),
            TurnReply::NeedHistory => {
                let (iid, execution) = (known.instance.iid, known.instance.execution);
                if known.first_in_memory() == 0 && history.is_none() {
                    self.run(id, incoming, Some(&[]), out);
                    return;
                }
                known.busy = Busy::History;
                self.put_aside(id, incoming);
                out.push(Output::LoadHistory(id.clone(), iid, execution));
            }
            TurnReply::UnknownFunction => {
                known.busy = Busy::NoCode;
                self.put_aside(id, incoming);
            }
            TurnReply::NonDeterminism { reason } => {
                let code = self.code.identity();
                let commit = park(&known.instance, now, incoming, reason, code);
                self.turns.evict(known.instance.iid);
                tracing::warn!(instance = %id, "the history does not fit the code; the instance is parked");
                self.commit(id, commit);
            }
            TurnReply::Later => self.wait_for_worker(id, incoming),
        }
    }

    fn decided(&mut self, id: &InstanceId, turn: Turn, decision: Decision) {
        let limits = self.options.limits;
        let continues =
            |action: &Action| matches!(action, Action::Complete(Completion::ContinueAsNew { .. }));
        let next_id = decision.actions.iter().any(continues).then(|| self.new_execution_id());
        let Some(Slot::Known(known)) = self.slots.get_mut(id) else { return };
        let Decision { actions, custom_status, wait } = decision;
        let decided = Decided { actions, custom_status, wait };
        let finished = finish(&known.instance, &limits, turn, decided, &mut || {
            next_id.clone().expect("one is made for a decision to continue")
        });
        known.unseen = Vec::new();
        let continues = finished.next.is_some();
        self.commit(id, finished.commit);
        if let Some(known) = self.known(id) {
            known.seen = known.instance.history_len;
        }
        if let Some(next) = finished.next {
            self.commit(id, next);
        }
        if continues {
            self.enqueue(id);
        }
    }

    /// Puts fresh messages into the durable inbox: the turn they came for cannot be taken at present.
    pub(super) fn put_aside(&mut self, id: &InstanceId, incoming: Vec<Incoming>) {
        let now = self.now;
        let Some(known) = self.known(id) else { return };
        let accepted = hold(&known.instance, now, incoming).held;
        let due: Vec<Timestamp> = accepted.iter().filter_map(delayed).collect();
        if !accepted.is_empty() {
            let commit = Commit {
                iid: known.instance.iid,
                now: known.instance.last_now,
                accepted,
                ..Commit::default()
            };
            self.commit(id, commit);
        }
        due.into_iter().for_each(|at| self.alarm(at, id.clone(), Rings::Look));
    }

    /// The worker has the turn and answers later. All its messages are held, so that the answer finds them.
    fn wait_for_worker(&mut self, id: &InstanceId, incoming: Vec<Incoming>) {
        self.put_aside(id, incoming);
        let wall = self.now;
        let Some(known) = self.known(id) else { return };
        let held = known.instance.inbox.iter();
        let incoming: Vec<_> = held
            .map(|(number, message)| Incoming { held: Some(number), message: message.clone() })
            .collect();
        let now = present(wall.max(known.lost), &known.instance, &incoming);
        let turn = begin(&known.instance, now, incoming.clone());
        known.busy = Busy::Remote(Box::new((turn, incoming)));
    }

    pub(super) fn turn_answered(
        &mut self,
        id: &InstanceId,
        at: Timestamp,
        reply: TurnReply,
        out: &mut Vec<Output>,
    ) {
        let code = self.code.identity();
        let Some(known) = self.known(id) else { return };
        // A turn that was taken back, or another host run's.
        if !matches!(&known.busy, Busy::Remote(pending) if pending.0.now == at) {
            return;
        }
        let Busy::Remote(pending) = std::mem::replace(&mut known.busy, Busy::No) else { return };
        let (turn, incoming) = *pending;
        known.lost = turn.now.next_micro();
        match reply {
            TurnReply::Decided(decision) => self.decided(id, turn, decision),
            TurnReply::NeedHistory => {
                let (iid, execution) = (known.instance.iid, known.instance.execution);
                known.busy = Busy::History;
                out.push(Output::LoadHistory(id.clone(), iid, execution));
            }
            TurnReply::UnknownFunction => known.busy = Busy::NoCode,
            TurnReply::NonDeterminism { reason } => {
                tracing::warn!(instance = %id, "the worker gave the instance up; it is parked: {reason}");
                let commit = park(&known.instance, turn.now, incoming, reason, code);
                self.commit(id, commit);
            }
            // The worker lost the turn; it is asked again.
            TurnReply::Later => {}
        }
        self.enqueue(id);
    }

    pub(super) fn history_loaded(
        &mut self,
        id: &InstanceId,
        execution: u32,
        events: &[Event],
        out: &mut Vec<Output>,
    ) {
        let Some(known) = self.known(id) else { return };
        if !matches!(known.busy, Busy::History) {
            return;
        }
        known.busy = Busy::No;
        if known.instance.execution != execution || (events.len() as u32) < known.first_in_memory()
        {
            // A fold or a new execution came in between: the next turn asks again.
            self.enqueue(id);
            return;
        }
        let held = known.instance.inbox.iter();
        let mut incoming: Vec<_> = held
            .map(|(number, message)| Incoming { held: Some(number), message: message.clone() })
            .collect();
        incoming.extend(known.mail.drain(..).map(|message| Incoming { held: None, message }));
        if self.rewinds(id, &incoming) {
            self.rewind_with(id, &incoming, events);
        } else if self.held {
            self.put_aside(id, incoming);
        } else {
            self.run(id, incoming, Some(events), out);
        }
    }

    pub(super) fn code_changed(&mut self) {
        let code = self.code.identity();
        let mut again = Vec::new();
        for (id, slot) in &mut self.slots {
            let Slot::Known(known) = slot else { continue };
            if matches!(known.busy, Busy::NoCode) {
                known.busy = Busy::No;
                again.push(id.clone());
            }
            if known.instance.rare.parked.as_ref().is_some_and(|parked| parked.code != code) {
                known.mail.push_back(super::local(Body::Unpark));
                again.push(id.clone());
            }
        }
        again.sort();
        again.iter().for_each(|id| self.enqueue(id));
    }

    // Rewind

    pub(super) fn rewinds(&mut self, id: &InstanceId, incoming: &[Incoming]) -> bool {
        let failed = self
            .known(id)
            .is_some_and(|known| known.instance.status == everstep_model::Status::Failed);
        failed
            && incoming.iter().any(|incoming| matches!(incoming.message.body, Body::Rewind { .. }))
    }

    /// A rewind needs the history with all its values.
    pub(super) fn rewind_turn(
        &mut self,
        id: &InstanceId,
        incoming: Vec<Incoming>,
        out: &mut Vec<Output>,
    ) {
        let Some(known) = self.known(id) else { return };
        if known.first_in_memory() == 0 {
            self.rewind_with(id, &incoming, &[]);
            return;
        }
        known.busy = Busy::History;
        let (iid, execution) = (known.instance.iid, known.instance.execution);
        self.put_aside(id, incoming);
        out.push(Output::LoadHistory(id.clone(), iid, execution));
    }

    fn rewind_with(&mut self, id: &InstanceId, incoming: &[Incoming], folded: &[Event]) {
        let wall = self.now;
        let Some(known) = self.known(id) else { return };
        let now = present(wall, &known.instance, incoming);
        let history = whole_history(known, folded);
        let reason = incoming.iter().find_map(|incoming| match &incoming.message.body {
            Body::Rewind { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        match everstep_engine::rewind(&known.instance, &history, &reason.unwrap_or_default(), now) {
            Ok(mut commit) => {
                commit.consumed = incoming.iter().filter_map(|incoming| incoming.held).collect();
                let iid = known.instance.iid;
                self.turns.evict(iid);
                self.commit(id, commit);
                // The shortened history is repeated, not taken for new: what it records was decided before.
                if let Some(known) = self.known(id) {
                    known.unseen.clear();
                    known.seen = known.instance.history_len;
                }
                // Calls that the rewind opened again are handed out as after a start.
                let tickets = self.known(id).map(|known| {
                    known.looked = false;
                    known.take_asking(Asks::Rewind)
                });
                for ticket in tickets.into_iter().flatten() {
                    self.reply(ticket, Response::Accepted);
                }
                self.look(id);
                self.enqueue(id);
            }
            Err(everstep_engine::RewindRefused::NotFailed(_)) => {}
        }
    }

    // Entities

    fn entity_turn(&mut self, id: &InstanceId) {
        let (wall, limits) = (self.now, self.options.limits);
        let name = id.entity_parts().map(|(name, _)| name.to_owned()).unwrap_or_default();
        let options = self.code.entity(&name);
        let Some(known) = self.known(id) else { return };
        if matches!(known.busy, Busy::Entity(_)) {
            return;
        }
        known.busy = if options.is_some() { Busy::No } else { Busy::NoCode };
        let pure = options.is_some_and(|options| options.purity == Purity::Pure);
        let fresh: Vec<_> =
            known.mail.drain(..).map(|message| Incoming { held: None, message }).collect();
        if !pure {
            self.put_aside(id, fresh);
            if options.is_some() {
                self.entity_batch(id);
            }
            return;
        }
        let Some(known) = self.known(id) else { return };
        let held = known.instance.inbox.iter();
        let mut incoming: Vec<_> = held
            .map(|(number, message)| Incoming { held: Some(number), message: message.clone() })
            .collect();
        incoming.extend(fresh);
        let now = present(wall, &known.instance, &incoming);
        let turn = begin_entity(&known.instance, &limits, now, incoming);
        let reply = if turn.operations.is_empty() { None } else { Some(batch(known, &turn)) };
        let answer = match reply {
            Some(batch) => answer(self.turns.entity(&batch)),
            None => idle(self.known(id).and_then(|known| known.instance.rare.state.clone())),
        };
        self.finish_entity(id, turn, answer);
    }

    /// Begins a batch whose operations run beside the partition, once its messages are durable.
    fn entity_batch(&mut self, id: &InstanceId) {
        let (wall, limits) = (self.now, self.options.limits);
        let Some(known) = self.known(id) else { return };
        let held = known.instance.inbox.iter();
        let incoming: Vec<_> = held
            .map(|(number, message)| Incoming { held: Some(number), message: message.clone() })
            .collect();
        let now = present(wall, &known.instance, &incoming);
        let turn = begin_entity(&known.instance, &limits, now, incoming);
        if turn.operations.is_empty() {
            let answer = idle(known.instance.rare.state.clone());
            self.finish_entity(id, turn, answer);
            return;
        }
        let batch = batch(known, &turn);
        known.busy = Busy::Entity(Box::new(turn));
        self.building.effects.push(Effect::Entity(Box::new(batch)));
    }

    pub(super) fn entity_ended(&mut self, id: &InstanceId, reply: EntityReply) {
        let Some(known) = self.known(id) else { return };
        if let Busy::Entity(turn) = std::mem::replace(&mut known.busy, Busy::No) {
            self.finish_entity(id, *turn, answer(reply));
        }
    }

    fn finish_entity(
        &mut self,
        id: &InstanceId,
        turn: everstep_engine::EntityTurn,
        answer: EntityAnswer,
    ) {
        if turn.is_empty() {
            return;
        }
        let limits = self.options.limits;
        let Some(known) = self.known(id) else { return };
        let answer = measured_answer(&known.instance, &limits, &turn, answer);
        let due: Vec<Timestamp> = turn.held.iter().filter_map(delayed).collect();
        let ran = !turn.operations.is_empty();
        let unlocked = turn.lock.is_some();
        let ids: Vec<_> = answer.sends.iter().map(|_| self.identity()).collect();
        let mut ids = ids.into_iter();
        let Some(known) = self.known(id) else { return };
        let commit = finish_entity(&known.instance, turn, answer, &mut || {
            ids.next().expect("one was made for each send")
        });
        self.commit(id, commit);
        due.into_iter().for_each(|at| self.alarm(at, id.clone(), Rings::Look));
        let waiting = self.known(id).is_some_and(|known| !known.instance.inbox.is_empty());
        if waiting && (ran || unlocked) {
            self.enqueue(id);
        }
    }

    // Commits

    /// Tells what a turn did, once it is durable.
    fn tell_listener(&mut self, id: &InstanceId, commit: &Commit) {
        if self.options.audience == Audience::None || commit.events.is_empty() {
            return;
        }
        let Some(Slot::Known(known)) = self.slots.get(id) else { return };
        let turned = Turned::of(&known.instance, commit);
        self.building.effects.push(Effect::Turned(Box::new(turned)));
    }

    /// Makes a commit part of the group and of memory, and lines up what it brings about.
    pub(super) fn commit(&mut self, id: &InstanceId, mut commit: Commit) {
        let Some(Slot::Known(known)) = self.slots.get(id) else { return };
        let outgoing = std::mem::take(&mut commit.outgoing);
        let watched = known.asking.iter().any(|(asks, _)| *asks == Asks::Change);
        let seen = watched.then(|| Seen::of(&known.instance));
        let Some(commit) = self.enter(id, commit) else { return };
        if let Some(seen) = seen {
            self.tell_watchers(id, &seen);
        }
        self.tell_listener(id, &commit);
        self.take_effect(id, &commit);
        outgoing.into_iter().for_each(|envelope| self.send(envelope));
    }

    /// Makes a commit part of the group and of memory, and nothing else. It comes back with its long values stored apart.
    pub(super) fn enter(&mut self, id: &InstanceId, mut commit: Commit) -> Option<Commit> {
        let inline_bytes = self.options.limits.inline_bytes;
        let Some(Slot::Known(known)) = self.slots.get_mut(id) else { return None };
        // The worker has yet to see how the execution began, with the values themselves.
        let unseen = commit.begin.is_some().then(|| commit.events.clone());
        externalise(&known.instance, &mut commit, inline_bytes);
        self.warn_of_large(id, &commit);
        let Some(Slot::Known(known)) = self.slots.get_mut(id) else { return None };
        let mut events = Vec::new();
        commit.events.iter().for_each(|event| stored::put_event(&mut events, event));
        stored::put_commit_entry(&mut self.building.entries, &commit, &events);
        let before = status_of(known);
        let weight = known.weight();
        let had_ended = known.instance.status.is_terminal();
        known.record(&commit, &events);
        known.unseen = unseen.unwrap_or_else(|| std::mem::take(&mut known.unseen));
        self.weight = (self.weight + known.weight()).saturating_sub(weight);
        if had_ended {
            self.building.changed.push(id.clone());
        }
        let after = status_of(known);
        if !known.dirty {
            known.dirty = true;
            self.dirty.push(id.clone());
        }
        if before != after {
            self.count(before, -1);
            self.count(after, 1);
        }
        Some(commit)
    }

    /// Answers those who watch, if there is something new to see.
    fn tell_watchers(&mut self, id: &InstanceId, seen: &Seen) {
        let Some(Slot::Known(known)) = self.slots.get_mut(id) else { return };
        if *seen == Seen::of(&known.instance) {
            return;
        }
        let (instance, watchers) = (known.instance.clone(), known.take_asking(Asks::Change));
        for watcher in watchers {
            self.reply(watcher, Response::Instance(Box::new(instance.clone())));
        }
    }

    pub(super) fn count(&mut self, key: Option<(Kind, String, Status)>, by: i64) {
        if let Some(key) = key {
            *self.counts.entry(key).or_default() += by;
        }
    }

    /// What a commit's events mean for the world: activities to run, alarms to set, clients to answer.
    fn take_effect(&mut self, id: &InstanceId, commit: &Commit) {
        let rewound = commit.begin.as_ref().is_some_and(|begin| !begin.fresh)
            && commit.events.iter().any(|event| matches!(event, Event::Rewound { .. }));
        if rewound {
            return;
        }
        let mut ended = false;
        for event in &commit.events {
            match event {
                Event::TaskScheduled { id: task, .. } => {
                    let Some(Slot::Known(known)) = self.slots.get(id) else { return };
                    let effect =
                        dispatch(known, (known.instance.execution, *task)).map(Effect::Activity);
                    self.building.effects.extend(effect);
                }
                Event::TimerCreated { id: timer, fire_at, .. } => {
                    let execution = self.known(id).map_or(0, |known| known.instance.execution);
                    self.alarm(*fire_at, id.clone(), Rings::Timer(execution, *timer));
                }
                Event::Terminated { .. } => {
                    self.building.effects.push(Effect::DropActivities(commit.iid));
                    ended = true;
                }
                Event::Completed { .. } | Event::Failed { .. } => ended = true,
                Event::Started(_)
                | Event::TurnStarted { .. }
                | Event::TaskEnded { .. }
                | Event::ChildCreated { .. }
                | Event::ChildEnded { .. }
                | Event::TimerFired { .. }
                | Event::TimerCanceled { .. }
                | Event::EventSent { .. }
                | Event::EventRaised { .. }
                | Event::OperationCalled { .. }
                | Event::OperationSignaled { .. }
                | Event::OperationEnded { .. }
                | Event::LockRequested { .. }
                | Event::LockGranted { .. }
                | Event::LockReleased { .. }
                | Event::Suspended { .. }
                | Event::Resumed { .. }
                | Event::Rewound { .. } => {}
            }
        }
        if ended {
            self.ended(id);
        }
    }

    /// An execution has ended: its future goes, and who waits for the end hears of it.
    fn ended(&mut self, id: &InstanceId) {
        let Some(Slot::Known(known)) = self.slots.get_mut(id) else { return };
        known.unseen = Vec::new();
        let (iid, waiters) = (known.instance.iid, known.take_asking(Asks::End));
        let answers: Vec<_> = waiters
            .iter()
            .map(|ticket| (*ticket, Response::Instance(Box::new(known.instance.clone()))))
            .collect();
        self.turns.evict(iid);
        answers.into_iter().for_each(|(ticket, response)| self.reply(ticket, response));
    }
}

/// What the counters count an instance as.
pub(super) fn status_of(known: &Known) -> Option<(Kind, String, Status)> {
    let instance = &known.instance;
    let exists = instance.execution > 0 || instance.id.kind() == Kind::Entity;
    (exists && known.counted).then(|| (instance.id.kind(), instance.name.clone(), instance.status))
}

fn no_next() -> everstep_model::ExecutionId {
    unreachable!("only a worker's decision continues as new")
}

/// Asks the worker for a turn. `folded` is the part of the history that was read for it.
fn ask(turns: &mut dyn Turns, known: &Known, turn: &Turn, folded: Option<&[Event]>) -> TurnReply {
    let instance = &known.instance;
    let (before, joined);
    let (history, events) = match folded {
        None if known.unseen.is_empty() => (History::Seen(known.seen), &*turn.events),
        None => {
            joined = [&*known.unseen, &*turn.events].concat();
            (History::Seen(known.seen), &*joined)
        }
        Some(folded) => {
            before = whole_history(known, folded);
            (History::Full(&before), &*turn.events)
        }
    };
    turns.turn(&TurnRequest {
        iid: instance.iid,
        instance: &instance.id,
        execution: instance.execution,
        execution_id: &instance.execution_id,
        name: &instance.name,
        history,
        events,
    })
}

/// All recorded events of the present execution, given those that the tables have.
pub(super) fn whole_history(known: &Known, folded: &[Event]) -> Vec<Event> {
    let mut all = folded.to_vec();
    for tail in known.tails() {
        let skip = all.len().saturating_sub(tail.first as usize);
        let events = stored::events(&tail.bytes)
            .map(|event| event.expect("what was encoded in this process decodes"));
        all.extend(events.skip(skip));
    }
    let load = &mut |payload: &everstep_model::PayloadRef| known.payload(payload).ok_or(());
    // What is folded came with its values; only unfolded references are left, and their bytes are in memory.
    let found = everstep_engine::resolve(&mut all, load);
    assert!(found.is_ok(), "the payloads of unfolded events are in memory");
    all
}

fn batch(known: &Known, turn: &EntityTurn) -> EntityBatch {
    let call = |operation: &everstep_model::Operation| OperationCall {
        id: operation.id,
        name: operation.name.clone(),
        input: operation.input.clone(),
        sender: operation.sender.as_ref().map(|sender| sender.instance.clone()),
    };
    EntityBatch {
        entity: known.instance.id.clone(),
        state: known.instance.rare.state.clone(),
        operations: turn.operations.iter().map(|(_, operation)| call(operation)).collect(),
        now: turn.now,
    }
}

fn answer(reply: EntityReply) -> EntityAnswer {
    EntityAnswer { results: reply.results, state: reply.state, sends: reply.sends }
}

/// The answer to a batch without operations.
fn idle(state: Option<everstep_model::Value>) -> EntityAnswer {
    EntityAnswer { results: Vec::new(), state, sends: Vec::new() }
}

/// When a held message is due, if it is a delayed signal.
fn delayed(message: &Message) -> Option<Timestamp> {
    if let Body::Operation(operation) = &message.body { operation.due } else { None }
}
