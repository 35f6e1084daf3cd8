//! Temporary keys of a role, for a token of the identity that the app runs as.
//!
//! C1  Keys are used until five minutes before they expire. While fetching new ones fails, the old ones serve to their end.
//! C2  One request for keys is under way at a time.
//! C3  Keys live in memory only.

use std::{fmt, sync::Arc, time::Duration};

use everstep_azure::{
    Clock,
    identity::{Identity, MANAGEMENT},
};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, header::CONTENT_TYPE};
use tokio::sync::Mutex;

use super::{Aws, Error, Service, address, element, refusal, strange, unreachable, whole};

/// Keys are renewed that long before their end.
const MARGIN: Duration = Duration::from_mins(5);
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Keys, good for a while.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(hidden)")
    }
}

/// Which role, and who asks.
pub(crate) struct Role {
    pub(crate) arn: String,
    pub(crate) session: String,
    pub(crate) region: String,
    /// Where the token service is, if it is not where the region says.
    pub(crate) endpoint: Option<String>,
}

/// Where keys come from.
pub(crate) struct Credentials {
    role: Role,
    identity: Identity,
    http: Client,
    clock: Clock,
    slot: Mutex<Option<(Arc<Keys>, Timestamp)>>,
}

impl Credentials {
    pub(crate) fn new(role: Role, identity: Identity, http: Client, clock: Clock) -> Self {
        Self { role, identity, http, clock, slot: Mutex::default() }
    }

    /// Keys that are good for some minutes more.
    pub(crate) async fn keys(&self) -> Result<Arc<Keys>, Error> {
        let mut slot = self.slot.lock().await;
        if let Some((keys, expires)) = &*slot
            && self.left(*expires) > MARGIN
        {
            return Ok(Arc::clone(keys));
        }
        match self.fetch().await {
            Ok((keys, expires)) => {
                let keys = Arc::new(keys);
                *slot = Some((Arc::clone(&keys), expires));
                Ok(keys)
            }
            Err(error) => match &*slot {
                Some((keys, expires)) if !self.left(*expires).is_zero() => Ok(Arc::clone(keys)),
                _ => Err(error),
            },
        }
    }

    /// Gives keys up that a service calls expired.
    pub(super) async fn forget(&self) {
        *self.slot.lock().await = None;
    }

    fn left(&self, expires: Timestamp) -> Duration {
        let now = Timestamp::try_from((self.clock)()).unwrap_or(Timestamp::UNIX_EPOCH);
        Duration::try_from(expires.duration_since(now)).unwrap_or_default()
    }

    async fn fetch(&self) -> Result<(Keys, Timestamp), Error> {
        let token = self.identity.token(MANAGEMENT).await?;
        let answer = match self.ask(token.secret()).await {
            // The identity's own token may have been withdrawn.
            Err(Error::Refused { ref code, .. })
                if code == "ExpiredTokenException" || code == "InvalidIdentityToken" =>
            {
                self.identity.forget(MANAGEMENT, &token).await;
                let token = self.identity.token(MANAGEMENT).await?;
                self.ask(token.secret()).await?
            }
            answer => answer?,
        };
        read(&answer).ok_or_else(|| strange(Service::Tokens, "an answer without keys"))
    }

    async fn ask(&self, token: &str) -> Result<Vec<u8>, Error> {
        let Role { arn, session, region, endpoint } = &self.role;
        let own = format!("https://sts.{region}.{}", Aws::domain(region));
        let url = address(endpoint.as_deref().unwrap_or(&own))?;
        let [arn, session, token] =
            [arn, session, token].map(|text| utf8_percent_encode(text, &PLAIN));
        let form = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={arn}&RoleSessionName={session}&WebIdentityToken={token}"
        );
        let request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let response = request.send().await.map_err(|error| unreachable(Service::Tokens, error))?;
        if !response.status().is_success() {
            return Err(refusal(Service::Tokens, response).await);
        }
        whole(Service::Tokens, response).await
    }
}

fn read(answer: &[u8]) -> Option<(Keys, Timestamp)> {
    let text = |name: &str| element(answer, name).filter(|text| !text.is_empty());
    let expires = text("Expiration")?.parse().ok()?;
    let keys = Keys {
        id: text("AccessKeyId")?,
        secret: text("SecretAccessKey")?,
        token: text("SessionToken")?,
    };
    Some((keys, expires))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::SystemTime,
    };

    use super::*;
    use crate::stand_in::StandIn;

    fn credentials(stand_in: &StandIn) -> (Credentials, Arc<AtomicU64>) {
        let http = everstep_azure::http_client();
        let settings = stand_in.settings();
        let setting = |name: &str| {
            let found = settings.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.clone())
        };
        let identity = Identity::from_settings(setting, http.clone()).unwrap();
        let role = Role {
            arn: "arn:aws:iam::123456789012:role/logs".to_owned(),
            session: "session".to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(stand_in.url()),
        };
        let later = Arc::new(AtomicU64::new(0));
        let clock: Clock = {
            let later = Arc::clone(&later);
            Arc::new(move || SystemTime::now() + Duration::from_secs(later.load(Ordering::Relaxed)))
        };
        (Credentials::new(role, identity, http, clock), later)
    }

    #[tokio::test]
    async fn keys_are_renewed_before_they_expire() {
        let stand_in = StandIn::start().await;
        let (credentials, later) = credentials(&stand_in);
        let first = credentials.keys().await.unwrap();
        assert_eq!(credentials.keys().await.unwrap(), first);
        later.store(3600 - 301, Ordering::Relaxed);
        assert_eq!(credentials.keys().await.unwrap(), first);
        later.store(3600 - 299, Ordering::Relaxed);
        assert_ne!(credentials.keys().await.unwrap(), first);
        assert_eq!(stand_in.calls("AssumeRoleWithWebIdentity"), 2);
    }

    #[tokio::test]
    async fn old_keys_serve_to_their_end_while_there_are_no_new_ones() {
        let stand_in = StandIn::start().await;
        let (credentials, later) = credentials(&stand_in);
        let first = credentials.keys().await.unwrap();
        stand_in.fail("AssumeRoleWithWebIdentity", 403, "AccessDenied", u64::MAX);
        later.store(3600 - 10, Ordering::Relaxed);
        assert_eq!(credentials.keys().await.unwrap(), first);
        later.store(3601, Ordering::Relaxed);
        assert_eq!(
            credentials.keys().await.unwrap_err().to_string(),
            "AWS STS refused (403 AccessDenied): on demand; check AWS_ROLE_ARN and that the role trusts this identity with the audience https://management.azure.com/"
        );
    }

    #[test]
    fn keys_are_not_shown() {
        let text = |text: &str| text.to_owned();
        let keys = Keys { id: text("AKIA"), secret: text("secret"), token: text("token") };
        assert_eq!(format!("{keys:?}"), "Keys(hidden)");
    }
}
