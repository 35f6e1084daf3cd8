//! `/admin/.../keys`: keys of functions, of the host and of extensions.
//!
//! | Path behind `/admin` | Keys |
//! |---|---|
//! | `functions/{name}/keys` | of one function |
//! | `host/keys`, `host/functionkeys` | of all functions |
//! | `host/systemkeys` | of extensions |
//!
//! S1  The master key stands in no list; it is read, renewed and replaced by its name `_master`.
//! S2  A change is on disk before it is answered.

use everstep_functions::keys::{Error, Key, KeyRing, Scope, Written};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, as_json, as_text};
use crate::{
    Response, answer,
    keys::{ChangeError, status},
    site::Site,
};

/// Which keys are meant.
pub(super) struct Target<'a> {
    scope: Scope<'a>,
    /// One of them, if not all.
    key: Option<&'a str>,
}

#[derive(Deserialize)]
struct Wanted {
    value: Option<String>,
}

impl<'a> Target<'a> {
    /// `path` is as it was written, `place` in lower case.
    pub(super) fn find(path: &'a [String], place: &[&str]) -> Option<Self> {
        let key = |at: usize| path.get(at).map(String::as_str);
        match place {
            ["functions", _, "keys"] | ["functions", _, "keys", _] => {
                Some(Self { scope: Scope::Function(key(1)?), key: key(3) })
            }
            ["host", "keys" | "functionkeys"] | ["host", "keys" | "functionkeys", _] => {
                Some(Self { scope: Scope::Host, key: key(2) })
            }
            ["host", "systemkeys"] | ["host", "systemkeys", _] => {
                Some(Self { scope: Scope::System, key: key(2) })
            }
            _ => None,
        }
    }

    fn exists(&self, site: &Site) -> bool {
        match self.scope {
            Scope::Function(name) => {
                site.listed.iter().any(|listed| listed.name.eq_ignore_ascii_case(name))
            }
            Scope::Host | Scope::System => true,
        }
    }
}

/// Answers a request for keys.
pub(super) fn answer(asked: &Asked, target: &Target<'_>) -> Response {
    let keys = &asked.site.keys;
    let scope = target.scope;
    if !target.exists(&asked.site) {
        return answer::bare(StatusCode::NOT_FOUND);
    }
    let done = match (&asked.parts.method, target.key) {
        (&Method::GET, None) => Ok(as_json(200, &keys.read(|ring| all(asked, ring, scope)))),
        (&Method::GET, Some(name)) => keys
            .read(|ring| shown(asked, ring, scope, name))
            .map(|key| as_json(200, &key))
            .map_err(ChangeError::Refused),
        (&Method::POST, Some(name)) => {
            keys.change(|ring| written(asked, ring, scope, name, Key::random()?))
        }
        (&Method::PUT, Some(name)) => {
            keys.change(|ring| written(asked, ring, scope, name, wanted(asked)?))
        }
        (&Method::DELETE, Some(name)) => keys
            .change(|ring| ring.delete(scope, name))
            .map(|()| answer::bare(StatusCode::NO_CONTENT)),
        _ => return answer::bare(StatusCode::NOT_FOUND),
    };
    done.unwrap_or_else(|error| refused(&error))
}

fn all(asked: &Asked, ring: &KeyRing, scope: Scope<'_>) -> Value {
    let keys = ring.list(scope);
    let keys: Vec<_> = keys
        .into_iter()
        .map(|(name, key)| json!({ "name": name, "value": key.as_str() }))
        .collect();
    json!({ "keys": keys, "links": links(asked) })
}

fn shown(asked: &Asked, ring: &KeyRing, scope: Scope<'_>, name: &str) -> Result<Value, Error> {
    let value = ring.get(scope, name)?.as_str();
    let listed = ring.list(scope);
    let mut names = listed.iter().map(|(name, _)| *name);
    let name = names.find(|listed| listed.eq_ignore_ascii_case(name)).unwrap_or(name);
    Ok(json!({ "name": name, "value": value, "links": links(asked) }))
}

/// Where the thing itself is found.
fn links(asked: &Asked) -> Value {
    json!([{ "rel": "self", "href": format!("{}{}", asked.origin(), asked.parts.uri.path()) }])
}

fn wanted(asked: &Asked) -> Result<Key, Error> {
    let wanted: Wanted = serde_json::from_slice(&asked.body).map_err(|_| Error::InvalidValue)?;
    Key::new(&wanted.value.unwrap_or_default())
}

fn written(
    asked: &Asked,
    ring: &mut KeyRing,
    scope: Scope<'_>,
    name: &str,
    key: Key,
) -> Result<Response, Error> {
    let written: Written = ring.put(scope, name, key)?;
    Ok(as_json(status(written), &shown(asked, ring, scope, name)?))
}

fn refused(error: &ChangeError) -> Response {
    let ChangeError::Refused(refused) = error else { return as_text(500, error.to_string()) };
    match refused {
        Error::NotFound => answer::bare(StatusCode::NOT_FOUND),
        Error::InvalidValue | Error::InvalidName | Error::Master => {
            as_text(400, refused.to_string())
        }
        Error::Random(_) | Error::Stored(_) => as_text(500, refused.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use everstep::Failure;

    use crate::{
        FunctionApp, Timer,
        start::testing::{Running, nothing},
    };

    fn app() -> FunctionApp {
        nothing().timer("Sweep", Timer::new("0 0 5 * * *"), async |_| Ok::<(), Failure>(()))
    }

    async fn transcript(host: &Running, requests: &[(&str, &str)]) -> String {
        let mut lines = Vec::new();
        for (line, body) in requests {
            let answer = host.ask(line, body).await;
            lines.push(format!("{line} {body}\n    {} {}", answer.status, answer.body));
        }
        lines.join("\n")
    }

    /// Generated keys are not the same twice.
    fn without_secrets(text: &str) -> String {
        let mut pieces: Vec<_> = text.split('"').collect();
        for at in 2..pieces.len() {
            if pieces[at - 2] == "value" && pieces[at].len() == 56 {
                pieces[at] = "...";
            }
        }
        pieces.join("\"")
    }

    #[tokio::test]
    async fn keys_are_listed_made_renewed_and_deleted() {
        let host = Running::open(app()).await;
        let transcript = transcript(
            &host,
            &[
                ("GET /admin/functions/sweep/keys", ""),
                ("GET /admin/functions/Sweep/keys/DEFAULT", ""),
                ("POST /admin/functions/Sweep/keys/Partner", ""),
                ("POST /admin/functions/Sweep/keys/partner", ""),
                (
                    "PUT /admin/functions/Sweep/keys/partner",
                    r#"{"name":"partner","value":"secret"}"#,
                ),
                ("GET /admin/functions/Sweep/keys", ""),
                ("DELETE /admin/functions/Sweep/keys/partner", ""),
                ("DELETE /admin/functions/Sweep/keys/partner", ""),
                ("GET /admin/host/keys", ""),
                ("PUT /admin/host/functionkeys/mine", r#"{"value":"open sesame"}"#),
                ("PUT /admin/host/functionkeys/mine", r#"{"value":"sesame"}"#),
                ("GET /admin/host/functionkeys", ""),
                ("PUT /admin/host/systemkeys/blobs_extension", r#"{"value":"b"}"#),
                ("GET /admin/host/systemkeys", ""),
                ("PUT /admin/host/systemkeys/_master", r#"{"value":"m"}"#),
                ("GET /admin/host/systemkeys/_master", ""),
            ],
        );
        insta::assert_snapshot!(without_secrets(&transcript.await));
        host.stop().await;
    }

    #[tokio::test]
    async fn what_cannot_be_done_with_keys_is_told() {
        let host = Running::open(app()).await;
        let told = async |line: &str, body: &str| {
            let answer = host.ask(line, body).await;
            format!("{} {}", answer.status, answer.body)
        };
        assert_eq!(
            told("DELETE /admin/host/systemkeys/_master", "").await,
            "400 Cannot delete System Key."
        );
        assert_eq!(told("PUT /admin/host/keys/a", "{}").await, "400 Invalid key value");
        assert_eq!(told("PUT /admin/host/keys/a", "").await, "400 Invalid key value");
        assert_eq!(told("POST /admin/host/keys/a%2Fb", "").await, "400 Invalid key name");
        assert_eq!(told("GET /admin/host/keys/nobody", "").await, "404 ");
        assert_eq!(told("GET /admin/functions/nobody/keys", "").await, "404 ");
        assert_eq!(told("PATCH /admin/host/keys", "").await, "404 ");
        host.stop().await;
    }

    #[tokio::test]
    async fn a_changed_key_opens_at_once() {
        let host = Running::with_keys(app()).await;
        let line = format!("PUT /admin/host/keys/_master?code={}", host.master());
        assert_eq!(host.ask(&line, r#"{"value":"new"}"#).await.status, 200);
        assert_eq!(host.ask(&line, r#"{"value":"newer"}"#).await.status, 401);
        assert_eq!(host.ask("GET /admin/host/keys?code=new", "").await.status, 200);
        host.stop().await;
    }
}
