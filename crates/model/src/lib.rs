//! The nouns of Everstep.
//!
//! Every other crate speaks in these words: an *instance* is a logical orchestration or entity, an *execution* one
//! generation of it, a *turn* one work item processed, a *message* waits in an inbox, an *event* stands in a history, an
//! *action* is what user code decided, a *commit* is all that one turn changes.
//!
//! M1  Nothing here does I/O, reads a clock or draws a random number.
//! M2  What is written to disk or to a peer is encoded in [`stored`] and nowhere else, with frozen field numbers.
//!
//! Absent on purpose: rules. What a message does to an instance is the engine's business.

mod action;
mod archive;
mod commit;
mod event;
mod failure;
mod id;
mod message;
mod retry;
mod status;
pub mod stored;
mod time;
mod value;
pub mod wire;

pub use action::{Action, Completion, EntitySend, ParentPolicy, Wait};
pub use archive::Archive;
pub use commit::{Commit, EntityChange, Entry, Group, NewExecution, Parked, Purged, RowChange};
pub use event::{Event, Origin, Parent, Started};
pub use failure::{Failure, Outcome, kinds};
pub use id::{
    EventId, ExecutionId, GroupNo, Guid, HubId, IdError, Iid, InstanceId, Kind, PartitionId,
    Position,
};
pub use message::{Body, Caller, Envelope, Lock, Message, Operation, ReusePolicy, Source, Start};
pub use retry::RetryPolicy;
pub use status::Status;
pub use time::{Duration100, Timestamp};
pub use value::{PayloadRef, Tags, TraceContext, Value};
