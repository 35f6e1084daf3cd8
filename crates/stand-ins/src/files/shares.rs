//! Lists of shares: the account's own, and that of the management API.

use std::fmt::Write as _;

use http::{Response, StatusCode};
use serde_json::json;

use super::{
    Refused, State,
    listing::{self, Marker, escape, xml},
};
use crate::{
    server::{self, Asked, Payload},
    tree::Tree,
};

/// What the markers of this list belong to; no directory has that name.
const PLACE: &str = "/";

impl State {
    pub(super) fn list_shares(
        &self,
        asked: &Asked,
        tree: &Tree,
    ) -> Result<Response<Payload>, Refused> {
        let most = listing::most(asked)?.min(self.options.page_max);
        let prefix = asked.parameter("prefix").unwrap_or_default();
        let includes = asked.parameter("include").unwrap_or_default();
        let has_snapshots = includes.split(',').any(|word| word == "snapshots");
        let all: Vec<(&str, Option<&str>, bool)> = tree
            .shares
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .flat_map(|(name, share)| {
                let snapshots = share.snapshots.iter().filter(move |_| has_snapshots);
                let snapshots =
                    snapshots.map(|time| (name.as_str(), Some(time.as_str()), share.is_nfs));
                std::iter::once((name.as_str(), None, share.is_nfs)).chain(snapshots)
            })
            .collect();
        let marker = listing::marker(asked, PLACE)?;
        let begin = match &marker {
            None => 0,
            Some(marker) => marker.from.parse().map_err(|_| Refused::parameter("marker"))?,
        };
        let is_empty = listing::is_empty_page(self, marker.as_ref());
        let end = if is_empty { begin } else { all.len().min(begin + most) };
        let mut document = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"http://{}/\"><Shares>",
            escape(asked.header("host").unwrap_or_default())
        );
        for (name, snapshot, is_nfs) in all.get(begin..end).unwrap_or_default() {
            let snapshot =
                snapshot.map_or_else(String::new, |time| format!("<Snapshot>{time}</Snapshot>"));
            let protocol = if *is_nfs { "NFS" } else { "SMB" };
            write!(
                document,
                "<Share><Name>{}</Name>{snapshot}<Properties><Last-Modified>Mon, 01 Jan 2024 00:00:00 GMT</Last-Modified><Etag>\"0x1\"</Etag><Quota>5120</Quota><EnabledProtocols>{protocol}</EnabledProtocols></Properties></Share>",
                escape(name)
            )
            .expect("memory takes all");
        }
        document.push_str("</Shares>");
        let next = (end < all.len()).then(|| Marker::after(marker.as_ref(), end.to_string()));
        listing::close(&mut document, PLACE, next);
        Ok(xml(document))
    }

    /// `value[].name` and a link to the next page, two shares at a time.
    pub(super) fn management_shares(&self, asked: &Asked) -> Response<Payload> {
        if let Err(problem) = self.check_management(asked) {
            let error =
                json!({"error": {"code": "InvalidAuthenticationToken", "message": problem}});
            return server::json(StatusCode::UNAUTHORIZED, &error);
        }
        let parts = asked.parts();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let is_known = matches!(
            parts.as_slice(),
            [
                "subscriptions", _, "resourceGroups", _, "providers", "Microsoft.Storage",
                "storageAccounts", account, "fileServices", "default", "shares",
            ] if *account == self.options.account
        );
        if !is_known || asked.parameter("api-version").is_none() {
            let error = json!({"error": {"code": "ResourceNotFound", "message": "There is no such storage account."}});
            return server::json(StatusCode::NOT_FOUND, &error);
        }
        let tree = self.tree.read().expect("nothing panics while it is held");
        let begin = asked.parameter("$skipToken").and_then(|text| text.parse().ok()).unwrap_or(0);
        let page: Vec<_> = tree.shares.iter().skip(begin).take(2).collect();
        let value: Vec<_> = page
            .iter()
            .map(|(name, share)| {
                let protocol = if share.is_nfs { "NFS" } else { "SMB" };
                json!({"name": name, "properties": {"enabledProtocols": protocol}})
            })
            .collect();
        let mut answer = json!({"value": value});
        let end = begin + value.len();
        if end < tree.shares.len() {
            let host = asked.header("host").unwrap_or_default();
            let link =
                format!("http://{host}{}?api-version=2023-01-01&$skipToken={end}", asked.path);
            answer["nextLink"] = link.into();
        }
        server::json(StatusCode::OK, &answer)
    }
}
