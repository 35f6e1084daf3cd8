//! Lists of instances.
//!
//! L1  With `top` an answer is a page, and its header leads to the next. A page with a successor has at least one row.
//! L2  Without `top` all rows are in the answer, which is written while it is read: SDKs that know no header miss nothing.
//! L3  A value that is stored apart is fetched with its row.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use everstep_model::{Iid, Timestamp, Value};
use everstep_runtime::{ClientError, Listed, View};
use everstep_store::{Cursor, Order};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    Api,
    api::Call,
    error::{Answer, Refusal},
    instance::{self, Show},
    json,
    select::{self, Selection},
};

/// Where the next page begins.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("x-ms-continuation-token");
/// The most rows of one page.
pub(crate) const ROWS_MAX: usize = 10_000;
/// Rows that are read at once where all are wanted.
const ROWS_AT_ONCE: usize = 500;

/// A list that is being written.
struct Listing {
    api: Arc<Api>,
    selection: Selection,
    order: Order,
    show: Show,
}

/// `GET instances`
pub(crate) async fn list(call: Call) -> Answer {
    let order = select::order(&call.query)?;
    let listing = Listing {
        selection: Selection::of(&call.query, call.api.options.compat)?,
        order,
        show: Show::of(&call.query)?,
        api: Arc::clone(&call.api),
    };
    let after = position(&call.parts.headers, order)?;
    match top(call.query.number("top")) {
        Some(top) => {
            let (rows, next) = listing.page(after, top).await?;
            let body = format!("[{}]", rows.join(",")).into();
            Ok(with_token(json::text(StatusCode::OK, body), next, order))
        }
        None => listing.all(after).await,
    }
}

impl Listing {
    /// At most `top` rows as JSON texts, and where the next begin.
    async fn page(
        &self,
        mut after: Option<Cursor>,
        top: usize,
    ) -> Result<(Vec<String>, Option<Cursor>), Refusal> {
        if self.selection.is_empty {
            return Ok((Vec::new(), None));
        }
        loop {
            let client = self.api.client();
            let Listed { rows, next } =
                client.list(&self.selection.filter, self.order, after, top).await?;
            let mut texts = Vec::with_capacity(rows.len());
            for view in rows {
                if let Some(view) = whole(&self.api, view, self.show).await? {
                    texts.push(instance::body(&view, self.show, None));
                }
            }
            if next.is_none() || !texts.is_empty() {
                return Ok((texts, next));
            }
            after = next;
        }
    }

    /// All rows, read while they are written. What fails at the start is answered as such; what fails later breaks the
    /// body off, so that nobody takes half a list for a whole one.
    async fn all(self, after: Option<Cursor>) -> Answer {
        let order = self.order;
        let (rows, next) = self.page(after, ROWS_AT_ONCE).await?;
        let head = format!("[{}", rows.join(","));
        let Some(next) = next else {
            let body = format!("{head}]").into();
            return Ok(with_token(json::text(StatusCode::OK, body), None, order));
        };
        let rest = stream::try_unfold((self, Some(next)), |(listing, after)| async move {
            let Some(after) = after else { return Ok::<_, std::io::Error>(None) };
            let page = listing.page(Some(after), ROWS_AT_ONCE).await;
            let (rows, next) =
                page.map_err(|refusal| std::io::Error::other(format!("{refusal:?}")))?;
            let comma = if rows.is_empty() { "" } else { "," };
            let end = if next.is_none() { "]" } else { "" };
            let text = format!("{comma}{}{end}", rows.join(","));
            Ok(Some((Bytes::from(text), (listing, next))))
        });
        let first = stream::once(async move { Ok(Bytes::from(head)) });
        let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
        Ok(with_token(json::with_body(StatusCode::OK, body), None, order))
    }
}

/// A row with its values; `None` if it is gone by now.
pub(crate) async fn whole(
    api: &Arc<Api>,
    mut view: View,
    show: Show,
) -> Result<Option<View>, Refusal> {
    if !show.input {
        view.input = None;
    }
    let apart = |value: &Option<Value>| matches!(value, Some(Value::Ref(_)));
    if !(apart(&view.input) || apart(&view.output) || apart(&view.custom_status)) {
        return Ok(Some(view));
    }
    match api.client().get(&view.id).await {
        Ok(view) => Ok(Some(view)),
        Err(ClientError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A page size that makes sense.
pub(crate) fn top(number: Option<i64>) -> Option<usize> {
    let number = number.filter(|number| *number > 0)?;
    Some(usize::try_from(number).unwrap_or(ROWS_MAX).min(ROWS_MAX))
}

/// Where the request wants to go on.
pub(crate) fn position(headers: &HeaderMap, order: Order) -> Result<Option<Cursor>, Refusal> {
    let token = headers.get(TOKEN).map(|value| value.to_str().unwrap_or("?").trim());
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
    parse(token, order).map(Some).ok_or_else(|| {
        Refusal::bad(format!(
            "`{token}` is not a continuation token of this list; send the one of its last page with the same parameters"
        ))
    })
}

pub(crate) fn with_token(mut response: Response, next: Option<Cursor>, order: Order) -> Response {
    let token = next.map(|cursor| {
        let (created, iid) = (cursor.created.ticks().cast_unsigned(), cursor.iid.0);
        HeaderValue::from_str(&format!("{}{created:x}-{iid:x}", letter(order)))
            .expect("hex digits fit into a header")
    });
    response.headers_mut().insert(TOKEN, token.unwrap_or(HeaderValue::from_static("")));
    response
}

fn parse(token: &str, order: Order) -> Option<Cursor> {
    let (created, iid) = token.strip_prefix(letter(order))?.split_once('-')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    Some(Cursor {
        created: Timestamp::from_ticks(number(created)?.cast_signed()),
        iid: Iid(number(iid)?),
    })
}

fn letter(order: Order) -> char {
    match order {
        Order::OldestFirst => 'o',
        Order::NewestFirst => 'n',
    }
}
