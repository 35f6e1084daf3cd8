//! Requests to the API of a host in memory, and its answers as they are on the wire.
//!
//! Each snapshot is a transcript. Start at `support.rs`, which says what in it is made stable.

mod archives;
mod bulk;
mod document;
mod doors;
mod entities;
mod history;
mod links;
mod lists;
mod operations;
mod purges;
mod random;
mod starts;
mod statuses;
mod streams;
mod support;
mod why;
