//! Values that must stand in no history: keys and tokens that a request brings and an activity needs.
//!
//! S1  What is sealed is on disk before anybody has the handle, so it survives every crash that the handle survives.
//! S2  A history holds the handle, which tells nothing. The value stands in no file in the open, in no `Debug`, in no
//!     message.
//! S3  A value belongs to an instance. It goes when the instance ends; where the process went down before, when the next
//!     one starts.
//! S4  Both files belong to their user alone and are no part of a backup. With the last value the key goes as well, so
//!     that what a disk still holds of the file cannot be opened.
//!
//! Absent on purpose: a master key kept elsewhere. Whoever can read the user's files can read the hub as well.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use everstep::{Client, ClientError, Failure, InstanceId, Timestamp};
use everstep_runtime::lifecycle::Turned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{durable_file, start::now};

const FILE: &str = "secrets.json";
const KEY_FILE: &str = "secrets.key";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// Keys and tokens are far shorter.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// The kind of failures whose value is no longer there.
const GONE: &str = "SecretGone";
/// The kind of failures of the files.
const UNUSABLE: &str = "SecretsUnusable";

/// A handle of a sealed value. It may stand in inputs, outputs and histories: it tells nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Secret {
    secret: String,
}

/// The secrets of an app. Cheap to clone; activities may capture it, or the [`Services`](crate::Services) it comes from.
#[derive(Clone)]
pub struct Secrets {
    vault: Arc<Vault>,
}

impl Secrets {
    pub(crate) fn new(vault: Arc<Vault>) -> Self {
        Self { vault }
    }

    /// Seals a value for an instance that runs or is about to be started; orchestrators and children of it may pass the
    /// handle on. The value goes when the instance ends.
    pub async fn seal(&self, owner: &InstanceId, value: &str) -> Result<Secret, Failure> {
        if value.len() > VALUE_BYTES_MAX {
            let bytes = value.len();
            let text =
                format!("a secret has at most {VALUE_BYTES_MAX} bytes; this one has {bytes}");
            return Err(Failure::new(everstep::kinds::RULE, text).fatal());
        }
        let (vault, owner, value) = (Arc::clone(&self.vault), owner.clone(), value.to_owned());
        let sealed = tokio::task::spawn_blocking(move || vault.seal(&owner, &value, now()));
        sealed.await.map_err(everstep::failure)?.map_err(|error| unusable(&error))
    }

    /// The value behind a handle.
    pub fn open(&self, secret: &Secret) -> Result<String, Failure> {
        self.vault.unseal(secret)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// Why the secrets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("the app's secrets in {path} cannot be used: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error(
        "{path} is not as it was written: {problem}; put it back, or remove {FILE} and {KEY_FILE}: runs that need a secret will fail and say so"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system has no random numbers.
    #[error("no key can be made for the app's secrets: {0}")]
    Random(getrandom::Error),
}

fn unusable(error: &Error) -> Failure {
    Failure::new(UNUSABLE, error.to_string())
}

/// The sealed values of a hub.
pub(crate) struct Vault {
    folder: PathBuf,
    held: Mutex<Held>,
}

#[derive(Default, Clone)]
struct Held {
    key: Option<[u8; KEY_BYTES]>,
    /// By handle.
    sealed: BTreeMap<String, Sealed>,
}

/// A value as the file has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sealed {
    instance: String,
    /// When it was sealed, in ticks.
    since: i64,
    /// The nonce and the sealed bytes.
    value: String,
}

impl Vault {
    /// Reads what earlier runs left.
    pub(crate) fn open(folder: &Path) -> Result<Arc<Self>, Error> {
        let held = match read(&folder.join(FILE))? {
            None => Held::default(),
            Some(text) => {
                let path = folder.join(FILE);
                let sealed = serde_json::from_str(&text)
                    .map_err(|error| Error::Damaged { path, problem: error.to_string() })?;
                Held { key: Some(key(&folder.join(KEY_FILE))?), sealed }
            }
        };
        Ok(Arc::new(Self { folder: folder.to_owned(), held: Mutex::new(held) }))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(&self, owner: &InstanceId, value: &str, now: Timestamp) -> Result<Secret, Error> {
        let mut held = self.held();
        let key = match held.key {
            Some(key) => key,
            None => {
                let key: [u8; KEY_BYTES] = random()?;
                self.write(KEY_FILE, &BASE64.encode(key))?;
                key
            }
        };
        let handle = handle()?;
        let nonce: [u8; NONCE_BYTES] = random()?;
        let bound = bound(&handle, owner.as_str());
        let payload = Payload { msg: value.as_bytes(), aad: bound.as_bytes() };
        let bytes = XChaCha20Poly1305::new(&key.into())
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a value of this length can be sealed");
        let value = BASE64.encode([nonce.as_slice(), &bytes].concat());
        let sealed = Sealed { instance: owner.as_str().to_owned(), since: now.ticks(), value };
        let mut changed = Held { key: Some(key), sealed: held.sealed.clone() };
        changed.sealed.insert(handle.clone(), sealed);
        self.keep(&changed)?;
        *held = changed;
        Ok(Secret { secret: handle })
    }

    fn unseal(&self, secret: &Secret) -> Result<String, Failure> {
        let held = self.held();
        let found = held.key.zip(held.sealed.get(&secret.secret));
        let Some((key, sealed)) = found else {
            let text = format!(
                "the secret `{}` is gone: its instance has ended, or the hub was restored from a backup; start anew with the value",
                secret.secret
            );
            return Err(Failure::new(GONE, text).fatal());
        };
        opened(&key, &secret.secret, sealed).ok_or_else(|| {
            let path = self.folder.join(FILE);
            let problem = format!("the secret `{}` cannot be opened with its key", secret.secret);
            unusable(&Error::Damaged { path, problem }).fatal()
        })
    }

    /// Lets go of what was sealed for these instances before a time.
    fn forget(&self, gone: &[(InstanceId, Timestamp)]) -> Result<(), Error> {
        let mut held = self.held();
        let is_gone = |sealed: &Sealed| {
            gone.iter().any(|(instance, ended)| {
                sealed.instance == instance.as_str() && sealed.since <= ended.ticks()
            })
        };
        let mut changed = held.clone();
        changed.sealed.retain(|_, sealed| !is_gone(sealed));
        if changed.sealed.len() == held.sealed.len() {
            return Ok(());
        }
        if changed.sealed.is_empty() {
            changed.key = None;
            self.remove(FILE)?;
            self.remove(KEY_FILE)?;
        } else {
            self.keep(&changed)?;
        }
        *held = changed;
        Ok(())
    }

    fn owners(&self) -> Vec<InstanceId> {
        let held = self.held();
        let mut owners: Vec<_> =
            held.sealed.values().map(|sealed| InstanceId::from_stored(&sealed.instance)).collect();
        owners.sort();
        owners.dedup();
        owners
    }

    fn is_owner(&self, instance: &InstanceId) -> bool {
        self.held().sealed.values().any(|sealed| sealed.instance == instance.as_str())
    }

    fn keep(&self, held: &Held) -> Result<(), Error> {
        let text = serde_json::to_string(&held.sealed).expect("texts and numbers are JSON");
        self.write(FILE, &text)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.folder.join(name);
        durable_file::write_private(&path, text).map_err(|source| Error::File { path, source })
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::File { path, source })
            }
            Err(_) | Ok(()) => Ok(()),
        }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Lets go of what belongs to instances that are no longer there. `owners` are those of before the hub was opened: what
/// is sealed since then is for runs that are yet to start.
pub(crate) async fn sweep(vault: &Arc<Vault>, owners: Vec<InstanceId>, client: &Client) {
    let mut gone = Vec::new();
    for owner in owners {
        match client.get(&owner).await {
            Ok(view) if !view.status.is_terminal() => {}
            Ok(_) | Err(ClientError::NotFound(_)) => gone.push((owner, Timestamp::MAX)),
            Err(error) => {
                tracing::warn!(target: "Host.General", instance = %owner, %error, "whether a secret's instance is still there is not known; the next start looks again");
            }
        }
    }
    forget(vault, gone).await;
}

/// The owners that [`sweep`] is to look at.
pub(crate) fn owners(vault: &Vault) -> Vec<InstanceId> {
    vault.owners()
}

/// Hears of instances that end, lets go of what was theirs, and passes the news on.
pub(crate) fn hear(
    vault: &Arc<Vault>,
    mut ended: mpsc::UnboundedReceiver<Turned>,
) -> mpsc::UnboundedReceiver<Turned> {
    let (pass_on, next) = mpsc::unbounded_channel();
    let vault = Arc::clone(vault);
    tokio::spawn(async move {
        while let Some(turned) = ended.recv().await {
            if vault.is_owner(&turned.instance) {
                // What was sealed since is for the next run of the same name.
                forget(&vault, vec![(turned.instance.clone(), turned.now)]).await;
            }
            // Nobody else may want to know.
            drop(pass_on.send(turned));
        }
    });
    next
}

async fn forget(vault: &Arc<Vault>, gone: Vec<(InstanceId, Timestamp)>) {
    if gone.is_empty() {
        return;
    }
    let vault = Arc::clone(vault);
    let done = tokio::task::spawn_blocking(move || vault.forget(&gone)).await;
    if let Ok(Err(error)) = done {
        tracing::error!(target: "Host.General", %error, "secrets of instances that have ended are still there; the next start removes them");
    }
}

fn opened(key: &[u8; KEY_BYTES], handle: &str, sealed: &Sealed) -> Option<String> {
    let bytes = BASE64.decode(&sealed.value).ok()?;
    let (nonce, bytes) = bytes.split_first_chunk::<NONCE_BYTES>()?;
    let bound = bound(handle, &sealed.instance);
    let payload = Payload { msg: bytes, aad: bound.as_bytes() };
    let value = XChaCha20Poly1305::new(key.into()).decrypt(&XNonce::from(*nonce), payload).ok()?;
    String::from_utf8(value).ok()
}

/// What a sealed value is bound to: moved to another handle or instance, it does not open.
fn bound(handle: &str, instance: &str) -> String {
    format!("{handle}\n{instance}")
}

fn handle() -> Result<String, Error> {
    let bytes: [u8; 16] = random()?;
    Ok(everstep::Guid(bytes).to_string())
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(bytes)
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { path: path.to_owned(), source }),
    }
}

fn key(path: &Path) -> Result<[u8; KEY_BYTES], Error> {
    let damaged =
        |problem: &str| Error::Damaged { path: path.to_owned(), problem: problem.to_owned() };
    let text = read(path)?.ok_or_else(|| damaged("it is missing"))?;
    let bytes = BASE64.decode(text.trim()).unwrap_or_default();
    bytes.try_into().map_err(|_| damaged("it holds no key"))
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use everstep::{
        Activity, ActivityContext, App, Context, Orchestrator, StartOptions, TypedClient as _,
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::{FunctionApp, Http, HttpCall, Services, StartArgs, start::testing::Running};

    const VALUE: &str = "a-key-that-nobody-else-may-read";

    fn instance(id: &str) -> InstanceId {
        InstanceId::orchestration(id).unwrap()
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn gone(secret: &Secret) -> String {
        format!(
            "the secret `{}` is gone: its instance has ended, or the hub was restored from a backup; start anew with the value",
            secret.secret
        )
    }

    #[test]
    fn what_is_sealed_opens_again_also_after_a_restart() {
        let folder = folder();
        let vault = Vault::open(folder.path()).unwrap();
        let first = vault.seal(&instance("a"), VALUE, at(1)).unwrap();
        let second = vault.seal(&instance("b"), "", at(1)).unwrap();
        drop(vault);
        let vault = Vault::open(folder.path()).unwrap();
        assert_eq!(vault.unseal(&first).unwrap(), VALUE);
        assert_eq!(vault.unseal(&second).unwrap(), "");
    }

    #[test]
    fn no_file_holds_the_value_and_nothing_that_is_printed_shows_it() {
        let folder = folder();
        let vault = Vault::open(folder.path()).unwrap();
        let secret = vault.seal(&instance("a"), VALUE, at(1)).unwrap();
        for file in fs::read_dir(folder.path()).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            for hidden in [VALUE.to_owned(), BASE64.encode(VALUE)] {
                let hidden = hidden.as_bytes();
                assert!(!bytes.windows(hidden.len()).any(|window| window == hidden));
            }
        }
        let secrets = Secrets::new(vault);
        let printed = format!("{secret:?} {secrets:?} {:?}", secrets.vault);
        assert!(!printed.contains(VALUE), "{printed}");
        let handle = serde_json::to_string(&secret).unwrap();
        assert_eq!(handle, format!(r#"{{"secret":"{}"}}"#, secret.secret));
        assert_eq!(serde_json::from_str::<Secret>(&handle).unwrap(), secret);
    }

    #[test]
    #[cfg(unix)]
    fn both_files_belong_to_their_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = folder();
        let vault = Vault::open(folder.path()).unwrap();
        vault.seal(&instance("a"), VALUE, at(1)).unwrap();
        for name in [FILE, KEY_FILE] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn with_its_instance_a_secret_goes_and_with_the_last_one_the_key() {
        let folder = folder();
        let vault = Vault::open(folder.path()).unwrap();
        let (a, b) = (instance("a"), instance("b"));
        let first = vault.seal(&a, VALUE, at(1)).unwrap();
        let second = vault.seal(&b, VALUE, at(1)).unwrap();
        vault.forget(&[(a, at(2))]).unwrap();
        assert_eq!(vault.unseal(&first).unwrap_err().message, gone(&first));
        assert!(vault.unseal(&first).unwrap_err().non_retriable);
        assert_eq!(vault.unseal(&second).unwrap(), VALUE);
        vault.forget(&[(b, at(2))]).unwrap();
        assert_eq!(vault.unseal(&second).unwrap_err().kind, GONE);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_sealed_for_the_next_run_of_a_name_stays_when_the_former_ends() {
        let folder = folder();
        let vault = Vault::open(folder.path()).unwrap();
        let former = vault.seal(&instance("daily"), "former", at(1)).unwrap();
        let next = vault.seal(&instance("daily"), "next", at(3)).unwrap();
        vault.forget(&[(instance("daily"), at(2))]).unwrap();
        assert_eq!(vault.unseal(&former).unwrap_err().kind, GONE);
        assert_eq!(vault.unseal(&next).unwrap(), "next");
    }

    #[test]
    fn a_sealed_value_that_was_moved_or_changed_does_not_open() {
        let folder = folder();
        let vault = Vault::open(folder.path()).unwrap();
        let secret = vault.seal(&instance("mine"), VALUE, at(1)).unwrap();
        let path = folder.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("mine", "yours")).unwrap();
        let failure = Vault::open(folder.path()).unwrap().unseal(&secret).unwrap_err();
        assert_eq!(
            failure.message,
            format!(
                "{} is not as it was written: the secret `{}` cannot be opened with its key; put it back, or remove secrets.json and secrets.key: runs that need a secret will fail and say so",
                path.display(),
                secret.secret
            )
        );
    }

    #[test]
    fn files_that_are_damaged_are_named_at_the_start() {
        let folder = folder();
        let vault = Vault::open(folder.path()).unwrap();
        vault.seal(&instance("a"), VALUE, at(1)).unwrap();
        let text = |name: &str, problem: &str| {
            format!(
                "{} is not as it was written: {problem}; put it back, or remove secrets.json and secrets.key: runs that need a secret will fail and say so",
                folder.path().join(name).display()
            )
        };
        let opened = || Vault::open(folder.path()).unwrap_err().to_string();
        fs::write(folder.path().join(KEY_FILE), "no key").unwrap();
        assert_eq!(opened(), text(KEY_FILE, "it holds no key"));
        fs::remove_file(folder.path().join(KEY_FILE)).unwrap();
        assert_eq!(opened(), text(KEY_FILE, "it is missing"));
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(opened(), text(FILE, "EOF while parsing an object at line 1 column 1"));
    }

    /// An app that keeps the value it is posted, and tells how long it is when it is told to.
    fn app() -> FunctionApp {
        const KEEP: Orchestrator<Secret, Value> = Orchestrator::new("keep");
        const OPENED: Activity<Secret, usize> = Activity::new("opened");
        let services: Arc<OnceLock<Services>> = Arc::default();
        let late = Arc::clone(&services);
        let durable = App::new("1")
            .orchestrator(KEEP, |ctx: Context, secret: Secret| async move {
                ctx.event::<()>("go").await?;
                let bytes = ctx.call(OPENED, secret.clone()).await?;
                Ok::<_, Failure>(json!([bytes, secret]))
            })
            .activity(OPENED, move |_: ActivityContext, secret: Secret| {
                let opened = late.get().unwrap().secrets().open(&secret);
                async move { opened.map(|value| value.len()) }
            });
        FunctionApp::new(durable)
            .http("take", Http::post("keep/{id}"), move |mut call: HttpCall| {
                let services = services.get_or_init(|| call.services().clone()).clone();
                async move {
                    let value = String::from_utf8(call.bytes().await?.to_vec()).unwrap();
                    let id = instance(call.param("id"));
                    let secret = services.secrets().seal(&id, &value).await?;
                    if call.query("start").is_some() {
                        let options = StartOptions { id: Some(id), ..StartOptions::default() };
                        call.client()
                            .run(KEEP, secret.clone(), options)
                            .await
                            .map_err(everstep::failure)?;
                    }
                    Ok::<_, Failure>(serde_json::to_string(&secret).unwrap())
                }
            })
            .http("show", Http::post("open"), |mut call: HttpCall| async move {
                let secret: Secret = call.json().await?;
                let opened = call.services().secrets().open(&secret);
                Ok::<_, Failure>(opened.unwrap_or_else(|failure| failure.kind))
            })
    }

    /// What a kill would leave: the files as they are while the host runs.
    fn image(from: &Path) -> PathBuf {
        fn copy(from: &Path, to: &Path) {
            fs::create_dir_all(to).unwrap();
            for entry in fs::read_dir(from).unwrap() {
                let (path, to) =
                    (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
                if path.is_dir() {
                    copy(&path, &to);
                } else {
                    fs::copy(&path, &to).unwrap();
                }
            }
        }
        let to = folder().keep();
        copy(from, &to);
        to
    }

    fn holds(folder: &Path, text: &str) -> bool {
        fs::read_dir(folder).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                return holds(&path, text);
            }
            let bytes = fs::read(path).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_secret_survives_a_kill_is_in_no_file_and_goes_with_its_instance() {
        let host = Running::open(app()).await;
        let kept = host.ask("POST /api/keep/a?start=1", VALUE).await;
        assert_eq!(kept.status, 200, "{}", kept.body);
        let image = image(&host.site.script_root);
        host.stop().await;
        assert!(!holds(&image, VALUE));

        let host = Running::start(app(), image.clone(), StartArgs::default()).await;
        assert_eq!(host.ask("POST /api/open", &kept.body).await.body, VALUE);
        // For a run that never starts.
        let unused = host.ask("POST /api/keep/never", "unused").await.body;
        let durable = "/runtime/webhooks/durabletask/instances/a";
        host.ask(&format!("POST {durable}/raiseEvent/go"), "null").await;
        let ended = host.ask(&format!("GET {durable}?wait=60s"), "").await;
        let ended: Value = serde_json::from_str(&ended.body).unwrap();
        let handle: Value = serde_json::from_str(&kept.body).unwrap();
        assert_eq!(ended["output"], json!([VALUE.len(), handle]), "{ended}");
        while host.ask("POST /api/open", &kept.body).await.body != GONE {
            tokio::task::yield_now().await;
        }
        assert_eq!(host.ask("POST /api/open", &unused).await.body, "unused");
        assert!(!holds(&image, VALUE));
        let later = self::image(&image);
        host.stop().await;

        let host = Running::start(app(), later, StartArgs::default()).await;
        assert_eq!(host.ask("POST /api/open", &unused).await.body, GONE);
        assert!(!host.site.folder.join(FILE).exists());
        assert!(!host.site.folder.join(KEY_FILE).exists());
        host.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backup_holds_no_secrets() {
        let host = Running::open(app()).await;
        host.ask("POST /api/keep/a?start=1", VALUE).await;
        let parent = folder();
        let to = parent.path().join("copy");
        let body = json!({ "destination": to }).to_string();
        assert_eq!(host.ask("POST /admin/host/backup", &body).await.status, 200);
        for name in [FILE, KEY_FILE] {
            assert!(host.site.folder.join(name).exists());
            assert!(!to.join(name).exists());
        }
        host.stop().await;
    }

    #[tokio::test]
    async fn a_value_that_is_no_key_and_no_token_is_refused() {
        let folder = folder();
        let secrets = Secrets::new(Vault::open(folder.path()).unwrap());
        let refused = secrets.seal(&instance("a"), &"x".repeat(65_537)).await.unwrap_err();
        assert_eq!(refused.message, "a secret has at most 65536 bytes; this one has 65537");
    }
}
