//! The activities: everything that reads a folder, asks a service, or touches the spool.
//!
//! A1  Each may run again after it has done its work, and changes nothing then.
//! A2  Their inputs and outputs are numbers and names; `run.rs` tells why.

use std::{path::PathBuf, sync::Arc, time::Duration};

use everstep::{ActivityContext, App, BoxError, Failure};
use everstep_azure::{
    files::{Credentials, Files, Management, public_endpoint},
    identity::Identity,
    logs::Ingestion,
};
use everstep_host::Services;

use crate::{
    request::{Credential, Scan},
    run::{self, CloseScan, CloseShare, GiveUp, OpenShare, Part, Scanned, ShareEnd},
    send,
    settings::{Auth, Settings},
    source::{self, local::Local},
    spool::{
        Spool, batches,
        queue::{self, LanesWanted, Plan, Share},
    },
};

/// Errors that a share's result shows.
const ERRORS_SHOWN: u32 = 100;
/// Characters of one error there.
const ERROR_LENGTH: usize = 500;

/// What activities and routes share.
pub(crate) struct Inventory {
    pub(crate) settings: Settings,
    pub(crate) services: Services,
    pub(crate) spool: Spool,
    /// What takes rows, if they are sent.
    pub(crate) ingestion: Option<Ingestion>,
    local: Local,
    identity: Option<Identity>,
    http: reqwest::Client,
}

impl Inventory {
    /// What can be seen to be wrong is said here, before anything listens.
    pub(crate) fn new(
        settings: Settings,
        services: Services,
        path: PathBuf,
    ) -> Result<Self, BoxError> {
        let http = everstep_azure::http_client();
        let needs_identity = settings.auth == Auth::Identity || settings.mode.workspace().is_some();
        let setting = |name: &str| services.setting(name).map(str::to_owned);
        let identity =
            needs_identity.then(|| Identity::from_settings(setting, http.clone())).transpose()?;
        let ingestion =
            settings.mode.workspace().zip(identity.clone()).map(|(workspace, identity)| {
                let (endpoint, rule) = (&workspace.endpoint, &workspace.rule);
                Ingestion::new(endpoint, rule, &workspace.stream, identity, http.clone())
            });
        let ingestion = ingestion.transpose()?;
        let (spool, local) = (Spool::new(path), Local::default());
        let inventory = Self { settings, services, spool, ingestion, local, identity, http };
        if let Some(key) = inventory.key("") {
            Credentials::key(key).map_err(|error| format!("STORAGE_ACCOUNT_KEY: {error}"))?;
        }
        Ok(inventory)
    }

    /// Whether the settings have a key for an account.
    pub(crate) fn has_key(&self, account: &str) -> bool {
        self.key(account).is_some()
    }

    fn key(&self, account: &str) -> Option<&str> {
        let own = format!("STORAGE_ACCOUNT_KEY_{}", account.to_uppercase());
        let find = |name: &str| self.services.setting(name).filter(|key| !key.trim().is_empty());
        find(&own).or_else(|| find("STORAGE_ACCOUNT_KEY"))
    }

    /// What proves to the file service that a scan may read the account.
    fn credentials(&self, scan: &Scan) -> Result<Credentials, Failure> {
        let missing = || {
            let account = &scan.storage_account_name;
            let text = format!(
                "there is no key of the account `{account}` any more; set STORAGE_ACCOUNT_KEY"
            );
            Failure::new(source::SHARE_LOST, text).fatal()
        };
        let key = match &scan.credential {
            Credential::Identity => {
                return self.identity.clone().map(Credentials::Identity).ok_or_else(missing);
            }
            Credential::Sealed(secret) => self.services.secrets().open(secret)?,
            Credential::Setting => {
                self.key(&scan.storage_account_name).ok_or_else(missing)?.to_owned()
            }
            Credential::None => return Err(missing()),
        };
        Credentials::key(&key).map_err(|error| everstep::failure(error).fatal())
    }

    fn files(&self, scan: &Scan) -> Result<Files, Failure> {
        let account = &scan.storage_account_name;
        let own = public_endpoint(account);
        let endpoint = self.settings.endpoint.as_deref().unwrap_or(&own);
        let files = Files::new(endpoint, account, self.credentials(scan)?, self.http.clone());
        files.map_err(|error| everstep::failure(error).fatal())
    }

    pub(crate) async fn share(&self, id: i64) -> Result<Arc<Share>, Failure> {
        self.spool.write(move |db| queue::share(db, id)).await.map(Arc::new)
    }

    /// The local copy for questions.
    pub(crate) async fn open_copy(&self) -> Result<rusqlite::Connection, Failure> {
        // So that there is something to read.
        self.spool.write(|_| Ok(())).await?;
        let path = self.spool.path().to_owned();
        let opened = tokio::task::spawn_blocking(move || crate::query::open(&path)).await;
        Ok(opened.map_err(everstep::failure)??)
    }

    async fn list_shares(&self, instance: String, scan: Scan) -> Result<Vec<String>, Failure> {
        let noted = scan.clone();
        self.spool.write(move |db| queue::open_scan(db, &noted, &instance)).await?;
        if !scan.file_share_names.is_empty() {
            return Ok(scan.file_share_names);
        }
        if scan.is_local() {
            let shares = source::local::shares(&scan.local_paths, &[]);
            return Ok(shares.into_iter().map(|(name, _)| name).collect());
        }
        let Scan { subscription_id, resource_group, storage_account_name, .. } = &scan;
        match &self.identity {
            Some(identity)
                if scan.credential == Credential::Identity
                    && !subscription_id.is_empty()
                    && !resource_group.is_empty() =>
            {
                let management = Management::new(identity.clone(), self.http.clone());
                let (group, account) = (resource_group, storage_account_name);
                source::azure::shares_by_management(&management, subscription_id, group, account)
                    .await
            }
            _ => source::azure::shares(&self.files(&scan)?).await,
        }
    }

    async fn open_share(&self, open: OpenShare) -> Result<i64, Failure> {
        let OpenShare { scan, share, instance } = open;
        let root = source::local::shares(&scan.local_paths, &scan.file_share_names)
            .into_iter()
            .find(|(name, _)| *name == share)
            .map(|(_, path)| path.into_os_string().into_encoded_bytes())
            .unwrap_or_default();
        let sends = self.ingestion.is_some();
        self.spool
            .write(move |db| {
                queue::open_scan(db, &scan, &instance)?;
                let names = (scan.storage_account_name.as_str(), share.as_str());
                queue::open_share(db, &scan.execution_id, names, &root, sends)
            })
            .await
    }

    async fn plan(&self, share: i64) -> Result<Plan, Failure> {
        self.spool
            .write(move |db| {
                let scan = queue::share(db, share)?.scan;
                let azure = || source::azure::length(&scan);
                let length = if scan.is_local() { source::local::LENGTH } else { azure() };
                queue::plan(db, share, LanesWanted { lanes: source::LANES, length })
            })
            .await
    }

    async fn scan(&self, part: Part) -> Result<Scanned, Failure> {
        let share = self.share(part.share).await?;
        if share.scan.is_local() {
            return self.local.scan(&self.spool, share, part.lane).await;
        }
        let files = self.files(&share.scan)?;
        source::azure::scan(&files, &self.spool, share, part.lane).await
    }

    async fn give_up(&self, give_up: GiveUp) -> Result<(), Failure> {
        let GiveUp { part: Part { share, lane }, cause } = give_up;
        self.spool.write(move |db| queue::give_up(db, share, lane, &cause)).await
    }

    async fn close_share(&self, close: CloseShare) -> Result<ShareEnd, Failure> {
        let CloseShare { share, lost } = close;
        self.spool
            .write(move |db| {
                let left = batches::left(db, share)?;
                let mut errors = queue::errors(db, share, ERRORS_SHOWN)?;
                errors.iter_mut().for_each(shorten);
                let end = ShareEnd {
                    totals: queue::totals(db, share)?,
                    errors,
                    batches_sent: left.batches_sent,
                    batches_failed: left.batches_failed,
                    records_failed: left.records_failed,
                };
                queue::close_share(db, share, end.end(lost.as_deref()).name())?;
                Ok(end)
            })
            .await
    }

    async fn close_scan(&self, close: CloseScan) -> Result<(), Failure> {
        let execution = close.scan.execution_id;
        self.spool.write(move |db| queue::close_scan(db, &execution, close.status.name())).await
    }

    async fn reopen(&self, execution: String) -> Result<Vec<i64>, Failure> {
        let text = format!("there is no scan `{execution}`");
        let shares = self.spool.write(move |db| batches::reopen(db, &execution)).await?;
        shares.ok_or_else(|| Failure::new(everstep::kinds::NOT_FOUND, text).fatal())
    }
}

fn shorten(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(ERROR_LENGTH) {
        text.truncate(at);
        text.push('…');
    }
}

/// The durable functions.
pub(crate) fn durable(inventory: &Arc<Inventory>) -> App {
    // Registers an activity that is a method.
    macro_rules! activities {
        ($app:expr, $($handle:ident => |$this:ident, $ctx:ident, $input:ident| $call:expr),+ $(,)?) => {{
            let app = $app;
            $(
                let held = Arc::clone(inventory);
                let app = app.activity_with(run::$handle, limits(), move |$ctx: ActivityContext, $input| {
                    let $this = Arc::clone(&held);
                    async move { $call.await }
                });
            )+
            app
        }};
    }
    activities! {
        App::new(env!("CARGO_PKG_VERSION")),
        LIST_SHARES => |this, ctx, scan| this.list_shares(ctx.instance_id().as_str().to_owned(), scan),
        OPEN_SHARE => |this, _ctx, open| this.open_share(open),
        PLAN_WAVE => |this, _ctx, share| this.plan(share),
        SCAN_DIRECTORY => |this, _ctx, part| this.scan(part),
        GIVE_UP => |this, _ctx, part| this.give_up(part),
        SEND => |this, ctx, sending| send::send(&this, &ctx, sending),
        CLOSE_SHARE => |this, _ctx, close| this.close_share(close),
        CLOSE_SCAN => |this, _ctx, close| this.close_scan(close),
        REOPEN => |this, _ctx, execution| this.reopen(execution),
    }
    .orchestrator(run::MAIN, run::main)
    .orchestrator(run::FILE_SHARE, run::file_share)
    .orchestrator(run::REPAIR, run::repair)
}

fn limits() -> everstep::ActivityOptions {
    everstep::ActivityOptions { concurrency: None, timeout: Some(Duration::from_hours(1)) }
}
