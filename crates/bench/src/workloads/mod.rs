//! What is measured, and what is killed.
//!
//! A workload makes its store in the folder it is given, runs, and checks its results in the reopened store before it
//! returns figures: a run that lost something has no speed.

mod bed;
mod load;
mod opening;
mod orchestrations;
mod raw;
mod stores;

use crate::{bench::Workload, torture::Load};

/// All workloads, in the order in which they run.
pub(crate) fn all() -> Vec<Box<dyn Workload>> {
    vec![
        Box::new(raw::Raw),
        Box::new(orchestrations::Steps),
        Box::new(orchestrations::Many),
        Box::new(orchestrations::Fans),
        Box::new(orchestrations::Latency),
        Box::new(stores::Waiting),
        Box::new(opening::Opening),
        Box::new(stores::Entities),
        Box::new(stores::Lists),
        Box::new(stores::Recovery),
    ]
}

/// What W6 has another process do.
pub(crate) use opening::open;

/// What the kill loop's victim does.
pub(crate) const LOAD: Load = load::load;
