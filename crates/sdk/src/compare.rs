//! Whether a decision is the one that the history holds, and both in words.

use everstep_model::{Action, Completion, Event, EventId, ParentPolicy};

use crate::events::same_name;

/// Whether an event records an action: kind, id and, except for timers, the name. Inputs, due times, versions and ids of
/// instances may differ.
pub(crate) fn agree(action: &Action, event: &Event) -> bool {
    match (action, event) {
        (
            Action::CallActivity { id, name, .. },
            Event::TaskScheduled { id: found, name: found_name, .. },
        )
        | (
            Action::StartChild { id, name, .. },
            Event::ChildCreated { id: found, name: found_name, .. },
        )
        | (
            Action::SendEvent { id, name, .. },
            Event::EventSent { id: found, name: found_name, .. },
        )
        | (
            Action::CallEntity { id, name, .. },
            Event::OperationCalled { id: found, name: found_name, .. },
        )
        | (
            Action::SignalEntity { id, name, .. },
            Event::OperationSignaled { id: found, name: found_name, .. },
        ) => id == found && same_name(name, found_name),
        (Action::CreateTimer { id, .. }, Event::TimerCreated { id: found, .. })
        | (Action::Lock { id, .. }, Event::LockRequested { id: found, .. })
        | (Action::Unlock { id, .. }, Event::LockReleased { id: found, .. }) => id == found,
        (Action::Complete(Completion::Completed(_)), Event::Completed { .. })
        | (Action::Complete(Completion::Failed(_)), Event::Failed { .. }) => true,
        _ => false,
    }
}

/// What an action does, to follow "the code".
pub(crate) fn describe_action(action: &Action) -> String {
    match action {
        Action::CallActivity { id, name, .. } => format!("calls activity `{name}` ({})", of(*id)),
        Action::StartChild { id, name, policy: ParentPolicy::Wait, .. } => {
            format!("starts sub-orchestration `{name}` ({})", of(*id))
        }
        Action::StartChild { id, name, policy: ParentPolicy::Detach, .. } => {
            format!("starts orchestration `{name}` ({})", of(*id))
        }
        Action::CreateTimer { id, .. } => format!("starts a timer ({})", of(*id)),
        Action::CancelTimer { timer } => format!("cancels the timer {}", timer.0),
        Action::SendEvent { id, name, .. } => format!("sends event `{name}` ({})", of(*id)),
        Action::CallEntity { id, entity, name, .. } => {
            format!("calls operation `{name}` of entity `{entity}` ({})", of(*id))
        }
        Action::SignalEntity { id, entity, name, .. } => {
            format!("signals operation `{name}` to entity `{entity}` ({})", of(*id))
        }
        Action::Lock { id, .. } => format!("asks for locks ({})", of(*id)),
        Action::Unlock { id, .. } => format!("gives locks back ({})", of(*id)),
        Action::Complete(Completion::Completed(_)) => "returns".to_owned(),
        Action::Complete(Completion::Failed(failure)) => format!("fails ({failure:?})"),
        Action::Complete(Completion::ContinueAsNew { .. }) => "continues as new".to_owned(),
    }
}

/// What an event records, to follow "the event is".
pub(crate) fn describe_event(event: &Event) -> String {
    match event {
        Event::TaskScheduled { id, name, .. } => {
            format!("a call of activity `{name}` ({})", of(*id))
        }
        Event::ChildCreated { id, name, .. } => {
            format!("the start of sub-orchestration `{name}` ({})", of(*id))
        }
        Event::TimerCreated { id, .. } => format!("the start of a timer ({})", of(*id)),
        Event::EventSent { id, name, .. } => format!("the sending of event `{name}` ({})", of(*id)),
        Event::OperationCalled { id, entity, name, .. } => {
            format!("a call of operation `{name}` of entity `{entity}` ({})", of(*id))
        }
        Event::OperationSignaled { id, entity, name, .. } => {
            format!("a signal of operation `{name}` to entity `{entity}` ({})", of(*id))
        }
        Event::LockRequested { id, .. } => format!("a request for locks ({})", of(*id)),
        Event::LockReleased { id, .. } => format!("the release of locks ({})", of(*id)),
        Event::Completed { .. } => "the orchestrator's return".to_owned(),
        Event::Failed { .. } => "the orchestrator's failure".to_owned(),
        other => format!("{other:?}"),
    }
}

fn of(id: EventId) -> String {
    format!("id {}", id.0)
}
