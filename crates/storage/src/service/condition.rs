//! When a blob may be read or written: conditional headers and leases.
//!
//! Both are looked at within the transaction that writes, so two writers with one condition never both succeed.

use http::StatusCode;

use super::{blob_rows::BlobRow, fault::Fault, request::Asked};
use crate::date;

/// The conditions of a request.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
    modified_since: Option<i64>,
    unmodified_since: Option<i64>,
    lease: Option<String>,
}

/// What a request wants to do under its conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    Read,
    Write,
}

impl Conditions {
    pub(super) fn read(asked: &Asked) -> Result<Self, Fault> {
        let time = |name: &str| match asked.header(name) {
            None => Ok(None),
            Some(text) => match date::parse_rfc1123(text) {
                Some(time) => Ok(Some(time)),
                None => Err(Fault::header_value(name, text)),
            },
        };
        Ok(Self {
            if_match: asked.header("if-match").map(str::to_owned),
            if_none_match: asked.header("if-none-match").map(str::to_owned),
            modified_since: time("if-modified-since")?,
            unmodified_since: time("if-unmodified-since")?,
            lease: asked.header("x-ms-lease-id").map(str::to_ascii_lowercase),
        })
    }

    /// Leaves the lease out of what is checked.
    pub(super) fn forget_lease(&mut self) {
        self.lease = None;
    }

    /// Whether the request may go on with what is there.
    pub(super) fn check(
        &self,
        blob: Option<&BlobRow>,
        intent: Intent,
        now: i64,
    ) -> Result<(), Fault> {
        self.check_headers(blob, intent)?;
        self.check_lease(blob, intent, now)
    }

    fn check_headers(&self, blob: Option<&BlobRow>, intent: Intent) -> Result<(), Fault> {
        let Some(blob) = blob else {
            let is_met = self.if_match.is_none() || intent == Intent::Read;
            return if is_met { Ok(()) } else { Err(Fault::condition_not_met()) };
        };
        if self.if_match.as_ref().is_some_and(|tags| !names(tags, &blob.etag)) {
            return Err(Fault::condition_not_met());
        }
        // Times in headers are whole seconds.
        let modified = blob.modified / 1000;
        if self.unmodified_since.is_some_and(|time| modified > time / 1000) {
            return Err(Fault::condition_not_met());
        }
        let is_same = self.if_none_match.as_ref().is_some_and(|tags| names(tags, &blob.etag));
        let is_old = self.if_none_match.is_none()
            && self.modified_since.is_some_and(|time| modified <= time / 1000);
        match intent {
            _ if !is_same && !is_old => Ok(()),
            Intent::Read => Err(Fault::not_modified()),
            Intent::Write if self.if_none_match.as_deref() == Some("*") => {
                Err(Fault::blob_already_exists())
            }
            Intent::Write => Err(Fault::condition_not_met()),
        }
    }

    fn check_lease(&self, blob: Option<&BlobRow>, intent: Intent, now: i64) -> Result<(), Fault> {
        let held = blob.and_then(|blob| blob.lease_held(now));
        match (&self.lease, held) {
            (None, Some(_)) if intent == Intent::Write => Err(Fault::lease_id_missing()),
            (Some(given), Some(held)) if given != held => Err(Fault::lease_mismatch_with_blob()),
            (Some(_), None) => Err(Fault::lease_not_present_with_blob()),
            _ => Ok(()),
        }
    }
}

/// Whether a list of tags names one; a star names all.
fn names(tags: &str, etag: &str) -> bool {
    tags.split(',').any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.trim_matches('"') == etag.trim_matches('"')
    })
}

/// What is done with a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseAction {
    /// For so many seconds, -1 for ever, under a proposed id.
    Acquire {
        seconds: i64,
        proposed: String,
    },
    Renew(String),
    Change {
        lease: String,
        proposed: String,
    },
    Release(String),
    /// At once, or when so many seconds have passed.
    Break(Option<i64>),
}

impl LeaseAction {
    pub(super) fn read(asked: &Asked, random: String) -> Result<Self, Fault> {
        let need = |name: &'static str| {
            let value = asked.header(name).map(str::to_ascii_lowercase);
            value.ok_or_else(|| Fault::missing_header(name))
        };
        let number = |name: &'static str, range: std::ops::RangeInclusive<i64>| {
            let Some(text) = asked.header(name) else { return Ok(None) };
            let number = text.parse().ok().filter(|number| *number == -1 || range.contains(number));
            number.map(Some).ok_or_else(|| Fault::header_value(name, text))
        };
        match need("x-ms-lease-action")?.as_str() {
            "acquire" => {
                let seconds = number("x-ms-lease-duration", 15..=60)?;
                let proposed = need("x-ms-proposed-lease-id").unwrap_or(random);
                let seconds =
                    seconds.ok_or_else(|| Fault::missing_header("x-ms-lease-duration"))?;
                Ok(Self::Acquire { seconds, proposed })
            }
            "renew" => Ok(Self::Renew(need("x-ms-lease-id")?)),
            "change" => Ok(Self::Change {
                lease: need("x-ms-lease-id")?,
                proposed: need("x-ms-proposed-lease-id")?,
            }),
            "release" => Ok(Self::Release(need("x-ms-lease-id")?)),
            "break" => Ok(Self::Break(number("x-ms-lease-break-period", 0..=60)?)),
            other => Err(Fault::header_value("x-ms-lease-action", other)),
        }
    }
}

/// A lease after an action on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) id: Option<String>,
    pub(super) until: i64,
    pub(super) seconds: i64,
    /// What the answer's status is.
    pub(super) status: StatusCode,
    /// How long it still holds, where the action was to break it.
    pub(super) left: Option<i64>,
}

impl Lease {
    fn held(id: String, seconds: i64, now: i64, status: StatusCode) -> Self {
        let until = if seconds < 0 { date::NEVER } else { now + seconds * 1000 };
        Self { id: Some(id), until, seconds, status, left: None }
    }

    /// What an action makes of a blob's lease.
    pub(super) fn after(action: LeaseAction, blob: &BlobRow, now: i64) -> Result<Self, Fault> {
        let held = blob.lease_held(now);
        let is_last = |id: &str| blob.lease.as_deref() == Some(id);
        match action {
            LeaseAction::Acquire { seconds, proposed } => match held {
                Some(holder) if holder != proposed => Err(Fault::lease_already_present()),
                _ => Ok(Self::held(proposed, seconds, now, StatusCode::CREATED)),
            },
            LeaseAction::Renew(id) if is_last(&id) => {
                Ok(Self::held(id, blob.lease_seconds, now, StatusCode::OK))
            }
            LeaseAction::Change { lease, proposed } => match held {
                None => Err(Fault::lease_not_present()),
                Some(holder) if holder == lease || holder == proposed => Ok(Self {
                    id: Some(proposed),
                    until: blob.lease_until,
                    seconds: blob.lease_seconds,
                    status: StatusCode::OK,
                    left: None,
                }),
                Some(_) => Err(Fault::lease_mismatch()),
            },
            LeaseAction::Release(id) if is_last(&id) => {
                Ok(Self { id: None, until: 0, seconds: 0, status: StatusCode::OK, left: None })
            }
            LeaseAction::Renew(_) | LeaseAction::Release(_) => Err(Fault::lease_mismatch()),
            LeaseAction::Break(period) => {
                let Some(holder) = held else { return Err(Fault::lease_not_present()) };
                let remaining = (blob.lease_until - now) / 1000;
                let most = if blob.lease_seconds < 0 { 0 } else { remaining };
                let left = match period {
                    Some(period) if blob.lease_seconds < 0 => period.max(0),
                    Some(period) => period.clamp(0, most),
                    None => most,
                };
                Ok(Self {
                    id: (left > 0).then(|| holder.to_owned()),
                    until: now + left * 1000,
                    seconds: blob.lease_seconds,
                    status: StatusCode::ACCEPTED,
                    left: Some(left),
                })
            }
        }
    }
}
