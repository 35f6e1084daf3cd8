//! The tables of messages.

use crate::{Body, Envelope, Lock, Message, Operation, Start, message, oneof};

// frozen
message!(Envelope { 1 to, 2 message });
// frozen
message!(Message { 1 from, 2 body });

// frozen
oneof!(Body {
    1 Start(start),
    2 TaskEnded { 1 execution, 2 task, 3 outcome },
    3 ChildEnded { 1 execution_id, 2 task, 3 outcome },
    4 TimerFired { 1 execution, 2 timer, 3 fire_at },
    5 Raised { 1 name, 2 input, 3 key },
    6 Suspend { 1 reason },
    7 Resume { 1 reason },
    8 Terminate { 1 reason, 2 recursive },
    9 Rewind { 1 reason, 2 start },
    10 Operation(operation),
    11 Lock(lock),
    12 Unlock { 1 owner },
    13 OperationEnded { 1 execution_id, 2 task, 3 outcome },
    14 LockGranted { 1 execution_id, 2 lock, 3 entities },
    15 Unpark {},
});

// frozen
message!(Start {
    1 name, 2 version, 3 input, 4 execution_id, 5 parent, 6 tags, 7 scheduled, 8 trace, 9 reuse,
});
// frozen
message!(Operation { 1 id, 2 name, 3 input, 4 caller, 5 sender, 6 due, 7 key, 8 trace });
// frozen
message!(Lock { 1 owner, 2 set, 3 index });
