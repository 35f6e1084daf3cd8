//! What `start-scan` is asked for: the body of a request, with the settings behind it.
//!
//! Q1  A key that is missing, `null` or an empty text is absent: the setting counts.
//! Q2  What cannot be meant is refused with the key's name; nothing is put in its place.
//! Q3  An account key leaves by [`Request::key`] only, never inside [`Scan`].

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use everstep_azure::files::Credentials;
use everstep_host::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::settings::{self, Auth, BATCH_SIZES, Hashing, LOCAL, Settings};

/// The input of a scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scan {
    pub(crate) execution_id: String,
    pub(crate) storage_account_name: String,
    pub(crate) credential: Credential,
    #[serde(default)]
    pub(crate) subscription_id: String,
    #[serde(default)]
    pub(crate) resource_group: String,
    /// All shares if empty.
    #[serde(default)]
    pub(crate) file_share_names: Vec<String>,
    /// Folders of this machine, for the account `local`.
    #[serde(default)]
    pub(crate) local_paths: Vec<String>,
    pub(crate) skip_hash_computation: bool,
    pub(crate) batch_size: u32,
    pub(crate) max_file_size_for_hash_mb: f64,
    #[serde(default)]
    pub(crate) exclude_patterns: Vec<String>,
}

impl Scan {
    pub(crate) fn is_local(&self) -> bool {
        self.storage_account_name == LOCAL
    }

    /// Files of more bytes are not hashed; `None` if none is.
    pub(crate) fn hash_bytes_max(&self) -> Option<u64> {
        #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
        (!self.skip_hash_computation)
            .then(|| (self.max_file_size_for_hash_mb * f64::from(1 << 20)) as u64)
    }
}

/// How the file service is asked, without what must stand in no history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Credential {
    /// Folders of this machine need none.
    None,
    /// The key that the settings have.
    Setting,
    /// The app's managed identity.
    Identity,
    /// The key that the request brought.
    Sealed(Secret),
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) scan: Scan,
    /// The key that it brought, to be sealed before the scan starts.
    pub(crate) key: Option<String>,
}

/// Why a request is refused: for the caller.
pub(crate) type Refusal = String;

/// Reads a request. `key_of` says whether the settings have a key for an account.
pub(crate) fn read(
    body: &[u8],
    execution_id: &str,
    settings: &Settings,
    has_key: impl Fn(&str) -> bool,
) -> Result<Request, Refusal> {
    let body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let body = Body(body);
    let mut local_paths = once(body.texts("localPaths")?.unwrap_or_default());
    let account = account(&body, settings, !local_paths.is_empty())?;
    if account == LOCAL {
        local_paths = paths(local_paths, settings)?;
    }
    let (credential, key) = credential(&body, settings, &account, has_key)?;
    let scan = Scan {
        execution_id: execution_id.to_owned(),
        credential,
        subscription_id: body.text("subscriptionId")?.unwrap_or_default(),
        resource_group: body.text("resourceGroup")?.unwrap_or_default(),
        file_share_names: once(body.texts("fileShareNames")?.unwrap_or_default()),
        local_paths,
        skip_hash_computation: match body.find("skipHashComputation") {
            None => settings.hashing == Hashing::Off,
            Some(Value::Bool(skips)) => *skips,
            Some(_) => return Err("skipHashComputation must be true or false".to_owned()),
        },
        batch_size: match body.find("batchSize") {
            None => settings.batch_size,
            Some(found) => batch_size(found)?,
        },
        max_file_size_for_hash_mb: match body.find("maxFileSizeForHashMB") {
            None => settings.hash_mb_max,
            Some(found) => found
                .as_f64()
                .filter(|number| settings::is_size(*number))
                .ok_or("maxFileSizeForHashMB must be a number, at least 0")?,
        },
        exclude_patterns: match body.texts("excludePatterns")? {
            None => settings.exclude.clone(),
            Some(patterns) => patterns,
        },
        storage_account_name: account,
    };
    Ok(Request { scan, key })
}

struct Body(Map<String, Value>);

impl Body {
    fn find(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    fn text(&self, key: &str) -> Result<Option<String>, Refusal> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{key} must be a string")),
        }
    }

    /// An array of texts; a text alone is an array of one.
    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Refusal> {
        let wrong = || format!("{key} must be an array of strings");
        match self.find(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(vec![text.clone()])),
            Some(Value::Array(found)) => {
                let texts = found.iter().map(|text| text.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().map(Some).ok_or_else(wrong)
            }
            Some(_) => Err(wrong()),
        }
    }
}

fn account(body: &Body, settings: &Settings, has_paths: bool) -> Result<String, Refusal> {
    let fallback = || match () {
        () if has_paths => Some(LOCAL.to_owned()),
        () if settings.account.is_some() => settings.account.clone(),
        () => (!settings.roots.is_empty()).then(|| LOCAL.to_owned()),
    };
    let name = body.text("storageAccountName")?.or_else(fallback);
    let name = name.ok_or("storageAccountName is required")?;
    if !settings::is_account(&name) {
        return Err("storageAccountName must have 3 to 24 lower-case letters and digits".to_owned());
    }
    if has_paths && name != LOCAL {
        return Err(format!("localPaths goes with the account `{LOCAL}`, not with `{name}`"));
    }
    Ok(name)
}

fn credential(
    body: &Body,
    settings: &Settings,
    account: &str,
    has_key: impl Fn(&str) -> bool,
) -> Result<(Credential, Option<String>), Refusal> {
    let key = body.text("storageAccountKey")?;
    match key {
        _ if account == LOCAL => Ok((Credential::None, None)),
        Some(key) => {
            Credentials::key(&key).map_err(
                |_| "storageAccountKey is no key; copy the whole key as the portal shows it",
            )?;
            // Sealed once the scan has an id.
            Ok((Credential::None, Some(key)))
        }
        None if settings.auth == Auth::Identity => Ok((Credential::Identity, None)),
        None if has_key(account) => Ok((Credential::Setting, None)),
        None => {
            Err("storageAccountKey is required (or set STORAGE_ACCOUNT_KEY env var)".to_owned())
        }
    }
}

fn batch_size(found: &Value) -> Result<u32, Refusal> {
    let size = found.as_u64().and_then(|size| u32::try_from(size).ok());
    let wrong = "batchSize must be a whole number from 1 to 10000";
    size.filter(|size| BATCH_SIZES.contains(size)).ok_or_else(|| wrong.to_owned())
}

/// The folders to scan. Only what the settings allow: whoever may start scans may not read the whole machine with it.
fn paths(given: Vec<String>, settings: &Settings) -> Result<Vec<String>, Refusal> {
    if settings.roots.is_empty() {
        let text = "LOCAL_SCAN_ROOTS is required for the account `local`: set it to the folders that may be scanned";
        return Err(text.to_owned());
    }
    if given.is_empty() {
        let roots = settings.roots.iter();
        return Ok(roots.map(|root| root.to_string_lossy().into_owned()).collect());
    }
    for path in &given {
        if !is_allowed(Path::new(path), &settings.roots) {
            return Err(format!(
                "localPaths has `{path}`, which is in none of the folders of LOCAL_SCAN_ROOTS"
            ));
        }
    }
    Ok(given)
}

/// Whether a folder lies in one of those that may be scanned, after all links.
fn is_allowed(path: &Path, roots: &[PathBuf]) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    roots.iter().filter_map(|root| root.canonicalize().ok()).any(|root| path.starts_with(root))
}

fn once(mut names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        Settings { account: Some("acct".to_owned()), ..Settings::default() }
    }

    fn asked(body: &Value) -> Result<Request, Refusal> {
        read(body.to_string().as_bytes(), "e", &settings(), |account| account == "acct")
    }

    #[test]
    fn what_is_absent_comes_from_the_settings() {
        let expected = Scan {
            execution_id: "e".to_owned(),
            storage_account_name: "acct".to_owned(),
            credential: Credential::Setting,
            subscription_id: String::new(),
            resource_group: String::new(),
            file_share_names: Vec::new(),
            local_paths: Vec::new(),
            skip_hash_computation: true,
            batch_size: 500,
            max_file_size_for_hash_mb: 100.0,
            exclude_patterns: Settings::default().exclude,
        };
        let nulls = json!({
            "storageAccountName": null, "storageAccountKey": "", "batchSize": null,
            "skipHashComputation": "", "fileShareNames": null, "maxFileSizeForHashMB": null,
        });
        for body in [json!({}), nulls, json!([]), json!("text")] {
            assert_eq!(asked(&body).unwrap().scan, expected, "{body}");
        }
        for unreadable in [&b""[..], b"{", b"\xff"] {
            let request = read(unreadable, "e", &settings(), |_| true).unwrap();
            assert_eq!(request.scan, expected);
        }
    }

    #[test]
    fn what_is_given_counts_and_shares_count_once() {
        let body = json!({
            "storageAccountName": "other", "storageAccountKey": "a2V5", "subscriptionId": "s",
            "resourceGroup": "g", "fileShareNames": ["b", "a", "b"], "skipHashComputation": false,
            "batchSize": 1, "maxFileSizeForHashMB": 0.5, "excludePatterns": "*.x",
        });
        let Request { scan, key } = asked(&body).unwrap();
        assert_eq!(scan.file_share_names, ["b", "a"]);
        assert_eq!(scan.exclude_patterns, ["*.x"]);
        assert_eq!(scan.hash_bytes_max(), Some(1 << 19));
        assert_eq!((scan.batch_size, scan.storage_account_name.as_str()), (1, "other"));
        assert_eq!(key.as_deref(), Some("a2V5"));
        assert!(!serde_json::to_string(&scan).unwrap().contains("a2V5"));
        let none = asked(&json!({ "excludePatterns": [] })).unwrap();
        assert_eq!(none.scan.exclude_patterns, Vec::<String>::new());
        assert_eq!(none.scan.hash_bytes_max(), None);
        let identity = Settings { auth: Auth::Identity, ..settings() };
        let request = read(b"", "e", &identity, |_| false).unwrap();
        assert_eq!(request.scan.credential, Credential::Identity);
    }

    #[test]
    fn the_account_is_asked_for_first_and_then_its_key() {
        let refused = |settings: &Settings| read(b"{}", "e", settings, |_| false).unwrap_err();
        assert_eq!(refused(&Settings::default()), "storageAccountName is required");
        assert_eq!(
            refused(&settings()),
            "storageAccountKey is required (or set STORAGE_ACCOUNT_KEY env var)"
        );
        let body = json!({ "storageAccountName": "", "batchSize": 0 }).to_string();
        let refused = read(body.as_bytes(), "e", &Settings::default(), |_| true).unwrap_err();
        assert_eq!(refused, "storageAccountName is required");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_key() {
        let batch = "batchSize must be a whole number from 1 to 10000";
        let size = "maxFileSizeForHashMB must be a number, at least 0";
        let skip = "skipHashComputation must be true or false";
        let shares = "fileShareNames must be an array of strings";
        let patterns = "excludePatterns must be an array of strings";
        for (body, expected) in [
            (json!({ "batchSize": 0 }), batch),
            (json!({ "batchSize": 10_001 }), batch),
            (json!({ "batchSize": -1 }), batch),
            (json!({ "batchSize": 1.5 }), batch),
            (json!({ "batchSize": "500" }), batch),
            (json!({ "maxFileSizeForHashMB": -0.1 }), size),
            (json!({ "maxFileSizeForHashMB": "100" }), size),
            (json!({ "skipHashComputation": "true" }), skip),
            (json!({ "skipHashComputation": 1 }), skip),
            (json!({ "fileShareNames": 5 }), shares),
            (json!({ "fileShareNames": ["a", 5] }), shares),
            (json!({ "excludePatterns": { "a": 1 } }), patterns),
            (json!({ "excludePatterns": [null] }), patterns),
            (
                json!({ "storageAccountKey": "no key" }),
                "storageAccountKey is no key; copy the whole key as the portal shows it",
            ),
            (json!({ "storageAccountKey": 5 }), "storageAccountKey must be a string"),
            (json!({ "storageAccountName": 5 }), "storageAccountName must be a string"),
            (json!({ "subscriptionId": [] }), "subscriptionId must be a string"),
            (json!({ "localPaths": 5 }), "localPaths must be an array of strings"),
            (
                json!({ "storageAccountName": "evil.example/" }),
                "storageAccountName must have 3 to 24 lower-case letters and digits",
            ),
            (
                json!({ "storageAccountName": "acct", "localPaths": "/srv" }),
                "localPaths goes with the account `local`, not with `acct`",
            ),
            (
                json!({ "storageAccountName": "local", "localPaths": ["/srv"] }),
                "LOCAL_SCAN_ROOTS is required for the account `local`: set it to the folders that may be scanned",
            ),
        ] {
            assert_eq!(asked(&body).unwrap_err(), expected, "{body}");
        }
    }

    #[test]
    fn folders_of_this_machine_need_no_key_and_stay_below_the_roots() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let settings = Settings { roots: vec![root.path().to_owned()], ..Settings::default() };
        let ask = |path: &Path| {
            let body = json!({ "localPaths": path }).to_string();
            read(body.as_bytes(), "e", &settings, |_| false)
        };
        let request = ask(&below).unwrap();
        assert!(request.scan.is_local());
        assert_eq!(request.scan.credential, Credential::None);
        let all = read(b"", "e", &settings, |_| false).unwrap().scan.local_paths;
        assert_eq!(all, [root.path().to_str().unwrap()]);
        for outside in [root.path().parent().unwrap().to_owned(), below.join("../..")] {
            assert_eq!(
                ask(&outside).unwrap_err(),
                format!(
                    "localPaths has `{}`, which is in none of the folders of LOCAL_SCAN_ROOTS",
                    outside.display()
                )
            );
        }
    }
}
