//! A connection that is set in parts: which account it is, and which identity opens it.
//!
//! | Part | Meaning |
//! |---|---|
//! | `accountName` | the account, with its usual addresses |
//! | `blobServiceUri`, `queueServiceUri` | the address of a service; of one of them, also `serviceUri` |
//! | `credential` | `managedidentity`, or nothing: both are the identity that the app runs as |
//! | `clientId` | which identity, where the app has several |

use everstep_azure::identity::{Identity, STORAGE};
use everstep_storage::account::{ConnectionError, TokenAnswer, Tokens};

/// Parts that say where services are that bindings do not use.
const UNUSED: [&str; 2] = ["tableserviceuri", "fileserviceuri"];

/// Why parts are no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A part says something that it cannot.
    #[error("the setting `{setting}` is `{value}`; {remedy}")]
    Value {
        /// Which.
        setting: String,
        /// What it says.
        value: String,
        /// What to write.
        remedy: &'static str,
    },
    /// A part means another way to prove who one is.
    #[error("the setting `{setting}` has no use here; {remedy}")]
    Useless {
        /// Which.
        setting: String,
        /// What to write.
        remedy: &'static str,
    },
    /// No part says which account it is.
    #[error(
        "the connection `{0}` names no account; write `{0}__accountName`, or `{0}__queueServiceUri` and `{0}__blobServiceUri`"
    )]
    NoAccount(String),
    /// The account is fine and has no such service.
    #[error(
        "the connection `{spelled}` names no {service} service; add `{spelled}__{service}ServiceUri`"
    )]
    NoService {
        /// Which connection.
        spelled: String,
        /// The service's word.
        service: &'static str,
    },
    /// The account cannot be used.
    #[error("the connection `{spelled}`: {source}")]
    Account {
        /// Which connection.
        spelled: String,
        /// Why not.
        source: ConnectionError,
    },
}

/// What is wrong with an account, in the words of its parts.
pub(super) fn wrong(spelled: &str, source: ConnectionError) -> Error {
    let spelled = spelled.to_owned();
    match source {
        ConnectionError::NoService { service, .. } => Error::NoService { spelled, service },
        ConnectionError::Value { setting, value, hint } => {
            let part = match setting {
                "BlobEndpoint" => "blobServiceUri",
                "QueueEndpoint" => "queueServiceUri",
                _ => "accountName",
            };
            Error::Value { setting: format!("{spelled}__{part}"), value, remedy: hint }
        }
        source => Error::Account { spelled, source },
    }
}

/// What parts say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Empty where only addresses are known.
    pub(super) account: String,
    pub(super) blob: Option<String>,
    pub(super) queue: Option<String>,
    pub(super) client: Option<String>,
}

/// Reads the parts of the connection that is spelled so.
pub(super) fn read(spelled: &str, parts: &[(&str, &str)]) -> Result<Parts, Error> {
    let mut read = Parts::default();
    for (part, value) in parts {
        let setting = || format!("{spelled}__{part}");
        let owned = || Some((*value).to_owned());
        match part.to_lowercase().as_str() {
            "accountname" => (*value).clone_into(&mut read.account),
            "blobserviceuri" => read.blob = owned(),
            "queueserviceuri" => read.queue = owned(),
            "serviceuri" if names(value, "blob") => read.blob = owned(),
            "serviceuri" if names(value, "queue") => read.queue = owned(),
            "serviceuri" => {
                let remedy = "it does not tell which service it is; write it as `blobServiceUri` or `queueServiceUri`";
                return Err(Error::Value {
                    setting: setting(),
                    value: (*value).to_owned(),
                    remedy,
                });
            }
            "credential" if value.eq_ignore_ascii_case("managedidentity") => {}
            "credential" => {
                let remedy = "write `managedidentity`, or leave it out";
                return Err(Error::Value {
                    setting: setting(),
                    value: (*value).to_owned(),
                    remedy,
                });
            }
            "clientid" => read.client = owned(),
            "managedidentityresourceid" => {
                let remedy = "name the identity by its client id, as `clientId`";
                return Err(Error::Useless { setting: setting(), remedy });
            }
            "tenantid" | "clientsecret" => {
                let remedy = "this host does not sign in with secrets; use the identity that the app runs as, or a connection string";
                return Err(Error::Useless { setting: setting(), remedy });
            }
            other if UNUSED.contains(&other) => {}
            _ => {
                let remedy = "the parts are `accountName`, `blobServiceUri`, `queueServiceUri`, `credential` and `clientId`";
                return Err(Error::Useless { setting: setting(), remedy });
            }
        }
    }
    if read.account.is_empty() && read.blob.is_none() && read.queue.is_none() {
        return Err(Error::NoAccount(spelled.to_owned()));
    }
    Ok(read)
}

/// Whether the host of an address says which service it is, as in `acct.queue.core.windows.net`.
fn names(uri: &str, service: &str) -> bool {
    let host = uri.split("://").nth(1).unwrap_or_default().split(['/', ':']).next();
    host.unwrap_or_default()
        .split('.')
        .nth(1)
        .is_some_and(|word| word.eq_ignore_ascii_case(service))
}

/// Tokens of an identity for storage.
pub(super) struct Bearer(pub(super) Identity);

impl Tokens for Bearer {
    fn token(&self) -> TokenAnswer<'_, Result<String, String>> {
        Box::pin(async {
            let token = self.0.token(STORAGE).await.map_err(|error| error.to_string())?;
            Ok(token.secret().to_owned())
        })
    }

    fn refused<'a>(&'a self, token: &'a str) -> TokenAnswer<'a, ()> {
        Box::pin(async move {
            // What is at hand may be a newer one already, and that one stays.
            if let Ok(newest) = self.0.token(STORAGE).await
                && newest.secret() == token
            {
                self.0.forget(STORAGE, &newest).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_say_which_account_and_which_identity() {
        let parts = [
            ("AccountName", "acct"),
            ("credential", "ManagedIdentity"),
            ("clientId", "42"),
            ("tableServiceUri", "https://acct.table.core.windows.net"),
        ];
        let expected =
            Parts { account: "acct".to_owned(), client: Some("42".to_owned()), ..Parts::default() };
        assert_eq!(read("Orders", &parts), Ok(expected));
        let service = |uri| read("Orders", &[("serviceUri", uri)]).unwrap();
        assert!(service("https://acct.queue.core.windows.net/").queue.is_some());
        assert!(service("https://acct.blob.core.windows.net").blob.is_some());
    }

    #[test]
    fn parts_that_do_not_fit_say_what_to_write() {
        let said = |part, value| read("Orders", &[(part, value)]).unwrap_err().to_string();
        for (part, value, expected) in [
            (
                "credential",
                "key",
                "the setting `Orders__credential` is `key`; write `managedidentity`, or leave it out",
            ),
            (
                "serviceUri",
                "https://storage.example",
                "the setting `Orders__serviceUri` is `https://storage.example`; it does not tell which service it is; write it as `blobServiceUri` or `queueServiceUri`",
            ),
            (
                "clientSecret",
                "s",
                "the setting `Orders__clientSecret` has no use here; this host does not sign in with secrets; use the identity that the app runs as, or a connection string",
            ),
            (
                "managedIdentityResourceId",
                "/a",
                "the setting `Orders__managedIdentityResourceId` has no use here; name the identity by its client id, as `clientId`",
            ),
            (
                "acountName",
                "a",
                "the setting `Orders__acountName` has no use here; the parts are `accountName`, `blobServiceUri`, `queueServiceUri`, `credential` and `clientId`",
            ),
            (
                "clientId",
                "1",
                "the connection `Orders` names no account; write `Orders__accountName`, or `Orders__queueServiceUri` and `Orders__blobServiceUri`",
            ),
        ] {
            assert_eq!(said(part, value), expected);
        }
    }
}
