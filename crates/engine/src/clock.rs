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

#[cfg(test)]
mod tests {
    use everstep_model::{EventId, Iid, InstanceId, Message, Source};

    use super::*;

    fn at(ticks: i64) -> Timestamp {
        Timestamp::from_ticks(ticks)
    }

    fn instance(last_now: i64) -> Instance {
        let id = InstanceId::from_stored("order");
        Instance { last_now: at(last_now), ..Instance::new(Iid(1), id, Timestamp::EPOCH) }
    }

    fn timer(fire_at: i64) -> Incoming {
        let body = Body::TimerFired { execution: 1, timer: EventId(0), fire_at: at(fire_at) };
        Incoming { held: None, message: Message { from: Source::Local, body } }
    }

    #[test]
    fn the_present_is_the_wall_clock_in_whole_microseconds() {
        assert_eq!(present(at(1_009), &instance(0), &[]), at(1_000));
    }

    #[test]
    fn the_present_is_after_the_last_one_also_when_the_clock_goes_back() {
        assert_eq!(present(at(1_000), &instance(1_000), &[]), at(1_010));
        assert_eq!(present(at(1_000), &instance(9_000), &[]), at(9_010));
    }

    #[test]
    fn the_present_is_never_before_a_timer_that_fires() {
        assert_eq!(present(at(1_000), &instance(0), &[timer(2_000)]), at(2_000));
        assert_eq!(present(at(1_000), &instance(0), &[timer(2_001), timer(5)]), at(2_010));
    }
}
