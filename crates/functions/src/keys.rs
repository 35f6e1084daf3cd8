//! Keys: what may be called with which secret.
//!
//! A [`KeyRing`] is a value. The host keeps its text ([`KeyRing::to_json`]) in one file that only its user may read
//! (mode 0600) and writes the file anew after each change.
//!
//! K1  Secrets are compared in constant time, and so that their length does not show.
//! K2  Keys are kept as they are and not as hashes. The admin API lists their values, URLs of webhooks hold them, and the
//!     master key, which grants everything, stands in the same file: hashes of the others would protect nothing.
//! K3  No debug text and no error holds a key.
//! K4  There is always a master key. It is renewed or replaced, never deleted, and stands in no list.
//!
//! | Scope | Keys | Grants |
//! |---|---|---|
//! | [`Scope::System`] | `_master` | everything |
//! | [`Scope::Host`] | `default`, ... | functions of level `function` |
//! | [`Scope::Function`] | `default`, ... | that one function |
//! | [`Scope::System`] | `{extension}_extension` | the webhooks of that extension |

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::binding::AuthLevel;

/// The name of the master key.
pub const MASTER: &str = "_master";

/// The name of the key that every function and the host have from the beginning.
pub const DEFAULT: &str = "default";

/// The header that a key comes in.
pub const HEADER: &str = "x-functions-key";

/// The query parameter that a key comes in, if there is no header.
pub const QUERY: &str = "code";

/// What cannot be done with keys. Each text is the body of the admin API's answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such key: 404.
    #[error("the key is not found")]
    NotFound,
    /// The value is empty or no text for a URL: 400.
    #[error("Invalid key value")]
    InvalidValue,
    /// The name is empty or too long, or belongs to another key: 400.
    #[error("Invalid key name")]
    InvalidName,
    /// The master key cannot be deleted: 400.
    #[error("Cannot delete System Key.")]
    Master,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// The stored text is not what was written.
    #[error("the file of keys cannot be read: {0}; delete it to have new keys made")]
    Stored(String),
}

/// Whose keys are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Keys for all functions.
    Host,
    /// Keys of one function.
    Function(&'a str),
    /// Keys of extensions; the master key goes by its name here.
    System,
}

/// What writing a key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It was there, and was left alone.
    Kept,
    /// There was none of this name: 201.
    Created,
    /// It has a new value: 200.
    Renewed,
}

/// A secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// A new one: 42 random bytes as 56 characters that a URL can hold as they are.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 42];
        getrandom::fill(&mut bytes).map_err(|error| Error::Random(error.to_string()))?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// One that a person chose.
    pub fn new(value: &str) -> Result<Self, Error> {
        let fits = !value.is_empty()
            && value.len() <= 1024
            && value.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(value.to_owned())) } else { Err(Error::InvalidValue) }
    }

    /// The secret itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Both sides are hashed first, so that the time does not depend on how long the key is.
    fn matches(&self, presented: &str) -> Choice {
        let (mine, theirs) =
            (Sha256::digest(self.0.as_bytes()), Sha256::digest(presented.as_bytes()));
        mine.as_slice().ct_eq(theirs.as_slice())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// All keys of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRing {
    master: Key,
    host: Keys,
    system: Keys,
    /// By the function's name in lower case.
    functions: BTreeMap<String, Keys>,
}

/// Keys by name; names are compared without case and kept as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Keys(BTreeMap<String, Named>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    name: String,
    value: Key,
}

impl KeyRing {
    /// A ring with nothing but its master key.
    pub fn new(master: Key) -> Self {
        Self { master, host: Keys::default(), system: Keys::default(), functions: BTreeMap::new() }
    }

    /// A ring with a random master key and the default key of the host.
    pub fn random() -> Result<Self, Error> {
        let mut ring = Self::new(Key::random()?);
        ring.put(Scope::Host, DEFAULT, Key::random()?)?;
        Ok(ring)
    }

    /// The master key.
    pub fn master(&self) -> &Key {
        &self.master
    }

    /// The keys of a scope by name; never the master key.
    pub fn list(&self, scope: Scope<'_>) -> Vec<(&str, &Key)> {
        let keys = self.keys(scope).into_iter().flat_map(|keys| keys.0.values());
        keys.map(|named| (named.name.as_str(), &named.value)).collect()
    }

    /// One key; the master key by its name, except in the scope of a function.
    pub fn get(&self, scope: Scope<'_>, name: &str) -> Result<&Key, Error> {
        if is_master(scope, name) {
            return Ok(&self.master);
        }
        let keys = self.keys(scope).ok_or(Error::NotFound)?;
        keys.0.get(&name.to_lowercase()).map(|named| &named.value).ok_or(Error::NotFound)
    }

    /// Makes a key, or gives it a new value.
    pub fn put(&mut self, scope: Scope<'_>, name: &str, value: Key) -> Result<Written, Error> {
        if is_master(scope, name) {
            self.master = value;
            return Ok(Written::Renewed);
        }
        let fits = !name.is_empty()
            && name.len() <= 256
            && !name.eq_ignore_ascii_case(MASTER)
            && !name.chars().any(|c| c.is_control() || c == '/');
        if !fits {
            return Err(Error::InvalidName);
        }
        let named = Named { name: name.to_owned(), value };
        let before = self.keys_mut(scope).0.insert(name.to_lowercase(), named);
        Ok(if before.is_some() { Written::Renewed } else { Written::Created })
    }

    /// Makes a key with a random value, or renews it so.
    pub fn generate(&mut self, scope: Scope<'_>, name: &str) -> Result<Written, Error> {
        self.put(scope, name, Key::random()?)
    }

    /// Makes a key with a random value unless it is there.
    pub fn ensure(&mut self, scope: Scope<'_>, name: &str) -> Result<Written, Error> {
        if self.get(scope, name).is_ok() { Ok(Written::Kept) } else { self.generate(scope, name) }
    }

    /// Removes a key.
    pub fn delete(&mut self, scope: Scope<'_>, name: &str) -> Result<(), Error> {
        if is_master(scope, name) {
            return Err(Error::Master);
        }
        self.keys(scope).ok_or(Error::NotFound)?;
        self.keys_mut(scope).0.remove(&name.to_lowercase()).map(drop).ok_or(Error::NotFound)
    }

    /// Whether a function of some level may be called with the key that was presented, if one was.
    pub fn allows(&self, level: AuthLevel, function: &str, presented: Option<&str>) -> bool {
        match (level, presented) {
            (AuthLevel::Anonymous, _) => true,
            (_, None) => false,
            (AuthLevel::Admin, Some(presented)) => self.is_master(presented),
            (AuthLevel::Function, Some(presented)) => {
                let own = self.any(Scope::Function(function), presented);
                bool::from(self.master.matches(presented) | self.any(Scope::Host, presented) | own)
            }
        }
    }

    /// Whether the webhooks of an extension may be called; its name may be in any case.
    pub fn allows_extension(&self, extension: &str, presented: Option<&str>) -> bool {
        let Some(presented) = presented else { return false };
        let own = self.get(Scope::System, &extension_key(extension));
        let own = own.map_or(Choice::from(0), |key| key.matches(presented));
        (own | self.master.matches(presented)).into()
    }

    /// Whether this is the master key.
    pub fn is_master(&self, presented: &str) -> bool {
        self.master.matches(presented).into()
    }

    /// Drops the keys of functions that are no more.
    pub fn retain_functions<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let names: BTreeSet<_> = names.into_iter().map(str::to_lowercase).collect();
        self.functions.retain(|name, _| names.contains(name));
    }

    fn any(&self, scope: Scope<'_>, presented: &str) -> Choice {
        let keys = self.keys(scope).into_iter().flat_map(|keys| keys.0.values());
        keys.fold(Choice::from(0), |found, named| found | named.value.matches(presented))
    }

    fn keys(&self, scope: Scope<'_>) -> Option<&Keys> {
        match scope {
            Scope::Host => Some(&self.host),
            Scope::System => Some(&self.system),
            Scope::Function(name) => self.functions.get(&name.to_lowercase()),
        }
    }

    fn keys_mut(&mut self, scope: Scope<'_>) -> &mut Keys {
        match scope {
            Scope::Host => &mut self.host,
            Scope::System => &mut self.system,
            Scope::Function(name) => self.functions.entry(name.to_lowercase()).or_default(),
        }
    }
}

/// The name of the system key of an extension: `durabletask_extension`.
pub fn extension_key(extension: &str) -> String {
    format!("{}_extension", extension.to_lowercase())
}

/// The key of a request: that of the header if there is one, else that of the query.
pub fn presented<'a>(header: Option<&'a str>, code: Option<&'a str>) -> Option<&'a str> {
    header.filter(|key| !key.is_empty()).or(code.filter(|key| !key.is_empty()))
}

fn is_master(scope: Scope<'_>, name: &str) -> bool {
    !matches!(scope, Scope::Function(_)) && name.eq_ignore_ascii_case(MASTER)
}

/// The stored form; after the `host.json` of the original's folder of secrets, with all functions in the same file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    version: u32,
    master_key: Named,
    function_keys: Vec<Named>,
    system_keys: Vec<Named>,
    functions: BTreeMap<String, Vec<Named>>,
}

const VERSION: u32 = 1;

impl KeyRing {
    /// The text of the file.
    pub fn to_json(&self) -> String {
        let list = |keys: &Keys| keys.0.values().cloned().collect();
        let stored = Stored {
            version: VERSION,
            master_key: Named { name: MASTER.to_owned(), value: self.master.clone() },
            function_keys: list(&self.host),
            system_keys: list(&self.system),
            functions: self
                .functions
                .iter()
                .map(|(name, keys)| (name.clone(), list(keys)))
                .collect(),
        };
        serde_json::to_string_pretty(&stored).expect("texts in lists are always JSON") + "\n"
    }

    /// Reads the text of the file.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let stored: Stored = serde_json::from_str(text).map_err(|error| {
            Error::Stored(format!("line {}, column {}", error.line(), error.column()))
        })?;
        if stored.version != VERSION {
            let problem =
                format!("it has version {}, and this program knows {VERSION}", stored.version);
            return Err(Error::Stored(problem));
        }
        let key = |named: &Named| {
            let problem = || Error::Stored(format!("the value of `{}` is no key", named.name));
            Key::new(named.value.as_str()).map_err(|_| problem())
        };
        let mut ring = Self::new(key(&stored.master_key)?);
        let functions = stored.functions.iter().map(|(name, keys)| (Scope::Function(name), keys));
        let lists = [(Scope::Host, &stored.function_keys), (Scope::System, &stored.system_keys)];
        for (scope, keys) in lists.into_iter().chain(functions) {
            for named in keys {
                let written = ring.put(scope, &named.name, key(named)?);
                written
                    .map_err(|_| Error::Stored(format!("`{}` is no name of a key", named.name)))?;
            }
        }
        Ok(ring)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn ring() -> KeyRing {
        let mut ring = KeyRing::new(key("m"));
        for (scope, name, value) in [
            (Scope::Host, "default", "h"),
            (Scope::Function("Save"), "default", "s"),
            (Scope::Function("Save"), "partner", "p"),
            (Scope::Function("Load"), "default", "l"),
            (Scope::System, "durabletask_extension", "d"),
        ] {
            assert_eq!(ring.put(scope, name, key(value)), Ok(Written::Created));
        }
        ring
    }

    #[test]
    fn each_level_is_passed_by_its_keys() {
        let ring = ring();
        let passing = |level: AuthLevel| {
            let keys = ["m", "h", "s", "p", "l", "d", "x", ""];
            keys.into_iter().filter(|key| ring.allows(level, "save", Some(key))).collect::<String>()
        };
        assert_eq!(passing(AuthLevel::Anonymous), "mhspldx");
        assert_eq!(passing(AuthLevel::Function), "mhsp");
        assert_eq!(passing(AuthLevel::Admin), "m");
        assert!(ring.allows(AuthLevel::Anonymous, "Save", None));
        assert!(!ring.allows(AuthLevel::Function, "Save", None));
        assert!(!ring.allows(AuthLevel::Admin, "Save", None));
    }

    #[test]
    fn extensions_have_keys_of_their_own() {
        let ring = ring();
        assert!(ring.allows_extension("durableTask", Some("d")));
        assert!(ring.allows_extension("blobs", Some("m")));
        assert!(!ring.allows_extension("blobs", Some("d")));
        assert!(!ring.allows_extension("durabletask", Some("h")));
        assert!(!ring.allows_extension("durabletask", None));
    }

    #[test]
    fn the_header_wins_over_the_query() {
        assert_eq!(presented(Some("a"), Some("b")), Some("a"));
        assert_eq!(presented(Some(""), Some("b")), Some("b"));
        assert_eq!(presented(None, Some("")), None);
    }

    #[test]
    fn keys_are_made_renewed_and_deleted() {
        let mut ring = ring();
        let scope = Scope::Function("SAVE");
        assert_eq!(ring.generate(scope, "new"), Ok(Written::Created));
        assert_eq!(ring.generate(scope, "New"), Ok(Written::Renewed));
        assert_eq!(ring.ensure(scope, "NEW"), Ok(Written::Kept));
        assert_eq!(ring.ensure(Scope::Function("Other"), DEFAULT), Ok(Written::Created));
        let names: Vec<_> = ring.list(scope).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["default", "New", "partner"]);
        assert_eq!(ring.delete(scope, "new"), Ok(()));
        assert_eq!(ring.delete(scope, "new"), Err(Error::NotFound));
        assert_eq!(ring.delete(Scope::Function("nobody"), "new"), Err(Error::NotFound));
        assert_eq!(ring.get(scope, "new"), Err(Error::NotFound));
        assert_eq!(ring.get(scope, "Partner"), Ok(&key("p")));
    }

    #[test]
    fn the_master_key_is_renewed_and_never_deleted() {
        let mut ring = ring();
        assert_eq!(ring.get(Scope::System, "_master"), Ok(&key("m")));
        assert_eq!(ring.put(Scope::System, "_MASTER", key("n")), Ok(Written::Renewed));
        assert!(ring.is_master("n") && !ring.is_master("m"));
        let error = ring.delete(Scope::System, MASTER).unwrap_err();
        assert_eq!(error.to_string(), "Cannot delete System Key.");
        assert!(ring.list(Scope::System).iter().all(|(name, _)| *name != MASTER));
        assert_eq!(ring.put(Scope::Function("Save"), MASTER, key("x")), Err(Error::InvalidName));
    }

    #[test]
    fn bad_names_and_values_are_refused() {
        assert_eq!(Key::new("").unwrap_err().to_string(), "Invalid key value");
        assert_eq!(Key::new("a b"), Err(Error::InvalidValue));
        assert_eq!(
            ring().put(Scope::Host, "a/b", key("x")).unwrap_err().to_string(),
            "Invalid key name"
        );
        assert_eq!(ring().put(Scope::Host, "", key("x")), Err(Error::InvalidName));
    }

    #[test]
    fn random_keys_have_56_characters_for_a_url() {
        let (one, other) = (Key::random().unwrap(), Key::random().unwrap());
        assert_eq!(one.as_str().len(), 56);
        assert!(
            one.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
        assert_ne!(one, other);
    }

    #[test]
    fn a_ring_survives_its_file() {
        let ring = ring();
        assert_eq!(KeyRing::from_json(&ring.to_json()), Ok(ring));
        let ring = KeyRing::random().unwrap();
        assert_eq!(ring.list(Scope::Host).len(), 1);
        assert_eq!(KeyRing::from_json(&ring.to_json()), Ok(ring));
    }

    #[test]
    fn a_damaged_file_is_refused_without_showing_it() {
        let error = |text: &str| KeyRing::from_json(text).unwrap_err().to_string();
        assert_eq!(
            error("{\"masterKey\": \"hush\"}"),
            "the file of keys cannot be read: line 1, column 20; delete it to have new keys made"
        );
        let empty = ring().to_json().replace("\"value\": \"h\"", "\"value\": \"\"");
        assert_eq!(
            error(&empty),
            "the file of keys cannot be read: the value of `default` is no key; delete it to have new keys made"
        );
        let newer = ring().to_json().replace("\"version\": 1", "\"version\": 2");
        assert_eq!(
            error(&newer),
            "the file of keys cannot be read: it has version 2, and this program knows 1; delete it to have new keys made"
        );
    }

    #[test]
    fn debug_texts_hold_no_keys() {
        let mut ring = KeyRing::new(key("hush"));
        ring.put(Scope::Host, "default", key("hush")).unwrap();
        assert!(!format!("{ring:?}").contains("hush"));
    }

    #[test]
    fn keys_of_functions_that_are_gone_are_dropped() {
        let mut ring = ring();
        ring.retain_functions(["LOAD"]);
        assert_eq!(ring.list(Scope::Function("save")), []);
        assert_eq!(ring.list(Scope::Function("load")).len(), 1);
    }

    proptest! {
        #[test]
        fn only_the_key_itself_matches(one in "[!-~]{1,60}", other in "\\PC{0,60}") {
            prop_assert!(bool::from(key(&one).matches(&one)));
            prop_assert_eq!(bool::from(key(&one).matches(&other)), one == other);
        }

        #[test]
        fn no_file_makes_it_panic(text in "[{}\\[\\]\":,a-zA-Z0-9]{0,60}") {
            let _ = KeyRing::from_json(&text);
            let _ = KeyRing::from_json(&format!("{{\"version\":1,\"masterKey\":{{\"name\":\"_master\",\"value\":\"{text}\"}},\"functionKeys\":[],\"systemKeys\":[],\"functions\":{{}}}}"));
        }

        #[test]
        fn any_ring_survives_its_file(names in prop::collection::vec("[a-zA-Z]{1,6}", 0..6)) {
            let mut ring = KeyRing::new(key("m"));
            for name in &names {
                ring.put(Scope::Function(name), name, key(name)).unwrap();
                ring.put(Scope::System, name, key(name)).unwrap();
            }
            prop_assert_eq!(KeyRing::from_json(&ring.to_json()), Ok(ring));
        }
    }
}
