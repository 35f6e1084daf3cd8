//! Putting an instance back that was taken out of a hub: its history becomes facts again, without a turn.
//!
//! V1  Only what is at rest is restored: an orchestration that has ended, an entity. So nothing runs because of it.
//! V2  The commits are facts like any others: recovery and folds need not know that they were an import.
//! V3  What an archive says is checked by applying it. One that does not lead to an end is refused.

use everstep_model::{
    Archive, Commit, EntityChange, Event, Iid, Kind, NewExecution, RowChange, Value,
};

use crate::{Instance, payload::each_value};

/// Why an archive is not restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreRefused {
    /// The history has another beginning than an execution has, or none.
    #[error("its history does not begin with the start of its execution")]
    Beginning,
    /// The history ends in the middle.
    #[error("its history does not lead to an end")]
    Unended,
    /// A value is not there.
    #[error("its history refers to values that it does not bring")]
    ValueMissing,
    /// The id is an entity's and the rest is not, or the other way round.
    #[error("it is neither an orchestration nor an entity")]
    Mixed,
}

/// The commits that bring an archive back under a number: it comes into being, it has its history, it is at rest.
pub fn restore(iid: Iid, mut archive: Archive) -> Result<Vec<Commit>, RestoreRefused> {
    check_values(&mut archive)?;
    let created = Commit {
        iid,
        created: Some(archive.id.clone()),
        now: archive.created,
        ..Commit::default()
    };
    match archive.id.kind() {
        Kind::Entity => entity(created, archive),
        Kind::Orchestration => orchestration(created, archive),
    }
}

fn entity(created: Commit, archive: Archive) -> Result<Vec<Commit>, RestoreRefused> {
    if archive.execution != 0 || !archive.events.is_empty() {
        return Err(RestoreRefused::Mixed);
    }
    let change = EntityChange { state: Some(archive.state), ..EntityChange::default() };
    let rest = Commit {
        iid: created.iid,
        now: archive.updated,
        entity: Some(change),
        ..Commit::default()
    };
    Ok(vec![created, rest])
}

fn orchestration(created: Commit, archive: Archive) -> Result<Vec<Commit>, RestoreRefused> {
    if archive.execution == 0 || archive.state.is_some() {
        return Err(RestoreRefused::Mixed);
    }
    let begins = |event: &Event| matches!(event, Event::Started(started) if started.execution_id == archive.execution_id);
    let starts = archive.events.iter().filter(|event| matches!(event, Event::Started(_))).count();
    if !archive.events.first().is_some_and(begins) || starts != 1 {
        return Err(RestoreRefused::Beginning);
    }
    let iid = created.iid;
    let mut instance = Instance::new(iid, archive.id.clone(), archive.created);
    let history = Commit {
        iid,
        now: archive.completed.unwrap_or(archive.updated),
        // Not a first generation even if it is one: it would take its start for the time it was created.
        begin: Some(NewExecution {
            execution: archive.execution,
            execution_id: archive.execution_id,
            fresh: false,
        }),
        events: archive.events,
        row: RowChange { custom_status: archive.custom_status, ..RowChange::default() },
        ..Commit::default()
    };
    instance.apply(&created);
    instance.apply(&history);
    if !instance.status.is_terminal() {
        return Err(RestoreRefused::Unended);
    }
    // Calls that nobody waited for may have run on at their old place; here they do not run again.
    let rest = Commit {
        iid,
        now: archive.updated,
        closed: instance.tasks.keys().copied().collect(),
        ..Commit::default()
    };
    Ok(vec![created, history, rest])
}

fn check_values(archive: &mut Archive) -> Result<(), RestoreRefused> {
    let mut whole = |value: &mut Value| match value {
        Value::Inline(_) => Ok(()),
        Value::Ref(_) => Err(RestoreRefused::ValueMissing),
    };
    let own = [&mut archive.custom_status, &mut archive.state];
    own.into_iter().flatten().try_for_each(&mut whole)?;
    archive.events.iter_mut().try_for_each(|event| each_value(event, &mut whole))
}

#[cfg(test)]
mod tests {
    use everstep_model::{
        EventId, ExecutionId, InstanceId, Outcome, PayloadRef, Started, Status, Timestamp,
    };

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn started() -> Event {
        Event::Started(Box::new(Started {
            at: at(20),
            name: "Order".into(),
            version: "2".into(),
            input: "1".into(),
            execution_id: ExecutionId::new("e"),
            parent: None,
            tags: [("region".to_owned(), "north".to_owned())].into(),
            scheduled: None,
            trace: None,
        }))
    }

    fn called(id: u32) -> Event {
        Event::TaskScheduled {
            id: EventId(id),
            name: "Charge".into(),
            input: "5".into(),
            tags: everstep_model::Tags::new(),
            origin: None,
        }
    }

    fn archive(rest: Vec<Event>) -> Archive {
        let mut events = vec![started(), Event::TurnStarted { now: at(21) }];
        events.extend(rest);
        Archive {
            id: InstanceId::from_stored("order"),
            execution: 3,
            execution_id: ExecutionId::new("e"),
            created: at(10),
            updated: at(40),
            completed: Some(at(30)),
            custom_status: Some("\"paid\"".into()),
            state: None,
            events,
        }
    }

    fn restored(archive: Archive) -> Instance {
        let mut instance = Instance::new(Iid(7), archive.id.clone(), archive.created);
        for commit in restore(Iid(7), archive).unwrap() {
            instance.apply(&commit);
        }
        instance
    }

    #[test]
    fn an_orchestration_is_as_it_was() {
        let done = Event::TaskEnded { task: EventId(0), outcome: Outcome::Completed("6".into()) };
        let raised = Event::EventRaised { name: "Go".into(), input: "1".into(), key: "k".into() };
        let events =
            vec![called(0), called(1), raised, done, Event::Completed { output: "\"ok\"".into() }];
        let instance = restored(archive(events));
        assert_eq!((instance.execution, instance.execution_id.as_str()), (3, "e"));
        assert_eq!((instance.name.as_str(), instance.rare.version.as_str()), ("Order", "2"));
        assert_eq!(instance.status, Status::Completed);
        assert_eq!((instance.created, instance.updated), (at(10), at(40)));
        assert_eq!(instance.completed, Some(at(30)));
        assert_eq!((instance.input, instance.output), ("1".into(), Some("\"ok\"".into())));
        assert_eq!(instance.rare.custom_status, Some("\"paid\"".into()));
        assert_eq!(instance.rare.tags["region"], "north");
        assert_eq!(instance.history_len, 7);
        assert_eq!(instance.rare.keys, ["k"]);
        assert!(instance.tasks.is_empty(), "a call that nobody waited for does not run again");
        assert!(!instance.ready);
    }

    #[test]
    fn one_that_was_ended_before_its_first_turn_does_not_get_it_now() {
        let mut early = archive(vec![]);
        early.events.truncate(1);
        early.events.push(Event::Terminated { reason: "no".into() });
        let instance = restored(early);
        assert_eq!((instance.status, instance.ready), (Status::Terminated, false));
        assert!(!instance.has_outstanding());
    }

    #[test]
    fn an_entity_has_its_state_and_nothing_else() {
        let entity = Archive {
            id: InstanceId::from_stored("@counter@k"),
            execution: 0,
            execution_id: ExecutionId::new(""),
            completed: None,
            custom_status: None,
            state: Some("5".into()),
            events: vec![],
            ..archive(vec![])
        };
        let instance = restored(entity.clone());
        assert_eq!(
            (instance.rare.state.clone(), instance.name.as_str()),
            (Some("5".into()), "counter")
        );
        assert_eq!((instance.created, instance.updated), (at(10), at(40)));
        let mixed = Archive { events: vec![started()], ..entity };
        assert_eq!(restore(Iid(7), mixed), Err(RestoreRefused::Mixed));
    }

    #[test]
    fn what_does_not_lead_from_a_start_to_an_end_is_refused() {
        let refused = |archive: Archive| restore(Iid(7), archive).unwrap_err().to_string();
        let end = || Event::Completed { output: "1".into() };
        assert_eq!(refused(archive(vec![called(0)])), "its history does not lead to an end");
        let mut headless = archive(vec![end()]);
        headless.events.remove(0);
        let beginning = "its history does not begin with the start of its execution";
        assert_eq!(refused(headless), beginning);
        let other = Archive { execution_id: ExecutionId::new("f"), ..archive(vec![end()]) };
        assert_eq!(refused(other), beginning);
        assert_eq!(refused(archive(vec![started(), end()])), beginning);
        let apart = PayloadRef { iid: Iid(1), execution: 1, n: 0, len: 9, crc: 0 };
        let partial = archive(vec![Event::Completed { output: Value::Ref(apart) }]);
        assert_eq!(refused(partial), "its history refers to values that it does not bring");
        let mixed = Archive { state: Some("1".into()), ..archive(vec![end()]) };
        assert_eq!(refused(mixed), "it is neither an orchestration nor an entity");
    }
}
