//! A hub without a host: the management API over what lies on disk, to read, or to put instances into it.
//!
//! N1  Who reads writes nothing but the file that says who has the hub.
//! N2  The handlers are those of a host; what would change something is refused where the hub is open to be read.
//! N3  Nothing runs in either case.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::Router;
use everstep::Host;
use everstep_http::{Access, Api, ApiOptions, Base, Compat, Functions, Keys};
use everstep_runtime::Client;
use everstep_store_embedded::{Embedded, NetworkFolder, open_read_only};

use crate::{
    Error, StartArgs,
    configuration::{self, Places},
    hub::{self, HubFolder},
    sql::{Files, HubSql},
};

/// Which hub is meant.
#[derive(Debug, Clone, Default)]
pub struct OfflineOptions {
    /// The app's folder.
    pub app: PathBuf,
    /// The data folder, if it is not the app's own.
    pub data: Option<PathBuf>,
    /// The hub, if it is not the one that the app names.
    pub hub: Option<String>,
}

/// The hub of the app that these arguments start.
impl From<&StartArgs> for OfflineOptions {
    fn from(args: &StartArgs) -> Self {
        let app = args.script_root.clone().unwrap_or_else(|| PathBuf::from("."));
        Self { app, data: args.data.clone(), hub: None }
    }
}

/// A hub that is open without a host. The router answers for as long as this is kept.
pub struct Offline {
    opened: Opened,
    router: Router,
}

enum Opened {
    ToRead(Host<everstep_store_embedded::ReadOnly<everstep_store_embedded::sqlite::SqliteTables>>),
    ToWrite(Host<Embedded>),
}

impl Offline {
    /// The management API.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Lets go of the hub.
    pub async fn close(self) -> Result<(), Error> {
        drop(self.router);
        let closed = match self.opened {
            Opened::ToRead(host) => host.stop().await,
            Opened::ToWrite(host) => host.stop().await,
        };
        closed.map_err(|error| Error::Hub(error.into()))
    }
}

/// The URL of the host that runs this hub, if one does; empty if it has not said.
pub fn running(options: &OfflineOptions) -> Result<Option<String>, Error> {
    Ok(folder(options)?.running())
}

/// The folder that a hub lies in.
pub fn hub_folder(options: &OfflineOptions) -> Result<PathBuf, Error> {
    Ok(folder(options)?.path)
}

/// Opens a hub that no host has, to read it.
pub fn offline(options: &OfflineOptions) -> Result<Offline, Error> {
    let folder = existing(options)?;
    let store = open_read_only(&folder.path, NetworkFolder::Allow).map_err(hub::Error::from)?;
    let host = Host::look(store).map_err(|error| Error::Hub(error.into()))?;
    let router = router(host.client(), folder, Files::AtRest);
    Ok(Offline { opened: Opened::ToRead(host), router })
}

/// The same, to put instances into it.
pub fn offline_to_write(options: &OfflineOptions) -> Result<Offline, Error> {
    let folder = existing(options)?;
    // The hub is there, so that it has its partitions already.
    let store = folder.open(hub::PARTITIONS)?;
    let host = Host::rest(store).map_err(|error| Error::Hub(error.into()))?;
    let router = router(host.client(), folder, Files::InUse);
    Ok(Offline { opened: Opened::ToWrite(host), router })
}

fn existing(options: &OfflineOptions) -> Result<HubFolder, Error> {
    let folder = folder(options)?;
    if folder.exists() {
        return Ok(folder);
    }
    let data = folder.path.parent().unwrap_or(Path::new(".")).to_owned();
    Err(Error::Hub(hub::Error::Absent { name: folder.name, data }))
}

fn router(client: Client, folder: HubFolder, files: Files) -> Router {
    let nobody = Arc::new(Nobody);
    let sql = HubSql { client: client.clone(), tables: folder.tables(), files };
    let options = ApiOptions {
        compat: Compat::V3,
        base: Base("http://localhost:7071".to_owned()),
        sql: Some(Arc::new(sql)),
        ..ApiOptions::new(client, folder.name, nobody.clone(), nobody)
    };
    Arc::new(Api::new(options)).router()
}

fn folder(options: &OfflineOptions) -> Result<HubFolder, Error> {
    let name = match &options.hub {
        Some(name) => name.clone(),
        None => {
            let configured = configuration::read(&Places::of(&options.app), "localhost:7071")?;
            configured.host.durable_task.hub_name
        }
    };
    Ok(HubFolder::of(&options.app, options.data.as_deref(), &name)?)
}

/// No functions are known, and whoever can read the files may ask.
struct Nobody;

impl Functions for Nobody {
    fn orchestrators(&self) -> Option<Arc<[String]>> {
        None
    }

    fn entities(&self) -> Option<Arc<[String]>> {
        None
    }
}

impl Keys for Nobody {
    fn check(&self, _: Option<&str>) -> Access {
        Access::Granted
    }

    fn system_key(&self) -> Option<String> {
        None
    }
}
