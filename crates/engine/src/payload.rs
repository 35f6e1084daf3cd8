//! Values that are too large for a history are stored apart, once.
//!
//! P1  A reference names the instance and the execution that it belongs to; nothing else shares it.
//! P2  Messages carry their values with them: another instance gets a copy.

use std::convert::Infallible;

use bytes::Bytes;
use everstep_model::{Commit, Event, Outcome, PayloadRef, Value};

use crate::Instance;

/// Replaces the values of a commit's events that are longer than `inline_bytes` by references, and puts the bytes into
/// the commit's payloads.
pub fn externalise(instance: &Instance, commit: &mut Commit, inline_bytes: usize) {
    let (execution, first) = match &commit.begin {
        Some(begin) => (begin.execution, 0),
        None => (instance.execution, instance.payloads),
    };
    let (iid, payloads) = (commit.iid, &mut commit.payloads);
    for event in &mut commit.events {
        let Ok(()) = each_value(event, &mut |value: &mut Value| {
            if let Value::Inline(bytes) = value
                && bytes.len() > inline_bytes
            {
                let (n, len) = (first + payloads.len() as u32, bytes.len() as u32);
                let payload = PayloadRef { iid, execution, n, len, crc: crc32c::crc32c(bytes) };
                payloads.push((payload, bytes.clone()));
                *value = Value::Ref(payload);
            }
            Ok::<(), Infallible>(())
        });
    }
}

/// Puts the bytes of stored payloads back into events.
pub fn resolve<E>(
    events: &mut [Event],
    load: &mut dyn FnMut(&PayloadRef) -> Result<Bytes, E>,
) -> Result<(), E> {
    events.iter_mut().try_for_each(|event| {
        each_value(event, &mut |value: &mut Value| {
            if let Value::Ref(payload) = value {
                *value = Value::Inline(load(payload)?);
            }
            Ok(())
        })
    })
}

/// Shows every value of an event that may be stored apart.
pub(crate) fn each_value<E>(
    event: &mut Event,
    visit: &mut dyn FnMut(&mut Value) -> Result<(), E>,
) -> Result<(), E> {
    match event {
        Event::Started(started) => visit(&mut started.input),
        Event::TaskScheduled { input, .. }
        | Event::ChildCreated { input, .. }
        | Event::EventSent { input, .. }
        | Event::EventRaised { input, .. }
        | Event::OperationCalled { input, .. }
        | Event::OperationSignaled { input, .. }
        | Event::Completed { output: input } => visit(input),
        Event::TaskEnded { outcome, .. }
        | Event::ChildEnded { outcome, .. }
        | Event::OperationEnded { outcome, .. } => {
            if let Outcome::Completed(value) = outcome {
                visit(value)
            } else {
                Ok(())
            }
        }
        Event::TurnStarted { .. }
        | Event::TimerCreated { .. }
        | Event::TimerFired { .. }
        | Event::TimerCanceled { .. }
        | Event::LockRequested { .. }
        | Event::LockGranted { .. }
        | Event::LockReleased { .. }
        | Event::Suspended { .. }
        | Event::Resumed { .. }
        | Event::Terminated { .. }
        | Event::Rewound { .. }
        | Event::Failed { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use everstep_model::{EventId, Iid, InstanceId, Timestamp};

    use super::*;

    #[test]
    fn values_over_the_bound_are_stored_apart_and_come_back() {
        let id = InstanceId::from_stored("order");
        let mut instance = Instance::new(Iid(7), id, Timestamp::EPOCH);
        (instance.execution, instance.payloads) = (2, 3);
        let raised = |input: &str| Event::EventRaised {
            name: "Go".into(),
            input: input.into(),
            key: String::new(),
        };
        let completed =
            Event::TaskEnded { task: EventId(0), outcome: Outcome::Completed("12345".into()) };
        let events = vec![raised("1234"), completed, raised("123456")];
        let mut commit = Commit { iid: Iid(7), events: events.clone(), ..Commit::default() };
        externalise(&instance, &mut commit, 4);

        assert_eq!(commit.events[0], events[0]);
        let names: Vec<_> =
            commit.payloads.iter().map(|(at, _)| (at.execution, at.n, at.len)).collect();
        assert_eq!(names, [(2, 3, 5), (2, 4, 6)]);

        let stored = commit.payloads.clone();
        let mut load = |at: &PayloadRef| {
            let found = stored.iter().find(|(payload, _)| payload == at);
            found.map(|(_, bytes)| bytes.clone()).ok_or("it is not there")
        };
        resolve(&mut commit.events, &mut load).unwrap();
        assert_eq!(commit.events, events);
    }
}
