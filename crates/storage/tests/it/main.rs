//! The client and the embedded service, each tested with the other.
//!
//! `queues` and `blobs` also run against any other service of the protocol: set `EVERSTEP_STORAGE` to its connection string.
//! For Azurite: `azurite --silent --inMemoryPersistence --skipApiVersionCheck`, then
//! `EVERSTEP_STORAGE=UseDevelopmentStorage=true cargo test -p everstep-storage --test it -- queues:: blobs::`.
//! They use names of their own and leave nothing behind that another run would meet.

#[cfg(test)]
mod blobs;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod model;
#[cfg(test)]
mod queues;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod setup;
