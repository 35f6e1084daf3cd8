#![doc = include_str!("../README.md")]

mod moment;
mod pattern;
mod query;
mod record;
mod request;
mod routes;
mod run;
mod send;
mod settings;
mod source;
mod spool;
mod work;

pub mod command;

use std::{path::PathBuf, sync::Arc};

use everstep::BoxError;
use everstep_host::{FunctionApp, Services};

use settings::Settings;
use work::Inventory;

/// Where the app's events go in the log.
pub(crate) const LOG: &str = "Function.inventory.User";

/// The app. `spool` is the file with the rows and the progress of scans, unless a setting names another.
pub fn app(services: &Services, spool: PathBuf) -> Result<FunctionApp, BoxError> {
    let inventory = inventory(services, spool)?;
    tracing::info!(target: LOG, "{}", inventory.settings.notice());
    Ok(functions(&inventory))
}

pub(crate) fn inventory(services: &Services, spool: PathBuf) -> Result<Arc<Inventory>, BoxError> {
    let settings = Settings::read(|name| services.setting(name))?;
    let spool = settings.inventory.clone().unwrap_or(spool);
    Ok(Arc::new(Inventory::new(settings, services.clone(), spool)?))
}

pub(crate) fn functions(inventory: &Arc<Inventory>) -> FunctionApp {
    routes::add(FunctionApp::new(work::durable(inventory)), inventory)
}
