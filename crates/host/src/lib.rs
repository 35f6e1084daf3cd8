//! The host: reads an app's configuration, opens its hub, serves its functions and the management API.
//!
//! An app in Rust is a program whose `main` is [`main`] with the app's functions. [`run`] does the same with arguments
//! that somebody else has parsed; [`start_folder`] starts an app that is a folder of files.
//!
//! What happens between the first line and the last stands in `start.rs`, in order; `front.rs` tells which request goes
//! where.

mod admin;
mod answer;
mod app;
mod args;
mod bindings;
mod configuration;
mod console;
mod cors;
mod custom;
mod durable_file;
mod durable_http;
mod durable_limits;
mod front;
mod health;
mod hub;
mod invoke;
mod keys;
mod observe;
mod offline;
mod rehearsal;
mod retention;
mod secrets;
mod serve;
mod site;
mod sql;
mod start;
mod storage;
mod tls;
mod triggers;

use std::process::ExitCode;

use clap::Parser;

pub use answer::refusal;
pub use app::{
    Auth, BAD_REQUEST, Blob, BlobCall, Container, EventGrid, EventGridCall, FunctionApp, Http,
    HttpCall, IntoApp, Queue, QueueCall, Sent, Services, Timer, TimerCall,
};
pub use args::{CompatArg, StartArgs};
pub use everstep_python::{Difference, Outcome, Place, Rehearsal, Unreadable};
pub use everstep_storage::client::Encoding;
pub use observe::metrics::names as metric_names;
pub use offline::{Offline, OfflineOptions, hub_folder, offline, offline_to_write, running};
pub use rehearsal::rehearsal;
pub use secrets::{Secret, Secrets};
pub use start::Error;

/// A turn allocates in one thread and frees in another, thousands of times a second: the system's allocator takes a fifth
/// of the time then.
#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What functions answer with.
pub type Response = http::Response<axum::body::Body>;

/// An app's command line: that of `everstep start`.
#[derive(Debug, Parser)]
#[command(about = "Runs this app; `everstep start` takes the same options", long_about = None)]
struct AppCommand {
    /// Start nothing: ask the app that runs there whether it is ready for work
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "http://127.0.0.1:7071")]
    health: Option<String>,
    #[command(flatten)]
    start: StartArgs,
}

/// Runs an app until it is told to stop. To be called first thing in `main`, with the function that builds the app; one
/// that gives an error instead ends the start with its text.
///
/// ```no_run
/// use everstep::App;
/// use everstep_host::FunctionApp;
///
/// fn main() -> std::process::ExitCode {
///     everstep_host::main(|_| FunctionApp::new(App::new("1.0")))
/// }
/// ```
pub fn main<A: IntoApp>(build: impl FnOnce(&Services) -> A) -> ExitCode {
    let command = AppCommand::parse();
    match &command.health {
        Some(url) => health::ask(url),
        None => run(&command.start, build),
    }
}

/// Runs an app with these arguments until it is told to stop.
pub fn run<A: IntoApp>(args: &StartArgs, build: impl FnOnce(&Services) -> A) -> ExitCode {
    start::run(args, start::Code::Rust(Box::new(|services| build(services).into_app())))
}

/// Runs the app in a folder whose code is no Rust program: a custom handler.
pub fn start_folder(args: &StartArgs) -> ExitCode {
    start::run(args, start::Code::Folder)
}
