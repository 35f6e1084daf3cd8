//! The management API of Durable Functions over HTTP, on top of a [`Client`](everstep_runtime::Client).
//!
//! H1  Paths, status codes, bodies and texts of the routes that Durable Functions has are its own, byte for byte; what
//!     versions 2 and 3 of its extension do differently is [`Compat`]. Routes and parameters beyond those are ours.
//! H2  Values of users are opaque: what is valid JSON is embedded as it stands, all else as a JSON string.
//! H3  A request that waits is told by the host what it waits for; none polls.
//!
//! Absent on purpose: listening, TLS, keeping keys, cross-origin rules. The host does these, and tells the rest through
//! [`ApiOptions`].
//!
//! Start at [`Api`], then `route.rs`, which is the table of all routes.

mod api;
mod archive;
mod binding;
mod bulk;
mod counts;
mod entity;
mod error;
mod history;
mod instance;
mod json;
mod links;
mod list;
mod openapi;
mod operation;
mod purge;
mod query;
mod route;
mod schema;
mod select;
mod sql;
mod start;
mod stream;
mod time;
mod wait;
mod why;

pub use api::{Access, Api, ApiOptions, Base, Compat, Functions, Keys, OnFailure};
pub use binding::Rpc;
pub use sql::{Sql, SqlTable};
