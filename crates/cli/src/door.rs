//! The doors to the host's library: running an app in this process, trying its code, and a hub's files where nobody runs
//! them.
//!
//! Everything else in this crate speaks the public HTTP API.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use everstep_host::OfflineOptions;
pub(crate) use everstep_host::{Difference, Offline as Files, Outcome, Rehearsal, StartArgs};

use crate::{
    args::Connect,
    client::Api,
    fault::{Exit, Fault},
};

/// The API of the hub that the arguments mean.
pub(crate) fn connect(connect: &Connect) -> Result<Api, Fault> {
    connect_or(connect, everstep_host::offline)
}

/// The same, but a hub that nobody runs is opened to put instances into it.
pub(crate) fn connect_to_write(connect: &Connect) -> Result<Api, Fault> {
    connect_or(connect, everstep_host::offline_to_write)
}

fn connect_or(
    connect: &Connect,
    open: impl FnOnce(&OfflineOptions) -> Result<Files, everstep_host::Error>,
) -> Result<Api, Fault> {
    let at = |url: &str| Api::at(url, connect.key.clone(), connect.task_hub_name.clone());
    // A variable that is there and empty is one that is not set.
    if let Some(url) = connect.url.as_ref().filter(|url| !url.is_empty()) {
        return at(url);
    }
    match running(connect)?.as_deref() {
        None => {
            let files = open(&options(connect)).map_err(|error| {
                Fault::new(Exit::Unreachable, error.to_string()).remedy(
                    "start the app with `everstep start`, name its folder with --app, or a host with --url",
                )
            })?;
            Ok(Api::on_files(files))
        }
        Some("") => {
            let text = "a host has the hub open and does not say where it answers";
            Err(Fault::new(Exit::Unreachable, text).remedy(
                "if it is starting, try again in a moment; else give its address with --url",
            ))
        }
        Some(url) => at(url),
    }
}

/// The address of the host that runs the hub, if one does; empty if it has not told one.
pub(crate) fn running(connect: &Connect) -> Result<Option<String>, Fault> {
    everstep_host::running(&options(connect)).map_err(|error| Fault::error(error.to_string()))
}

/// The folder that the hub lies in, or will.
pub(crate) fn hub_folder(connect: &Connect) -> Result<PathBuf, Fault> {
    everstep_host::hub_folder(&options(connect)).map_err(|error| Fault::error(error.to_string()))
}

/// The present code of an app in Python, to try histories on it.
pub(crate) async fn rehearsal(app: &Path) -> Result<Rehearsal, Fault> {
    everstep_host::rehearsal(app).await.map_err(|error| Fault::error(error.to_string()))
}

/// Runs the app of a folder in this process.
pub(crate) fn start_folder(args: &StartArgs) -> ExitCode {
    everstep_host::start_folder(args)
}

fn options(connect: &Connect) -> OfflineOptions {
    OfflineOptions {
        app: connect.app.clone(),
        data: connect.data.clone(),
        hub: connect.task_hub_name.clone(),
    }
}
