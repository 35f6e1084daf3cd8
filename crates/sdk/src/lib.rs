#![doc = include_str!("../README.md")]

// The attributes write paths that begin with `::everstep`, also in this crate's own tests.
extern crate self as everstep;

/// The sample on the first page compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod first_page {}

mod activity;
mod app;
mod call;
mod client;
mod codec;
mod compare;
mod context;
mod entity;
mod events;
mod execution;
mod failure;
mod function;
mod http;
mod join;
#[doc(hidden)]
pub mod macros;
mod section;
mod select;
mod slots;
mod state;
pub mod testing;
mod turns;
mod wake;

pub use activity::ActivityContext;
pub use app::App;
pub use call::{Call, Child, ContinueAsNew, EventWait, Lock, LockGuard, Timer};
pub use client::{Run, RunError, TypedClient};
pub use context::Context;
pub use entity::{Entity, EntityContext, EntityRef, Input, Operation, output, unknown_operation};
pub use everstep_model::{
    EventId, ExecutionId, Failure, Guid, InstanceId, Parent, RetryPolicy, Tags, Timestamp, Value,
    kinds,
};
pub use everstep_runtime::{
    Client, ClientError, Host, Options as HostOptions, Raised, StartOptions, View,
};
pub use everstep_sdk_macros::{activity, entity, orchestrator};
pub use everstep_worker::{ActivityOptions, Purity, Worker};
pub use failure::{BoxError, Elapsed, failure};
pub use function::{Activity, ActivityHandle, Orchestrator, OrchestratorHandle, Payload, Register};
pub use http::{HTTP_ACTIVITY, HttpRequest, HttpResponse, RetryOptions, TokenSource};
pub use join::{Join, JoinAll, TryJoinAll, join, join_all, try_join_all};
pub use select::{Either, SelectAll, select, select_all};
