//! The present of a turn.

use everstep_model::{Body, Timestamp};

use crate::{Incoming, Instance};

/// What a turn's code sees as now: the wall clock, but never at or before the instance's last present, and never before
/// the due time of a timer that the turn delivers.
///
/// Kept per instance, so that a clock that once ran wild does not poison its neighbours.
pub fn present(wall: Timestamp, instance: &Instance, incoming: &[Incoming]) -> Timestamp {
    let due = incoming.iter().filter_map(|incoming| match &incoming.message.body {
        Body::TimerFired { fire_at, .. } => Some(fire_at.whole_micros().max(*fire_at)),
        Body::Operation(operation) => operation.due.filter(|due| *due <= wall),
        Body::Start(_)
        | Body::TaskEnded { .. }
        | Body::ChildEnded { .. }
        | Body::Raised { .. }
        | Body::Suspend { .. }
        | Body::Resume { .. }
        | Body::Terminate { .. }
        | Body::Rewind { .. }
        | Body::Lock(_)
        | Body::Unlock { .. }
        | Body::OperationEnded { .. }
        | Body::LockGranted { .. }
        | Body::Unpark => None,
    });
    let due = due.max().unwrap_or(Timestamp::EPOCH);
    let due = if due == due.whole_micros() { due } else { due.next_micro() };
    wall.whole_micros().max(instance.last_now.next_micro()).max(due)
}
