//! What clients ask, and the answers.

use everstep_engine::StartOutcome;
use everstep_model::{Body, Iid, InstanceId, Message, Purged, Status, stored};
use everstep_store::{Cursor, Filter, Order, Row};

use super::{
    Asks, Busy, Effect, Known, Output, Partition, Request, Response, Seen, Slot, Ticket, Waiting,
    local,
};

impl Partition {
    pub(super) fn request(&mut self, ticket: Ticket, request: Request, out: &mut Vec<Output>) {
        let request = match request {
            Request::Start(None, start) => {
                let id = InstanceId::from_stored(&self.local_id());
                self.answer_start(ticket, &id, *start);
                return;
            }
            Request::PurgeListed(listed) => {
                let count = listed.iter().filter(|row| self.purge_listed(row)).count();
                self.reply(ticket, Response::Purged(count as u64));
                return;
            }
            Request::Overlay(filter, order, after, limit) => {
                let (rows, hidden) = self.overlay(&filter, order, after, limit);
                self.reply(ticket, Response::Overlay(rows, hidden));
                return;
            }
            Request::Unfolded => {
                let unfolded = self.not_in_tables();
                self.reply(ticket, Response::Unfolded(unfolded));
                return;
            }
            Request::CountOverlay(filter) => {
                let matches = |known: &Known| filter.matches(&crate::row::shown(&known.instance));
                let count = self.unfolded().filter(|known| matches(known)).count();
                let hidden = self.hidden();
                self.reply(ticket, Response::OverlayCount(count as u64, hidden));
                return;
            }
            Request::Counts => {
                let counts = self.counts.iter().filter(|(_, count)| **count > 0);
                let counts = counts
                    .map(|((kind, name, status), count)| {
                        (*kind, name.clone(), *status, count.cast_unsigned())
                    })
                    .collect();
                self.reply(ticket, Response::Counts(counts));
                return;
            }
            Request::Payload(payload) => {
                let known = self.ids.get(&payload.iid).and_then(|id| self.slots.get(id));
                let bytes = known.and_then(|slot| {
                    if let Slot::Known(known) = slot { known.payload(&payload) } else { None }
                });
                self.reply(ticket, bytes.map_or(Response::AskTables, Response::Payload));
                return;
            }
            Request::Start(Some(_), _)
            | Request::Raise { .. }
            | Request::Signal(..)
            | Request::Suspend(..)
            | Request::Resume(..)
            | Request::Terminate(..)
            | Request::Rewind(..)
            | Request::Unpark(_)
            | Request::Purge(..)
            | Request::PurgeEmpty(_)
            | Request::Import(..)
            | Request::Get(_)
            | Request::Wait(_)
            | Request::Watch(..)
            | Request::History(_)
            | Request::Why(_) => request,
        };
        let Some(id) = subject(&request) else { return };
        let is_new = self.is_new(&id);
        match self.slots.get_mut(&id) {
            Some(Slot::Known(_)) => self.request_known(ticket, &id, request),
            Some(Slot::Loading(waiting)) => waiting.push(Waiting::Request(ticket, request)),
            None if is_new => self.request_to_nobody(ticket, request),
            // What only reads need not come into memory.
            None if matches!(request, Request::Get(_) | Request::History(_)) => {
                self.reply(ticket, Response::AskTables);
            }
            None => self.load(&id, Waiting::Request(ticket, request), out),
        }
    }

    fn request_known(&mut self, ticket: Ticket, id: &InstanceId, request: Request) {
        let Some(Slot::Known(known)) = self.slots.get_mut(id) else { return };
        let status = known.instance.status;
        let message = match request {
            Request::Start(_, start) => return self.answer_start(ticket, id, *start),
            Request::Watch(_, seen) if *seen == Seen::of(&known.instance) => {
                return known.asking.push((Asks::Change, ticket));
            }
            Request::Get(_) | Request::Watch(..) => {
                let response = Response::Instance(Box::new(known.instance.clone()));
                return self.reply(ticket, response);
            }
            Request::Wait(_) if status.is_terminal() => {
                let response = Response::Instance(Box::new(known.instance.clone()));
                return self.reply(ticket, response);
            }
            Request::Wait(_) => return known.asking.push((Asks::End, ticket)),
            Request::History(_) => return self.answer_history(ticket, id),
            Request::Why(_) => {
                let facts = crate::why::Facts::of(known, &*self.code);
                return self.reply(ticket, Response::Why(Box::new(facts)));
            }
            Request::Purge(_, force) => return self.answer_purge(ticket, id, force),
            Request::PurgeEmpty(_)
                if !known.instance.is_empty_entity() || !known.mail.is_empty() =>
            {
                return self.reply(ticket, Response::Purged(0));
            }
            Request::PurgeEmpty(_) => return self.answer_purge(ticket, id, true),
            Request::Import(archive, existing) => {
                return self.import_over(ticket, *archive, existing);
            }
            Request::Rewind(_, reason) if status == Status::Failed => {
                // Answered when the execution runs again: its history may have to be read first.
                known.asking.push((Asks::Rewind, ticket));
                known.mail.push_back(local(Body::Rewind { reason, start: None }));
                self.building.touched.push(id.clone());
                return self.enqueue(id);
            }
            Request::Rewind(..) => return self.reply(ticket, Response::WrongStatus(status)),
            Request::Signal(_, operation) => Body::Operation(operation),
            Request::Raise { .. }
            | Request::Suspend(..)
            | Request::Resume(..)
            | Request::Terminate(..)
            | Request::Unpark(_)
                if status.is_terminal() =>
            {
                return self.reply(ticket, Response::WrongStatus(status));
            }
            Request::Raise { name, input, key, .. } => Body::Raised { name, input, key },
            Request::Suspend(_, reason) => Body::Suspend { reason },
            Request::Resume(_, reason) => Body::Resume { reason },
            Request::Terminate(_, reason, recursive) => Body::Terminate { reason, recursive },
            Request::Unpark(_) => Body::Unpark,
            Request::PurgeListed(_)
            | Request::Overlay(..)
            | Request::CountOverlay(_)
            | Request::Unfolded
            | Request::Counts
            | Request::Payload(_) => return,
        };
        known.mail.push_back(local(message));
        self.building.touched.push(id.clone());
        self.enqueue(id);
        self.reply(ticket, Response::Accepted);
    }

    pub(super) fn request_to_nobody(&mut self, ticket: Ticket, request: Request) {
        match request {
            Request::Start(Some(id), start) => self.answer_start(ticket, &id, *start),
            Request::Signal(id, operation) => {
                self.deliver_to_nobody(&id, local(Body::Operation(operation)));
                self.reply(ticket, Response::Accepted);
            }
            Request::Import(archive, _) => {
                let imported = self.import(*archive);
                self.reply(ticket, Response::Imported(imported));
            }
            Request::Start(None, _)
            | Request::Raise { .. }
            | Request::Suspend(..)
            | Request::Resume(..)
            | Request::Terminate(..)
            | Request::Rewind(..)
            | Request::Unpark(_)
            | Request::Purge(..)
            | Request::PurgeEmpty(_)
            | Request::PurgeListed(_)
            | Request::Payload(_)
            | Request::Get(_)
            | Request::Wait(_)
            | Request::Watch(..)
            | Request::History(_)
            | Request::Why(_)
            | Request::Overlay(..)
            | Request::CountOverlay(_)
            | Request::Unfolded
            | Request::Counts => self.reply(ticket, Response::NotFound),
        }
    }

    /// An id that no instance has, for this partition.
    fn local_id(&mut self) -> String {
        loop {
            let id = self.identity().simple();
            if InstanceId::from_stored(&id).partition(self.count) == self.id {
                return id;
            }
        }
    }

    fn answer_start(&mut self, ticket: Ticket, id: &InstanceId, start: everstep_model::Start) {
        let response = match self.start(id, start) {
            StartOutcome::Begun(commit) => {
                let begin = commit.begin.as_ref().expect("a start begins an execution");
                Response::Started(id.clone(), begin.execution_id.clone())
            }
            StartOutcome::AlreadyExists(status, _) => Response::AlreadyExists(status),
        };
        self.reply(ticket, response);
    }

    fn answer_history(&mut self, ticket: Ticket, id: &InstanceId) {
        let Some(Slot::Known(known)) = self.slots.get(id) else { return };
        let first = known.first_in_memory();
        let mut events = Vec::new();
        for tail in known.tails() {
            events.extend(
                stored::events(&tail.bytes)
                    .map(|event| event.expect("what was encoded in this process decodes")),
            );
        }
        let mut load = |payload: &everstep_model::PayloadRef| known.payload(payload).ok_or(());
        for event in &mut events {
            // A reference that is folded already is resolved by whoever reads the tables.
            let _folded = everstep_engine::resolve(std::slice::from_mut(event), &mut load);
        }
        let (iid, execution) = (known.instance.iid, known.instance.execution);
        self.reply(ticket, Response::History { iid, execution, first, events });
    }

    // Purge

    fn answer_purge(&mut self, ticket: Ticket, id: &InstanceId, force: bool) {
        let Some(Slot::Known(known)) = self.slots.get(id) else { return };
        let instance = &known.instance;
        let may = force
            || instance.status.is_terminal()
            || instance.is_empty_entity()
            || instance.id.entity_parts().is_some();
        if !may {
            let status = instance.status;
            return self.reply(ticket, Response::WrongStatus(status));
        }
        let purged = Purged { iid: instance.iid, execution: instance.execution };
        self.purge(id, purged);
        self.reply(ticket, Response::Purged(1));
    }

    /// Purges what a list showed, unless it is another execution by now.
    fn purge_listed(&mut self, row: &Row) -> bool {
        match self.slots.get(&row.id) {
            Some(Slot::Known(known)) => {
                let same =
                    known.instance.iid == row.iid && known.instance.execution == row.execution;
                if !same || !known.instance.status.is_terminal() {
                    return false;
                }
            }
            Some(Slot::Loading(_)) => return false,
            None if self.gone.contains(&row.id) || !row.status.is_terminal() => return false,
            None => self.count(Some((row.id.kind(), row.name.clone(), row.status)), -1),
        }
        self.purge(&row.id, Purged { iid: row.iid, execution: row.execution });
        true
    }

    pub(super) fn purge(&mut self, id: &InstanceId, purged: Purged) {
        let awaited = self.known(id).map(|known| {
            let held = known.instance.inbox.iter().map(|(_, message)| message);
            held.chain(&known.mail)
                .filter(|message| is_awaited(message))
                .cloned()
                .collect::<Vec<_>>()
        });
        stored::put_purged(&mut self.building.entries, purged);
        self.building.effects.push(Effect::DropActivities(purged.iid));
        self.building.changed.push(id.clone());
        self.remove(id, purged);
        // Someone waits for what these messages bring about, so they find nobody instead of nothing.
        awaited.into_iter().flatten().for_each(|message| self.deliver_to_nobody(id, message));
    }

    /// Takes an instance out of memory and hides its rows.
    pub(super) fn remove(&mut self, id: &InstanceId, purged: Purged) {
        if let Some(Slot::Known(known)) = self.slots.remove(id) {
            self.weight = self.weight.saturating_sub(known.weight());
            self.count(super::turns::status_of(&known), -1);
            known.asking.iter().for_each(|(_, ticket)| self.reply(*ticket, Response::NotFound));
            if let Busy::Remote(_) = known.busy {
                tracing::debug!(instance = %id, "purged while a worker had its turn");
            }
        }
        self.turns.evict(purged.iid);
        self.ids.remove(&purged.iid);
        self.gone.insert(id.clone());
        self.purged.push((id.clone(), purged));
    }

    /// Whoever asked has gone away before there was an answer.
    pub(super) fn forget_ticket(&mut self, id: &InstanceId, ticket: Ticket) {
        match self.slots.get_mut(id) {
            Some(Slot::Known(known)) => {
                known.asking.retain(|(asks, of)| *asks == Asks::Rewind || *of != ticket);
            }
            Some(Slot::Loading(waiting)) => waiting
                .retain(|waiting| !matches!(waiting, Waiting::Request(of, _) if *of == ticket)),
            None => {}
        }
    }

    // Lists

    /// Instances whose present version the tables do not have.
    pub(super) fn unfolded(&self) -> impl Iterator<Item = &Known> {
        self.slots.values().filter_map(|slot| match slot {
            Slot::Known(known) if known.counted && (known.dirty || !known.folding.is_empty()) => {
                Some(&**known)
            }
            Slot::Known(_) | Slot::Loading(_) => None,
        })
    }

    /// Purged, and perhaps still in the tables.
    pub(super) fn purged_in_tables(&self) -> impl Iterator<Item = Iid> {
        let in_fold = self.gone_in_fold.iter().map(|(.., purged)| purged.iid);
        in_fold.chain(self.purged.iter().map(|(_, purged)| purged.iid))
    }

    /// The numbers that the tables must not answer for.
    fn hidden(&self) -> Vec<Iid> {
        let unfolded = self.unfolded().map(|known| known.instance.iid);
        self.purged_in_tables().chain(unfolded).collect()
    }

    /// Unfolded rows that match, and the numbers of all unfolded rows.
    fn overlay(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<Cursor>,
        limit: usize,
    ) -> (Vec<Row>, Vec<Iid>) {
        let beyond = |known: &&Known| {
            let cursor = Cursor { created: known.instance.created, iid: known.instance.iid };
            after.is_none_or(|after| match order {
                Order::OldestFirst => cursor > after,
                Order::NewestFirst => cursor < after,
            })
        };
        let shown = self.unfolded().filter(beyond).map(|known| crate::row::shown(&known.instance));
        let mut rows: Vec<_> = shown.filter(|row| filter.matches(row)).collect();
        order.sort(&mut rows);
        rows.truncate(limit);
        (rows, self.hidden())
    }
}

/// Whether somebody would wait for ever if a message were dropped.
fn is_awaited(message: &Message) -> bool {
    match &message.body {
        Body::LockGranted { .. } | Body::Lock(_) => true,
        Body::Operation(operation) => operation.caller.is_some(),
        Body::Start(_)
        | Body::TaskEnded { .. }
        | Body::ChildEnded { .. }
        | Body::TimerFired { .. }
        | Body::Raised { .. }
        | Body::Suspend { .. }
        | Body::Resume { .. }
        | Body::Terminate { .. }
        | Body::Rewind { .. }
        | Body::Unlock { .. }
        | Body::OperationEnded { .. }
        | Body::Unpark => false,
    }
}

/// The instance that a request is about.
fn subject(request: &Request) -> Option<InstanceId> {
    match request {
        Request::Start(id, _) => id.clone(),
        Request::Raise { instance, .. } => Some(instance.clone()),
        Request::Signal(id, _)
        | Request::Suspend(id, _)
        | Request::Resume(id, _)
        | Request::Terminate(id, ..)
        | Request::Rewind(id, _)
        | Request::Unpark(id)
        | Request::Purge(id, _)
        | Request::PurgeEmpty(id)
        | Request::Get(id)
        | Request::Wait(id)
        | Request::Watch(id, _)
        | Request::History(id)
        | Request::Why(id) => Some(id.clone()),
        Request::Import(archive, _) => Some(archive.id.clone()),
        Request::PurgeListed(_)
        | Request::Overlay(..)
        | Request::CountOverlay(_)
        | Request::Unfolded
        | Request::Counts
        | Request::Payload(_) => None,
    }
}
