//! Orchestrations and entities as a pure state machine.
//!
//! A turn reads an instance and its messages and produces a [`Commit`](everstep_model::Commit); applying the commit is
//! mechanical. Nothing here does I/O, reads a clock, draws a random number or knows that stores and workers exist.
//!
//! G1  [`begin`] and [`finish`] only read the instance; a turn can be thrown away at any moment.
//! G2  [`Instance::apply`] is total and needs nothing but the commit: recovery and live operation share it.
//! G3  Time and identity are inputs. The same inputs give the same commit.
//! G4  A message that does not fit (late, twice, for another execution) is consumed without a trace.
//!
//! Start at [`begin`], then [`finish`], then [`Instance`].

mod clock;
mod decide;
mod entity;
mod instance;
mod limits;
mod live;
mod payload;
mod rare;
mod restore;
mod rewind;
#[cfg(test)]
mod script;
mod start;
mod turn;

pub use clock::present;
pub use entity::{EntityAnswer, EntityTurn, begin_entity, finish_entity};
pub use instance::{Inbox, Instance, OpenCall, OpenChild, OpenLock, OpenTask, OpenTimer};
pub use limits::Limits;
pub use live::LiveError;
pub use payload::{externalise, resolve};
pub use rare::{Rare, Rarely};
pub use restore::{RestoreRefused, restore};
pub use rewind::{RewindRefused, rewind};
pub use start::{StartOutcome, start};
pub use turn::{
    Decided, Finished, Incoming, Turn, begin, fail, finish, hold, park, restart_needed,
};
