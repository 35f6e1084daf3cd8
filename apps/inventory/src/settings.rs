//! What can be set, read once when the app starts.
//!
//! S1  An empty setting counts as missing.
//! S2  What cannot be used ends the start with the setting's name and what to write.
//! S3  Orchestrators see none of this: what they depend on stands in their input.
//! S4  Account keys are not kept here; they are asked for when a request needs one.

use std::{path::PathBuf, str::FromStr};

/// Records per upload may be so many.
pub(crate) const BATCH_SIZES: std::ops::RangeInclusive<u32> = 1..=10_000;
/// The account whose shares are folders of this machine.
pub(crate) const LOCAL: &str = "local";

/// How the app works.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// The account of a request that names none.
    pub(crate) account: Option<String>,
    pub(crate) auth: Auth,
    pub(crate) batch_size: u32,
    /// Larger files are not hashed.
    pub(crate) hash_mb_max: f64,
    pub(crate) hashing: Hashing,
    pub(crate) exclude: Vec<String>,
    /// Folders of this machine that requests may have scanned; all, if there are none.
    pub(crate) roots: Vec<PathBuf>,
    /// Where the file service is, if it is not where the account's name says.
    pub(crate) endpoint: Option<String>,
    pub(crate) mode: Mode,
    /// The file with the rows, if it is not the one in the hub's folder.
    pub(crate) inventory: Option<PathBuf>,
}

/// How the file service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    Key,
    Identity,
}

/// Whether contents are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashing {
    Off,
    On,
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They stay in the local copy.
    Local,
    /// To Azure Monitor; the local copy lets go of what has arrived.
    Azure(Workspace),
    /// To Azure Monitor, and they stay in the local copy.
    Both(Workspace),
}

impl Mode {
    pub(crate) fn workspace(&self) -> Option<&Workspace> {
        match self {
            Self::Local => None,
            Self::Azure(workspace) | Self::Both(workspace) => Some(workspace),
        }
    }
}

/// Where Azure Monitor takes rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workspace {
    pub(crate) endpoint: String,
    pub(crate) rule: String,
    pub(crate) stream: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            account: None,
            auth: Auth::Key,
            batch_size: 500,
            hash_mb_max: 100.0,
            hashing: Hashing::Off,
            exclude: ["*.tmp", "~$*", ".DS_Store", "Thumbs.db"].map(str::to_owned).to_vec(),
            roots: Vec::new(),
            endpoint: None,
            mode: Mode::Local,
            inventory: None,
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSetting {
    #[error("the setting {name} is `{found}`; write {expected}")]
    Value { name: &'static str, found: String, expected: &'static str },
    #[error("the setting {name} is missing; {why}")]
    Missing { name: &'static str, why: &'static str },
}

impl Settings {
    pub(crate) fn read<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<Self, BadSetting> {
        let find = |name: &str| setting(name).map(str::trim).filter(|text| !text.is_empty());
        let text = |name: &str| find(name).map(str::to_owned);
        let defaults = Self::default();
        let batch_size = parsed(&find, "BATCH_SIZE", "a whole number from 1 to 10000", |number| {
            BATCH_SIZES.contains(number)
        })?;
        let hash_mb_max =
            parsed(&find, "MAX_FILE_SIZE_FOR_HASH_MB", "a number, at least 0", |number| {
                is_size(*number)
            })?;
        let skips = choice(&find, "SKIP_HASH_COMPUTATION", "true or false", SKIPS)?;
        let auth = choice(&find, "STORAGE_AUTH_MODE", "key or identity", AUTHS)?;
        let inventory = text("LOCAL_INVENTORY_PATH").map(PathBuf::from);
        Ok(Self {
            account: account(&find)?,
            auth: auth.unwrap_or(defaults.auth),
            batch_size: batch_size.unwrap_or(defaults.batch_size),
            hash_mb_max: hash_mb_max.unwrap_or(defaults.hash_mb_max),
            hashing: skips.unwrap_or(defaults.hashing),
            exclude: setting("EXCLUDE_PATTERNS").map_or(defaults.exclude, patterns),
            roots: find("LOCAL_SCAN_ROOTS").map(roots).unwrap_or_default(),
            endpoint: endpoint(&find, "STORAGE_FILE_ENDPOINT")?,
            mode: mode(&find, inventory.is_some())?,
            inventory,
        })
    }

    /// What a start says of where rows go.
    pub(crate) fn notice(&self) -> String {
        match &self.mode {
            Mode::Local => {
                "rows of scans stay in the local copy: LOG_ANALYTICS_DCE_ENDPOINT and LOG_ANALYTICS_DCR_IMMUTABLE_ID are not set, or LOG_ANALYTICS_MODE is local".to_owned()
            }
            Mode::Azure(workspace) => format!("rows of scans are sent to {}", workspace.endpoint),
            Mode::Both(workspace) => {
                format!("rows of scans are sent to {} and stay in the local copy", workspace.endpoint)
            }
        }
    }
}

const SKIPS: &[(&str, Hashing)] = &[("true", Hashing::Off), ("false", Hashing::On)];
const AUTHS: &[(&str, Auth)] = &[("key", Auth::Key), ("identity", Auth::Identity)];

pub(crate) fn is_size(number: f64) -> bool {
    number.is_finite() && number >= 0.0
}

/// Whether an account can have this name. Anything else would change the address that is asked.
pub(crate) fn is_account(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (3..=24).contains(&name.len()) && name.bytes().all(fits)
}

fn account<'a>(find: &impl Fn(&str) -> Option<&'a str>) -> Result<Option<String>, BadSetting> {
    let expected = "3 to 24 lower-case letters and digits, or `local` for folders of this machine";
    parsed(find, "STORAGE_ACCOUNT_NAME", expected, |name: &String| is_account(name))
}

fn endpoint<'a>(
    find: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
) -> Result<Option<String>, BadSetting> {
    let Some(found) = find(name) else { return Ok(None) };
    let is_fit = reqwest::Url::parse(found)
        .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.host().is_some());
    let expected = "a whole URL such as https://name.example.net";
    is_fit.then(|| Some(found.trim_end_matches('/').to_owned())).ok_or_else(|| BadSetting::Value {
        name,
        found: found.to_owned(),
        expected,
    })
}

fn patterns(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn roots(text: &str) -> Vec<PathBuf> {
    patterns(text).into_iter().map(PathBuf::from).collect()
}

fn mode<'a>(find: &impl Fn(&str) -> Option<&'a str>, has_path: bool) -> Result<Mode, BadSetting> {
    const WANTED: &[(&str, Wanted)] =
        &[("azure", Wanted::Azure), ("local", Wanted::Local), ("both", Wanted::Both)];
    let wanted = choice(find, "LOG_ANALYTICS_MODE", "azure, local or both", WANTED)?;
    let service = endpoint(find, "LOG_ANALYTICS_DCE_ENDPOINT")?;
    let rule = find("LOG_ANALYTICS_DCR_IMMUTABLE_ID").map(str::to_owned);
    let wanted = match wanted {
        Some(wanted) => wanted,
        None if service.is_none() && rule.is_none() => Wanted::Local,
        None if has_path => Wanted::Both,
        None => Wanted::Azure,
    };
    if wanted == Wanted::Local {
        return Ok(Mode::Local);
    }
    let why = "rows cannot be sent without it; set it, or set LOG_ANALYTICS_MODE to local";
    let missing = |name: &'static str| BadSetting::Missing { name, why };
    let workspace = Workspace {
        endpoint: service.ok_or_else(|| missing("LOG_ANALYTICS_DCE_ENDPOINT"))?,
        rule: rule.ok_or_else(|| missing("LOG_ANALYTICS_DCR_IMMUTABLE_ID"))?,
        stream: find("LOG_ANALYTICS_STREAM_NAME").unwrap_or("Custom-FileInventory_CL").to_owned(),
    };
    Ok(if wanted == Wanted::Both { Mode::Both(workspace) } else { Mode::Azure(workspace) })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Azure,
    Local,
    Both,
}

fn choice<'a, T: Copy>(
    find: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
    expected: &'static str,
    choices: &[(&str, T)],
) -> Result<Option<T>, BadSetting> {
    let Some(found) = find(name) else { return Ok(None) };
    let chosen = choices.iter().find(|(text, _)| found.eq_ignore_ascii_case(text));
    let bad = || BadSetting::Value { name, found: found.to_owned(), expected };
    chosen.map(|(_, value)| Some(*value)).ok_or_else(bad)
}

fn parsed<'a, T: FromStr>(
    find: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
    expected: &'static str,
    fits: impl Fn(&T) -> bool,
) -> Result<Option<T>, BadSetting> {
    let Some(found) = find(name) else { return Ok(None) };
    let bad = || BadSetting::Value { name, found: found.to_owned(), expected };
    found.parse().ok().filter(fits).map(Some).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Settings, String> {
        Settings::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_needs_to_be_set_and_rows_stay_here_then() {
        assert_eq!(read(&[]), Ok(Settings::default()));
        let empty = [("BATCH_SIZE", " "), ("STORAGE_ACCOUNT_NAME", ""), ("LOG_ANALYTICS_MODE", "")];
        assert_eq!(read(&empty), Ok(Settings::default()));
        assert!(Settings::default().notice().contains("stay in the local copy"));
    }

    #[test]
    fn everything_can_be_set() {
        let set = read(&[
            ("STORAGE_ACCOUNT_NAME", "acct1"),
            ("STORAGE_AUTH_MODE", "Identity"),
            ("STORAGE_FILE_ENDPOINT", "http://127.0.0.1:1/"),
            ("BATCH_SIZE", "10000"),
            ("MAX_FILE_SIZE_FOR_HASH_MB", "0.5"),
            ("SKIP_HASH_COMPUTATION", "FALSE"),
            ("EXCLUDE_PATTERNS", " *.a , ,b*"),
            ("LOCAL_SCAN_ROOTS", "/srv/a, /srv/b"),
            ("LOCAL_INVENTORY_PATH", "copy.db"),
            ("LOG_ANALYTICS_DCE_ENDPOINT", "https://dce.example.net"),
            ("LOG_ANALYTICS_DCR_IMMUTABLE_ID", "dcr-1"),
            ("LOG_ANALYTICS_STREAM_NAME", "Custom-Other"),
        ]);
        let expected = Settings {
            account: Some("acct1".to_owned()),
            auth: Auth::Identity,
            batch_size: 10_000,
            hash_mb_max: 0.5,
            hashing: Hashing::On,
            exclude: vec!["*.a".to_owned(), "b*".to_owned()],
            roots: vec!["/srv/a".into(), "/srv/b".into()],
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            mode: Mode::Both(Workspace {
                endpoint: "https://dce.example.net".to_owned(),
                rule: "dcr-1".to_owned(),
                stream: "Custom-Other".to_owned(),
            }),
            inventory: Some("copy.db".into()),
        };
        assert_eq!(set, Ok(expected));
    }

    #[test]
    fn an_empty_list_of_patterns_excludes_nothing() {
        assert_eq!(read(&[("EXCLUDE_PATTERNS", "")]).unwrap().exclude, Vec::<String>::new());
    }

    #[test]
    fn rows_go_where_the_variables_say() {
        let dce = ("LOG_ANALYTICS_DCE_ENDPOINT", "https://dce.example.net");
        let dcr = ("LOG_ANALYTICS_DCR_IMMUTABLE_ID", "dcr-1");
        let mode = |pairs: &[_]| read(pairs).unwrap().mode;
        assert!(matches!(mode(&[dce, dcr]), Mode::Azure(_)));
        assert!(matches!(mode(&[dce, dcr, ("LOG_ANALYTICS_MODE", "both")]), Mode::Both(_)));
        assert_eq!(mode(&[dce, dcr, ("LOG_ANALYTICS_MODE", "Local")]), Mode::Local);
        let workspace = mode(&[dce, dcr]).workspace().unwrap().stream.clone();
        assert_eq!(workspace, "Custom-FileInventory_CL");
    }

    #[test]
    fn what_cannot_be_used_is_named_with_what_to_write() {
        let text = |name, found| read(&[(name, found)]).unwrap_err();
        for (name, founds, expected) in [
            ("BATCH_SIZE", ["0", "10001", "many"], "a whole number from 1 to 10000"),
            ("MAX_FILE_SIZE_FOR_HASH_MB", ["-1", "NaN", "big"], "a number, at least 0"),
            ("SKIP_HASH_COMPUTATION", ["yes", "1", "no"], "true or false"),
            ("STORAGE_AUTH_MODE", ["sas", "none", "keys"], "key or identity"),
            ("LOG_ANALYTICS_MODE", ["cloud", "1", "none"], "azure, local or both"),
            (
                "STORAGE_ACCOUNT_NAME",
                ["My-Account", "a", "evil.example/x"],
                "3 to 24 lower-case letters and digits, or `local` for folders of this machine",
            ),
            (
                "STORAGE_FILE_ENDPOINT",
                ["localhost", "ftp://a", "//"],
                "a whole URL such as https://name.example.net",
            ),
        ] {
            for found in founds {
                let expected = format!("the setting {name} is `{found}`; write {expected}");
                assert_eq!(text(name, found), expected);
            }
        }
    }

    #[test]
    fn half_of_what_sending_needs_is_not_enough() {
        let why = "rows cannot be sent without it; set it, or set LOG_ANALYTICS_MODE to local";
        let missing = |pairs: &[_]| read(pairs).unwrap_err();
        assert_eq!(
            missing(&[("LOG_ANALYTICS_DCE_ENDPOINT", "https://dce.example.net")]),
            format!("the setting LOG_ANALYTICS_DCR_IMMUTABLE_ID is missing; {why}")
        );
        for pairs in
            [&[("LOG_ANALYTICS_MODE", "azure")][..], &[("LOG_ANALYTICS_DCR_IMMUTABLE_ID", "dcr-1")]]
        {
            assert_eq!(
                missing(pairs),
                format!("the setting LOG_ANALYTICS_DCE_ENDPOINT is missing; {why}")
            );
        }
    }
}
