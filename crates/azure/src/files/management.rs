//! Shares of an account by the management API, for identities that may not list them at the account itself.
//!
//! G1  A link to the next page is followed only where the first page came from: the token goes nowhere else.

use percent_encoding::utf8_percent_encode;
use reqwest::{Client, Url};
use serde::Deserialize;

use super::{Error, Protocol, Refusal, Share, SharesPage, strange};
use crate::{
    Invalid,
    identity::{Identity, MANAGEMENT},
    wire,
};

const PUBLIC: &str = "https://management.azure.com";

/// The management API of Azure.
#[derive(Debug, Clone)]
pub struct Management {
    endpoint: Url,
    identity: Identity,
    http: Client,
}

impl Management {
    /// That of the public cloud.
    pub fn new(identity: Identity, http: Client) -> Self {
        let endpoint = Url::parse(PUBLIC).expect("it is an address");
        Self { endpoint, identity, http }
    }

    /// That of another cloud, or a stand-in.
    pub fn at(self, endpoint: &str) -> Result<Self, Invalid> {
        Ok(Self { endpoint: wire::endpoint("management endpoint", endpoint)?, ..self })
    }

    /// Shares of an account. `next` is that of the page before.
    pub async fn shares(
        &self,
        subscription: &str,
        group: &str,
        account: &str,
        next: Option<&str>,
    ) -> Result<SharesPage, Error> {
        let doing = format!("listing the shares of `{account}` by the management API");
        let url = match next {
            None => self.first(subscription, group, account),
            Some(next) => self
                .follow(next)
                .ok_or_else(|| strange(&doing, "links to another place for its next page"))?,
        };
        let token = self.identity.token(MANAGEMENT).await?;
        let request = self.http.get(url).header("authorization", wire::bearer(token.secret()));
        let unreachable = |error| Error::Unreachable {
            doing: doing.clone(),
            host: wire::host(&self.endpoint).to_owned(),
            reason: wire::network_reason(error),
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            let retry_after = wire::retry_after(response.headers());
            let (code, message) = envelope(&wire::beginning(response).await);
            return Err(Refusal { status, code, message, retry_after }.into_error(&doing));
        }
        let body = response.bytes().await.map_err(unreachable)?;
        let list: List =
            serde_json::from_slice(&body).map_err(|_| strange(&doing, "lists no shares"))?;
        Ok(list.into_page())
    }

    fn first(&self, subscription: &str, group: &str, account: &str) -> Url {
        let [subscription, group, account] =
            [subscription, group, account].map(|name| utf8_percent_encode(name, &wire::RESERVED));
        let path = format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Storage/storageAccounts/{account}/fileServices/default/shares"
        );
        let mut url = wire::below(&self.endpoint, &path);
        url.set_query(Some("api-version=2023-01-01"));
        url
    }

    fn follow(&self, next: &str) -> Option<Url> {
        let url = Url::parse(next).ok()?;
        (url.origin() == self.endpoint.origin()).then_some(url)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    value: Vec<Listed>,
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    properties: ListedProperties,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ListedProperties {
    enabled_protocols: Option<String>,
    snapshot_time: Option<String>,
    deleted: bool,
}

impl List {
    fn into_page(self) -> SharesPage {
        let share = |listed: Listed| Share {
            name: listed.name,
            snapshot: listed.properties.snapshot_time,
            is_deleted: listed.properties.deleted,
            protocol: Protocol::of(listed.properties.enabled_protocols.as_deref().unwrap_or("")),
        };
        let next = self.next_link.filter(|next| !next.is_empty());
        SharesPage { shares: self.value.into_iter().map(share).collect(), next }
    }
}

fn envelope(body: &[u8]) -> (String, String) {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| answer["error"][name].as_str().map_or_else(String::new, wire::shown);
    (text("code"), text("message"))
}
