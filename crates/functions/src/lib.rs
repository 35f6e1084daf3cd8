//! Functions apps: their files, their bindings, their schedules, routes and keys, and the seam to their code.
//!
//! Nothing here listens, polls or opens a store: the host does. What is here takes texts and values and gives values,
//! and errors that name file, key and remedy.
//!
//! Start at [`program`], which says what an app is to the host.

pub mod config;
pub mod cron;
pub mod keys;
pub mod program;
pub mod route;
