//! An app's files and settings, read in the order in which they depend on each other.

use std::path::{Path, PathBuf};

use everstep_functions::config::{
    self, HostConfig, Notice, Settings,
    settings::{Added, LocalHost, LocalSettings, Stage},
};

use crate::Error;

/// Where an app's files lie.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) root: PathBuf,
}

/// What an app's files and settings say.
pub(crate) struct Configured {
    pub(crate) host: HostConfig,
    pub(crate) settings: Settings,
    pub(crate) local: LocalHost,
    /// Remarks, one line each.
    pub(crate) notices: Vec<Notice>,
}

impl Places {
    pub(crate) fn of(app: &Path) -> Self {
        Self { root: app.to_owned() }
    }

    /// How a file is called in messages.
    fn shown(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }
}

/// What `local.settings.json` says of the host: to be known before anything listens.
pub(crate) fn local(places: &Places) -> Result<(LocalSettings, Vec<Notice>), Error> {
    let path = places.root.join("local.settings.json");
    match config::read(&path).map_err(config::Errors::from)? {
        None => Ok((LocalSettings::default(), vec![LocalSettings::not_found(&path)])),
        Some(text) => {
            let mut local = LocalSettings::parse(&places.shown("local.settings.json"), &text)?;
            let notices = std::mem::take(&mut local.notices);
            Ok((local, notices))
        }
    }
}

/// Reads everything, for a host that is reached under a name such as `localhost:7071`.
pub(crate) fn read(places: &Places, host_name: &str) -> Result<Configured, Error> {
    let (local, mut notices) = local(places)?;
    let added = Added { host_name, script_root: &places.root, stage: Stage::AsSet };
    let (settings, more) = Settings::new(std::env::vars(), &local, &added);
    notices.extend(more);
    let text = config::read(&places.root.join("host.json")).map_err(config::Errors::from)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut host = HostConfig::read(&places.shown("host.json"), text.as_deref(), &settings, cores)?;
    notices.append(&mut host.notices);
    Ok(Configured { host, settings, local: local.host, notices })
}
