//! The tables of histories.

use crate::{Event, Started, message, oneof};

// frozen
oneof!(Event {
    1 Started(started),
    2 TurnStarted { 1 now },
    3 TaskScheduled { 1 id, 2 name, 3 input, 4 tags, 5 origin },
    4 TaskEnded { 1 task, 2 outcome },
    5 ChildCreated { 1 id, 2 name, 3 version, 4 instance, 5 input, 6 detached, 7 origin },
    6 ChildEnded { 1 task, 2 outcome },
    7 TimerCreated { 1 id, 2 fire_at, 3 origin },
    8 TimerFired { 1 timer },
    9 TimerCanceled { 1 timer },
    10 EventSent { 1 id, 2 instance, 3 name, 4 input },
    11 EventRaised { 1 name, 2 input, 3 key },
    12 OperationCalled { 1 id, 2 entity, 3 name, 4 input },
    13 OperationSignaled { 1 id, 2 entity, 3 name, 4 input, 5 due },
    14 OperationEnded { 1 task, 2 outcome },
    15 LockRequested { 1 id, 2 entities },
    16 LockGranted { 1 lock },
    17 LockReleased { 1 id, 2 lock },
    18 Suspended { 1 reason },
    19 Resumed { 1 reason },
    20 Terminated { 1 reason },
    21 Rewound { 1 reason },
    22 Completed { 1 output },
    23 Failed { 1 failure },
});

// frozen
message!(Started {
    1 at, 2 name, 3 version, 4 input, 5 execution_id, 6 parent, 7 tags, 8 scheduled, 9 trace,
});
