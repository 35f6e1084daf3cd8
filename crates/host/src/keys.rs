//! Keys on disk, and the question whether a request may pass.
//!
//! K1  The file belongs to its user alone and is replaced whole: a crash leaves the keys of before or those of after.
//! K2  Where keys are not required, everybody passes everywhere; the start says so.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use everstep_functions::{
    config::binding::AuthLevel,
    keys::{self, KeyRing, Scope, Written},
};
use everstep_http::Access;
use http::{HeaderMap, Uri};

use crate::durable_file;

/// The system key of the management API.
const DURABLE: &str = "durabletask";

/// Whether keys are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Required {
    Yes,
    No,
}

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("the keys in {path} cannot be used: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says is not what was written.
    #[error("{path}: {source}")]
    Ring {
        /// Which.
        path: PathBuf,
        /// Why.
        source: keys::Error,
    },
}

/// The keys of an app.
pub(crate) struct Doorkeeper {
    path: PathBuf,
    required: Required,
    ring: RwLock<KeyRing>,
}

impl Doorkeeper {
    /// Reads the keys, or makes those that every app has.
    pub(crate) fn open(
        path: &Path,
        required: Required,
        functions: &[&str],
    ) -> Result<Arc<Self>, Error> {
        let file = |source| Error::File { path: path.to_owned(), source };
        let ring = |source| Error::Ring { path: path.to_owned(), source };
        let mut keys = match fs::read_to_string(path) {
            Ok(text) => KeyRing::from_json(&text).map_err(ring)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                KeyRing::random().map_err(ring)?
            }
            Err(error) => return Err(file(error)),
        };
        let before = keys.clone();
        keys.ensure(Scope::Host, keys::DEFAULT).map_err(ring)?;
        keys.ensure(Scope::System, &keys::extension_key(DURABLE)).map_err(ring)?;
        for function in functions {
            keys.ensure(Scope::Function(function), keys::DEFAULT).map_err(ring)?;
        }
        if keys != before || !path.exists() {
            durable_file::write_private(path, &keys.to_json()).map_err(file)?;
        }
        Ok(Arc::new(Self { path: path.to_owned(), required, ring: RwLock::new(keys) }))
    }

    pub(crate) fn required(&self) -> Required {
        self.required
    }

    /// Reads the keys.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&KeyRing) -> T) -> T {
        read(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the keys; the change is on disk when this returns.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut KeyRing) -> Result<T, keys::Error>,
    ) -> Result<T, ChangeError> {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = ring.clone();
        let done = change(&mut changed).map_err(ChangeError::Refused)?;
        durable_file::write_private(&self.path, &changed.to_json())
            .map_err(|source| ChangeError::File(Error::File { path: self.path.clone(), source }))?;
        *ring = changed;
        Ok(done)
    }

    /// Whether a request may reach a function.
    pub(crate) fn lets_in(
        &self,
        level: AuthLevel,
        function: &str,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> bool {
        if self.required == Required::No || level == AuthLevel::Anonymous {
            return true;
        }
        let code = code(uri);
        let key = keys::presented(header(headers), code.as_deref());
        self.read(|ring| ring.allows(level, function, key))
    }

    /// Whether a request may reach the webhooks of an extension.
    pub(crate) fn lets_in_extension(
        &self,
        extension: &str,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> bool {
        if self.required == Required::No {
            return true;
        }
        let code = code(uri);
        let key = keys::presented(header(headers), code.as_deref());
        self.read(|ring| ring.allows_extension(extension, key))
    }

    /// The system key of an extension; made if there is none.
    pub(crate) fn extension_key(&self, extension: &str) -> Result<String, ChangeError> {
        let name = keys::extension_key(extension);
        if let Ok(key) = self.read(|ring| ring.get(Scope::System, &name).cloned()) {
            return Ok(key.as_str().to_owned());
        }
        self.change(|ring| {
            ring.ensure(Scope::System, &name)?;
            Ok(ring.get(Scope::System, &name)?.as_str().to_owned())
        })
    }
}

/// Why a key was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error(transparent)]
    Refused(keys::Error),
    #[error(transparent)]
    File(Error),
}

/// What the management API asks.
impl everstep_http::Keys for Doorkeeper {
    fn check(&self, presented: Option<&str>) -> Access {
        let open = self.required == Required::No
            || self.read(|ring| ring.allows_extension(DURABLE, presented));
        if open { Access::Granted } else { Access::Denied }
    }

    fn system_key(&self) -> Option<String> {
        self.extension_key(DURABLE).ok()
    }
}

/// The status of the admin API's answer to a key that was written.
pub(crate) fn status(written: Written) -> u16 {
    match written {
        Written::Created => 201,
        Written::Kept | Written::Renewed => 200,
    }
}

fn header(headers: &HeaderMap) -> Option<&str> {
    headers.get(keys::HEADER).and_then(|value| value.to_str().ok())
}

fn code(uri: &Uri) -> Option<String> {
    let query = uri.query()?;
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.replace('+', " ");
        let decoded = percent_encoding::percent_decode_str(&value).decode_utf8_lossy();
        name.eq_ignore_ascii_case(keys::QUERY).then(|| decoded.into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path, required: Required) -> Arc<Doorkeeper> {
        Doorkeeper::open(&folder.join("keys.json"), required, &["Hello"]).unwrap()
    }

    fn key(keeper: &Doorkeeper, scope: Scope<'_>, name: &str) -> String {
        keeper.read(|ring| ring.get(scope, name).unwrap().as_str().to_owned())
    }

    #[test]
    fn keys_are_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path(), Required::Yes);
        let own = key(&first, Scope::Function("hello"), "default");
        let again = open(folder.path(), Required::Yes);
        assert_eq!(key(&again, Scope::Function("Hello"), "default"), own);
        assert_eq!(first.read(KeyRing::to_json), again.read(KeyRing::to_json));
    }

    #[test]
    #[cfg(unix)]
    fn the_file_belongs_to_its_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), Required::Yes);
        let mode = fs::metadata(folder.path().join("keys.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_request_passes_with_the_right_key_in_its_header_or_query() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = open(folder.path(), Required::Yes);
        let own = key(&keeper, Scope::Function("Hello"), "default");
        let passes = |level, uri: &str, header: Option<&str>| {
            let mut headers = HeaderMap::new();
            header.into_iter().for_each(|key| {
                headers.insert(keys::HEADER, key.parse().unwrap());
            });
            keeper.lets_in(level, "Hello", &headers, &uri.parse().unwrap())
        };
        assert!(passes(AuthLevel::Anonymous, "/", None));
        assert!(!passes(AuthLevel::Function, "/", None));
        assert!(passes(AuthLevel::Function, "/", Some(&own)));
        assert!(passes(AuthLevel::Function, &format!("/?a=b&Code={own}"), None));
        assert!(!passes(AuthLevel::Function, &format!("/?code={own}"), Some("wrong")));
        assert!(!passes(AuthLevel::Admin, "/", Some(&own)));
        let master = keeper.read(|ring| ring.master().as_str().to_owned());
        assert!(passes(AuthLevel::Admin, "/", Some(&master)));
    }

    #[test]
    fn where_no_keys_are_required_everybody_passes() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = open(folder.path(), Required::No);
        assert!(keeper.lets_in(
            AuthLevel::Admin,
            "Hello",
            &HeaderMap::new(),
            &"/".parse().unwrap()
        ));
        assert_eq!(everstep_http::Keys::check(&*keeper, None), Access::Granted);
    }

    #[test]
    fn a_file_that_is_no_key_ring_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(&path, "{").unwrap();
        let error = Doorkeeper::open(&path, Required::Yes, &[]).err().unwrap().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(error.ends_with("delete it to have new keys made"), "{error}");
    }
}
