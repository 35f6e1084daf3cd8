#![doc = include_str!("../README.md")]

mod aws;
mod notice;
mod object;
mod read;
mod record;
mod routes;
mod run;
mod send;
mod settings;
mod spool;
pub mod stand_in;
mod work;

pub mod command;

use std::{path::PathBuf, sync::Arc};

use everstep::BoxError;
use everstep_host::{FunctionApp, Services};

use settings::Settings;
use work::Pipeline;

/// Where the app's events go in the log.
pub(crate) const LOG: &str = "Function.code42.User";

/// The app. `spool` is the folder for what is on its way.
pub fn app(services: &Services, spool: PathBuf) -> Result<FunctionApp, BoxError> {
    let settings = Settings::read(|name| services.setting(name))?;
    if let Err(missing) = &settings.essentials {
        tracing::warn!(target: LOG, "{missing}");
    }
    let pipeline = Arc::new(Pipeline::new(settings, services.clone(), spool)?);
    routes::add(FunctionApp::new(work::durable(&pipeline)), &pipeline)
}
