//! Storage accounts: who they are, where they answer, and what proves that a caller may use them.
//!
//! A1  Neither `Debug` nor any error of this module holds a key or a signature.
//! A2  Signing is pure: the same request gives the same string, whoever asks. The client signs with it and the embedded
//!     service checks with it; tests build the string in another way.
//!
//! A3  A token travels over HTTPS, or within this machine.
//!
//! Absent on purpose: table and file endpoints, and where tokens of identities come from: see [`Tokens`]. Start at
//! [`Account::parse`].

pub(crate) mod sas;
pub mod sign;

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Url;

/// The account of emulators.
pub const EMULATOR_ACCOUNT: &str = "devstoreaccount1";

/// The key of that account. It is public knowledge and protects nothing but against mistakes.
pub const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A service of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Containers with blobs in them.
    Blob,
    /// Queues with messages in them.
    Queue,
}

impl Kind {
    /// The word that addresses, settings and signatures use.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Queue => "queue",
        }
    }

    fn setting(self) -> &'static str {
        match self {
            Self::Blob => "BlobEndpoint",
            Self::Queue => "QueueEndpoint",
        }
    }

    fn emulator_port(self) -> u16 {
        match self {
            Self::Blob => 10_000,
            Self::Queue => 10_001,
        }
    }
}

/// A storage account as a connection string describes it.
#[derive(Clone)]
pub struct Account {
    name: String,
    credential: Credential,
    blob: Option<Url>,
    queue: Option<Url>,
}

/// What proves that requests are allowed.
#[derive(Clone)]
pub(crate) enum Credential {
    /// The account's key, decoded.
    Key(Vec<u8>),
    /// A query string that goes with each request, without its question mark.
    Signature(String),
    /// Bearer tokens of an identity.
    Tokens(Arc<dyn Tokens>),
}

/// What [`Tokens`] answers.
pub type TokenAnswer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Gives the bearer tokens of an identity that the storage account knows.
pub trait Tokens: Send + Sync {
    /// One that is good at present; an error is a text without secrets.
    fn token(&self) -> TokenAnswer<'_, Result<String, String>>;

    /// The account refused this one, so the next is to be new.
    fn refused<'a>(&'a self, token: &'a str) -> TokenAnswer<'a, ()>;
}

/// Why a connection string cannot be used. The text never holds a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// There is nothing in it.
    #[error(
        "the connection string is empty; write `UseDevelopmentStorage=true` for the local service or paste the account's connection string"
    )]
    Empty,
    /// A part is not `name=value`. The part's text may be a secret and is not shown.
    #[error(
        "part {part} of the connection string has no `=`; parts are `Name=value`, separated by `;`"
    )]
    NotAPair {
        /// Its number, counted from one.
        part: usize,
    },
    /// A setting that is needed is not there.
    #[error("the connection string has no `{missing}`; {hint}")]
    Missing {
        /// The setting.
        missing: &'static str,
        /// What to write.
        hint: &'static str,
    },
    /// The key is not base64.
    #[error(
        "`AccountKey` of the connection string is not base64; copy the whole key, with the `=` signs at its end"
    )]
    Key,
    /// A setting's value is not what it has to be. Only values that are no secrets are shown.
    #[error("`{setting}` of the connection string is `{value}`; {hint}")]
    Value {
        /// The setting.
        setting: &'static str,
        /// What it says.
        value: String,
        /// What it has to say.
        hint: &'static str,
    },
    /// The account is fine and has no such service.
    #[error("the connection string names no {service} service; add `{setting}=https://...`")]
    NoService {
        /// The service's word.
        service: &'static str,
        /// The setting that would name it.
        setting: &'static str,
    },
}

impl Account {
    /// Reads a connection string.
    pub fn parse(text: &str) -> Result<Self, ConnectionError> {
        let parts = Parts::read(text)?;
        match parts.get("UseDevelopmentStorage") {
            Some(value) if value.eq_ignore_ascii_case("true") => emulator(&parts),
            Some(value) => Err(ConnectionError::Value {
                setting: "UseDevelopmentStorage",
                value: value.to_owned(),
                hint: "it can only be `true`; leave it out otherwise",
            }),
            None => named(&parts),
        }
    }

    /// An account that knows an identity. Endpoints that are not given are those of the account's name.
    pub fn of_identity(
        name: &str,
        [blob, queue]: [Option<&str>; 2],
        tokens: Arc<dyn Tokens>,
    ) -> Result<Self, ConnectionError> {
        let endpoint = |kind: Kind, written: Option<&str>| match written {
            Some(written) => token_endpoint(kind, written).map(Some),
            None => endpoint(&Parts(vec![]), name, kind),
        };
        let (blob, queue) = (endpoint(Kind::Blob, blob)?, endpoint(Kind::Queue, queue)?);
        Ok(Self { name: name.to_owned(), credential: Credential::Tokens(tokens), blob, queue })
    }

    /// The account that the embedded service has, answering on these ports of the loopback address.
    pub fn local(blob_port: u16, queue_port: u16) -> Self {
        let key = BASE64_STANDARD.decode(EMULATOR_KEY).expect("the well-known key is base64");
        Self {
            name: EMULATOR_ACCOUNT.to_owned(),
            credential: Credential::Key(key),
            blob: Some(local_url("http://127.0.0.1", blob_port).expect("it is an address")),
            queue: Some(local_url("http://127.0.0.1", queue_port).expect("it is an address")),
        }
    }

    /// The connection string of [`Account::local`], for apps and tools that want a text.
    pub fn local_text(blob_port: u16, queue_port: u16) -> String {
        let (name, host) = (EMULATOR_ACCOUNT, "http://127.0.0.1");
        format!(
            "DefaultEndpointsProtocol=http;AccountName={name};AccountKey={EMULATOR_KEY};BlobEndpoint={host}:{blob_port}/{name};QueueEndpoint={host}:{queue_port}/{name};"
        )
    }

    /// Its name; empty where only addresses and a signature are known.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a service answers.
    pub fn endpoint(&self, kind: Kind) -> Result<&Url, ConnectionError> {
        let endpoint = match kind {
            Kind::Blob => &self.blob,
            Kind::Queue => &self.queue,
        };
        let missing = ConnectionError::NoService { service: kind.word(), setting: kind.setting() };
        endpoint.as_ref().ok_or(missing)
    }

    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credential = match self.credential {
            Credential::Key(_) => "key (hidden)",
            Credential::Signature(_) => "shared access signature (hidden)",
            Credential::Tokens(_) => "tokens of an identity",
        };
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("credential", &credential)
            .field("blob", &self.blob.as_ref().map(Url::as_str))
            .field("queue", &self.queue.as_ref().map(Url::as_str))
            .finish()
    }
}

/// The settings of a connection string, in their order.
struct Parts<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Result<Self, ConnectionError> {
        let mut parts = Vec::new();
        for (index, part) in text.split(';').enumerate() {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let pair = part.split_once('=').ok_or(ConnectionError::NotAPair { part: index + 1 })?;
            parts.push((pair.0.trim(), pair.1.trim()));
        }
        if parts.is_empty() { Err(ConnectionError::Empty) } else { Ok(Self(parts)) }
    }

    /// A setting that is there and not empty.
    fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value).filter(|value| !value.is_empty())
    }
}

fn emulator(parts: &Parts<'_>) -> Result<Account, ConnectionError> {
    let proxy = parts.get("DevelopmentStorageProxyUri");
    let base = proxy.unwrap_or("http://127.0.0.1").trim_end_matches('/');
    let url = |kind: Kind| {
        local_url(base, kind.emulator_port()).ok_or_else(|| ConnectionError::Value {
            setting: "DevelopmentStorageProxyUri",
            value: base.to_owned(),
            hint: "write the scheme and the host only, for example `http://storage-host`",
        })
    };
    let local = Account::local(0, 0);
    Ok(Account { blob: Some(url(Kind::Blob)?), queue: Some(url(Kind::Queue)?), ..local })
}

fn local_url(base: &str, port: u16) -> Option<Url> {
    let mut url = web_url(base)?;
    if url.path() != "/" || url.query().is_some() || url.port().is_some() {
        return None;
    }
    url.set_port(Some(port)).ok()?;
    url.set_path(EMULATOR_ACCOUNT);
    Some(url)
}

fn named(parts: &Parts<'_>) -> Result<Account, ConnectionError> {
    let name = parts.get("AccountName").unwrap_or_default();
    let credential = credential(parts)?;
    if name.is_empty() && matches!(credential, Credential::Key(_)) {
        return Err(ConnectionError::Missing {
            missing: "AccountName",
            hint: "a key belongs to an account: add `AccountName=...`",
        });
    }
    let blob = endpoint(parts, name, Kind::Blob)?;
    let queue = endpoint(parts, name, Kind::Queue)?;
    if blob.is_none() && queue.is_none() {
        return Err(ConnectionError::Missing {
            missing: "AccountName",
            hint: "add `AccountName=...`, or the addresses `BlobEndpoint=...` and `QueueEndpoint=...`",
        });
    }
    Ok(Account { name: name.to_owned(), credential, blob, queue })
}

fn credential(parts: &Parts<'_>) -> Result<Credential, ConnectionError> {
    if let Some(key) = parts.get("AccountKey") {
        let key = BASE64_STANDARD.decode(key).map_err(|_| ConnectionError::Key)?;
        return Ok(Credential::Key(key));
    }
    let missing = ConnectionError::Missing {
        missing: "AccountKey",
        hint: "add `AccountKey=...` or `SharedAccessSignature=...`; both stand in the portal under \"Access keys\" and \"Shared access signature\"",
    };
    let signature = parts.get("SharedAccessSignature").ok_or(missing)?;
    let signature = signature.trim_start_matches('?');
    if !signature.split('&').any(|pair| pair.starts_with("sig=")) {
        return Err(ConnectionError::Missing {
            missing: "sig",
            hint: "`SharedAccessSignature` has to hold the whole signature: `sv=...&sig=...`",
        });
    }
    Ok(Credential::Signature(signature.to_owned()))
}

fn endpoint(parts: &Parts<'_>, name: &str, kind: Kind) -> Result<Option<Url>, ConnectionError> {
    if let Some(written) = parts.get(kind.setting()) {
        // What follows a question mark may be a signature.
        let shown = written.split('?').next().unwrap_or_default();
        let hint = "write an address such as `https://name.example.net`";
        let mut url = web_url(shown).ok_or_else(|| ConnectionError::Value {
            setting: kind.setting(),
            value: shown.to_owned(),
            hint,
        })?;
        url.set_query(None);
        return Ok(Some(url));
    }
    if name.is_empty() {
        return Ok(None);
    }
    let scheme = parts.get("DefaultEndpointsProtocol").unwrap_or("https").to_ascii_lowercase();
    if scheme != "https" && scheme != "http" {
        return Err(ConnectionError::Value {
            setting: "DefaultEndpointsProtocol",
            value: scheme,
            hint: "write `https` or `http`",
        });
    }
    let suffix = parts.get("EndpointSuffix").unwrap_or("core.windows.net").trim_matches('.');
    let word = kind.word();
    let url = web_url(&format!("{scheme}://{name}.{word}.{suffix}"));
    let fits = |url: &Url| url.path() == "/" && url.query().is_none() && url.username().is_empty();
    url.filter(fits).map(Some).ok_or_else(|| ConnectionError::Value {
        setting: "AccountName",
        value: name.to_owned(),
        hint: "an account's name has 3 to 24 lower-case letters and digits",
    })
}

/// Where a service answers that gets tokens (A3).
fn token_endpoint(kind: Kind, written: &str) -> Result<Url, ConnectionError> {
    let wrong = |hint| ConnectionError::Value {
        setting: kind.setting(),
        value: written.split('?').next().unwrap_or_default().to_owned(),
        hint,
    };
    let url = web_url(written)
        .filter(|url| url.query().is_none())
        .ok_or_else(|| wrong("write an address such as `https://name.example.net`"))?;
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(wrong("write it with `https://`: tokens do not travel in the clear"));
    }
    Ok(url)
}

/// Whether an address is of this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0LXNlY3JldA==";

    fn endpoints(text: &str) -> String {
        let account = Account::parse(text).unwrap();
        let show = |kind| match account.endpoint(kind) {
            Ok(url) => url.to_string(),
            Err(error) => error.to_string(),
        };
        format!("{} {} {}", account.name(), show(Kind::Blob), show(Kind::Queue))
    }

    #[test]
    fn connection_strings_of_all_kinds_are_read() {
        assert_eq!(
            endpoints(&format!(
                "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={SECRET};EndpointSuffix=core.chinacloudapi.cn;"
            )),
            "acct https://acct.blob.core.chinacloudapi.cn/ https://acct.queue.core.chinacloudapi.cn/"
        );
        assert_eq!(
            endpoints(&format!("accountname=acct; accountkey={SECRET}")),
            "acct https://acct.blob.core.windows.net/ https://acct.queue.core.windows.net/"
        );
        assert_eq!(
            endpoints("UseDevelopmentStorage=true"),
            "devstoreaccount1 http://127.0.0.1:10000/devstoreaccount1 http://127.0.0.1:10001/devstoreaccount1"
        );
        assert_eq!(
            endpoints(&Account::local_text(1, 2)),
            "devstoreaccount1 http://127.0.0.1:1/devstoreaccount1 http://127.0.0.1:2/devstoreaccount1"
        );
        assert_eq!(
            endpoints("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite/"),
            "devstoreaccount1 http://azurite:10000/devstoreaccount1 http://azurite:10001/devstoreaccount1"
        );
        assert_eq!(
            endpoints("QueueEndpoint=http://10.0.0.1:7/acct;SharedAccessSignature=?sv=1&sig=x%3D"),
            " the connection string names no blob service; add `BlobEndpoint=https://...` http://10.0.0.1:7/acct"
        );
    }

    #[test]
    fn what_is_wrong_is_said_and_the_key_is_not() {
        let said = |text: &str| Account::parse(text).unwrap_err().to_string();
        let cases = [
            (
                "",
                "the connection string is empty; write `UseDevelopmentStorage=true` for the local service or paste the account's connection string",
            ),
            (
                "AccountName=a;c2VjcmV0",
                "part 2 of the connection string has no `=`; parts are `Name=value`, separated by `;`",
            ),
            (
                "AccountKey=c2VjcmV0",
                "the connection string has no `AccountName`; a key belongs to an account: add `AccountName=...`",
            ),
            (
                "AccountName=acct",
                "the connection string has no `AccountKey`; add `AccountKey=...` or `SharedAccessSignature=...`; both stand in the portal under \"Access keys\" and \"Shared access signature\"",
            ),
            (
                "AccountName=acct;AccountKey=c2Vj!cmV0",
                "`AccountKey` of the connection string is not base64; copy the whole key, with the `=` signs at its end",
            ),
            (
                "SharedAccessSignature=sv=1&sig=c2VjcmV0",
                "the connection string has no `AccountName`; add `AccountName=...`, or the addresses `BlobEndpoint=...` and `QueueEndpoint=...`",
            ),
            (
                "AccountName=acct;SharedAccessSignature=sv=1",
                "the connection string has no `sig`; `SharedAccessSignature` has to hold the whole signature: `sv=...&sig=...`",
            ),
            (
                "DefaultEndpointsProtocol=ftp;AccountName=acct;AccountKey=c2VjcmV0",
                "`DefaultEndpointsProtocol` of the connection string is `ftp`; write `https` or `http`",
            ),
            (
                "AccountName=a/b;AccountKey=c2VjcmV0",
                "`AccountName` of the connection string is `a/b`; an account's name has 3 to 24 lower-case letters and digits",
            ),
            (
                "AccountName=acct;AccountKey=c2VjcmV0;BlobEndpoint=acct.blob?sig=c2VjcmV0",
                "`BlobEndpoint` of the connection string is `acct.blob`; write an address such as `https://name.example.net`",
            ),
            (
                "UseDevelopmentStorage=yes",
                "`UseDevelopmentStorage` of the connection string is `yes`; it can only be `true`; leave it out otherwise",
            ),
            (
                "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://a:1/b",
                "`DevelopmentStorageProxyUri` of the connection string is `http://a:1/b`; write the scheme and the host only, for example `http://storage-host`",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(said(text), expected, "{text}");
            assert!(!said(text).contains("c2Vj"), "{text}");
        }
    }

    struct NoTokens;

    impl Tokens for NoTokens {
        fn token(&self) -> TokenAnswer<'_, Result<String, String>> {
            Box::pin(async { Err("none".to_owned()) })
        }

        fn refused<'a>(&'a self, _: &'a str) -> TokenAnswer<'a, ()> {
            Box::pin(async {})
        }
    }

    #[test]
    fn an_account_of_an_identity_answers_at_its_name_or_where_it_is_written() {
        fn of(
            name: &str,
            blob: Option<&str>,
            queue: Option<&str>,
        ) -> Result<String, ConnectionError> {
            let account = Account::of_identity(name, [blob, queue], Arc::new(NoTokens))?;
            let show = |kind| match account.endpoint(kind) {
                Ok(url) => url.to_string(),
                Err(error) => error.to_string(),
            };
            Ok(format!("{} {}", show(Kind::Blob), show(Kind::Queue)))
        }
        assert_eq!(
            of("acct", None, None).unwrap(),
            "https://acct.blob.core.windows.net/ https://acct.queue.core.windows.net/"
        );
        assert_eq!(
            of("", None, Some("https://a.queue.example")).unwrap(),
            "the connection string names no blob service; add `BlobEndpoint=https://...` https://a.queue.example/"
        );
        assert!(of("", Some("http://127.0.0.1:7/acct"), None).is_ok());
        let said = |url: &str| of("", Some(url), None).unwrap_err().to_string();
        assert_eq!(
            said("http://a.blob.example"),
            "`BlobEndpoint` of the connection string is `http://a.blob.example`; write it with `https://`: tokens do not travel in the clear"
        );
        assert_eq!(
            said("https://a.blob.example?sig=c2VjcmV0"),
            "`BlobEndpoint` of the connection string is `https://a.blob.example`; write an address such as `https://name.example.net`"
        );
        let account = Account::of_identity("acct", [None, None], Arc::new(NoTokens)).unwrap();
        assert!(format!("{account:?}").contains("tokens of an identity"));
    }

    #[test]
    fn debug_hides_what_is_secret() {
        let key = format!("AccountName=acct;AccountKey={SECRET}");
        let signature = "AccountName=acct;SharedAccessSignature=sv=1&sig=c2VjcmV0";
        let endpoint = "BlobEndpoint=https://h/?sig=c2VjcmV0;SharedAccessSignature=sig=c2VjcmV0";
        for text in [key.as_str(), signature, endpoint] {
            let shown = format!("{:?}", Account::parse(text).unwrap());
            assert!(!shown.contains("c2Vj") && shown.contains("(hidden)"), "{shown}");
        }
    }
}
