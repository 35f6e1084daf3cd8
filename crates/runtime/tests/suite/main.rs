//! What a host promises, over the embedded store: each file asks one question, all are linked once.

mod bulk;
mod golden;
mod limits;
mod memory;
mod parked;
mod payloads;
mod pressure;
mod restart;
mod stop;
mod support;
