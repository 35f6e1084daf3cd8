//! What Everstep asks of a storage backend.
//!
//! A store keeps two things: a *log* of groups, which makes a step durable with one flush, and *tables*, into which the
//! log is folded later and which queries read. A backend knows neither orchestrations nor entities: records, chunks and
//! `live` blobs are bytes to it, and rows have the columns that queries filter by.
//!
//! A1  `append` of one partition's groups keeps their order; a group is durable whole or not at all.
//! A2  A group number is reported durable only when it, and all below it, survive any crash.
//! A3  `fold` happens in one transaction and only with groups that are durable; folding a group twice changes nothing.
//! A4  After an error of a flush nothing more is reported durable by that process.
//!
//! Calls may block and are made on reader, folder or writer threads, never on a partition's thread; only
//! [`Store::append`] is called there, and it only queues. Start reading at [`Store`].

pub mod chunk;
mod direct;
mod dump;
mod error;
mod fold;
mod query;
mod store;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use direct::{Direct, Pumped};
pub use dump::Dump;
pub use error::{BoxError, Error};
pub use fold::{Applied, Chunk, Fold, FoldedRow, Row, Wake};
pub use query::{Cursor, Due, Filter, Order, Page};
pub use store::{
    FORMAT, Hub, HubOptions, Mode, Observer, PARTITIONS_MAX, Pressure, Record, Store, Tables,
    Writer,
};
