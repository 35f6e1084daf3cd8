//! The built-in activity of durable HTTP, beside the app's own.
//!
//! D1  What the app registers is untouched: [`WithHttp`] answers to one more name and hands on everything else.
//! D2  Any answer is a success unless the request says which statuses are failures. No answer is a failure.
//! D3  An accepted request that does not say when to ask again is told the host's usual time, so that code need not know
//!     the configuration.
//! D4  What an activity logs says which activity of which instance it is.
//! D5  Headers and contents stand in the history, as in Durable Functions: secrets belong in a token source.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use everstep::{ActivityOptions, Failure, HTTP_ACTIVITY, HttpRequest, HttpResponse, Value, kinds};
use everstep_model::{Outcome, PartitionId};
use everstep_worker::{
    ActivityCall, Answers, BoxFuture, EntityBatch, EntityOptions, EntityReply, Turns, Worker,
};
use tracing::Instrument as _;

/// A body of an answer may be this long: it becomes part of a history.
const CONTENT_MAX: usize = 16 << 20;

/// An app's worker, and the built-in activity.
pub(crate) struct WithHttp {
    app: Arc<dyn Worker>,
    requests: Requests,
}

#[derive(Clone)]
struct Requests {
    client: reqwest::Client,
    /// Until the next look at something accepted.
    poll: Duration,
}

impl WithHttp {
    pub(crate) fn new(app: Arc<dyn Worker>, poll: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("everstep/", env!("CARGO_PKG_VERSION")))
            // A redirect is an answer, and code decides about it.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { app, requests: Requests { client, poll } })
    }
}

impl Worker for WithHttp {
    fn identity(&self) -> &str {
        self.app.identity()
    }

    fn activity_options(&self, name: &str) -> Option<ActivityOptions> {
        if is_ours(name) {
            Some(ActivityOptions::default())
        } else {
            self.app.activity_options(name)
        }
    }

    fn activity_interval(&self, name: &str) -> Option<Duration> {
        self.app.activity_interval(name)
    }

    fn entity_options(&self, name: &str) -> Option<EntityOptions> {
        self.app.entity_options(name)
    }

    fn has_orchestrator(&self, name: &str) -> bool {
        self.app.has_orchestrator(name)
    }

    fn answer_through(&self, answers: Arc<dyn Answers>) {
        self.app.answer_through(answers);
    }

    fn turns(&self, partition: PartitionId) -> Box<dyn Turns> {
        self.app.turns(partition)
    }

    fn activity(&self, call: ActivityCall) -> BoxFuture<Outcome> {
        if !is_ours(&call.name) {
            // What the code logs bears the function's name and the instance's id.
            let span = tracing::info_span!("activity", name = %call.name, instance = %call.instance, attempt = call.attempt);
            let running = span.in_scope(|| self.app.activity(call));
            return Box::pin(running.instrument(span));
        }
        let requests = self.requests.clone();
        Box::pin(async move {
            match requests.make(&call.input).await {
                Ok(output) => Outcome::Completed(output),
                Err(failure) => Outcome::Failed(Box::new(failure)),
            }
        })
    }

    fn entity(&self, batch: EntityBatch) -> BoxFuture<EntityReply> {
        self.app.entity(batch)
    }
}

fn is_ours(name: &str) -> bool {
    name.eq_ignore_ascii_case(HTTP_ACTIVITY)
}

impl Requests {
    async fn make(&self, input: &Value) -> Result<Value, Failure> {
        let bytes = input.inline().expect("the runtime reads an input before it calls");
        let (request,): (HttpRequest,) = serde_json::from_slice(bytes).map_err(|error| {
            Failure::new(kinds::SERDE, format!("this is not a request: {error}")).fatal()
        })?;
        let mut response = self.send(&request).await?;
        if let Some(retry) = &request.retry_options {
            refuse(&request, &response, &retry.status_codes_to_retry)?;
        }
        if response.status_code == 202 && request.waits && response.header("Retry-After").is_none()
        {
            response.headers.insert("Retry-After".to_owned(), self.poll.as_secs().to_string());
        }
        let text = serde_json::to_string(&response).expect("a response is plain data");
        Ok(Value::text(text))
    }

    async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        let whole = async {
            let response =
                self.built(request)?.send().await.map_err(|error| lost(request, &error))?;
            received(request, response).await
        };
        match request.timeout {
            None => whole.await,
            Some(limit) => tokio::time::timeout(limit, whole).await.unwrap_or_else(|_| {
                let text = format!(
                    "{} {}: Reached user specified timeout: {limit:?}",
                    request.method,
                    place(request)
                );
                Err(Failure::new(kinds::TIMEOUT, text))
            }),
        }
    }

    fn built(&self, request: &HttpRequest) -> Result<reqwest::RequestBuilder, Failure> {
        let refused = |text: String| Failure::new("BadRequest", text).fatal();
        if let Some(source) = &request.token_source {
            return Err(refused(format!(
                "a token of `{}` for `{}` was asked for, and this host has no identity to get one with; get it in an activity and send it in a header",
                source.kind, source.resource
            )));
        }
        let method = request
            .method
            .to_uppercase()
            .parse::<http::Method>()
            .map_err(|_| refused(format!("`{}` is no HTTP method", request.method)))?;
        let uri = reqwest::Url::parse(&request.uri).map_err(|error| {
            refused(format!(
                "`{}` is no address for a request: {error}; it has to be absolute",
                place(request)
            ))
        })?;
        let mut built = self.client.request(method, uri);
        let has_type = request.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"));
        for (name, value) in &request.headers {
            if value.to_ascii_lowercase().contains("multipart/")
                && name.eq_ignore_ascii_case("content-type")
            {
                return Err(refused("multipart bodies cannot be sent".to_owned()));
            }
            built = built.header(name, value);
        }
        if let Some(content) = &request.content {
            built = built.body(content.clone());
            if !has_type {
                built = built.header(http::header::CONTENT_TYPE, "text/plain; charset=utf-8");
            }
        }
        Ok(built)
    }
}

async fn received(
    request: &HttpRequest,
    mut response: reqwest::Response,
) -> Result<HttpResponse, Failure> {
    let mut headers = BTreeMap::<String, String>::new();
    for (name, value) in response.headers() {
        let is_of_content = name.as_str().starts_with("content-");
        if !is_of_content {
            let value = String::from_utf8_lossy(value.as_bytes());
            headers
                .entry(name.as_str().to_owned())
                .and_modify(|values| *values = format!("{values}, {value}"))
                .or_insert_with(|| value.into_owned());
        }
    }
    let status_code = response.status().as_u16();
    let mut content = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(request, &error))? {
        content.extend_from_slice(&chunk);
        if content.len() > CONTENT_MAX {
            let text = format!(
                "{} {}: the answer is longer than {} MiB; read it in an activity and keep it elsewhere",
                request.method,
                place(request),
                CONTENT_MAX >> 20
            );
            return Err(Failure::new(kinds::TOO_LARGE, text).fatal());
        }
    }
    let content = Some(String::from_utf8_lossy(&content).into_owned());
    Ok(HttpResponse { status_code, headers, content })
}

/// The address without what may be secret.
fn place(request: &HttpRequest) -> &str {
    request.uri.split(['?', '#']).next().unwrap_or_default()
}

fn lost(request: &HttpRequest, error: &reqwest::Error) -> Failure {
    let mut text = format!("{} {}: no answer", request.method, place(request));
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Failure::new("HttpRequestException", text)
}

fn refuse(request: &HttpRequest, response: &HttpResponse, statuses: &[u16]) -> Result<(), Failure> {
    let status = response.status_code;
    let is_failure = if statuses.is_empty() {
        !(200..300).contains(&status)
    } else {
        statuses.contains(&status)
    };
    if !is_failure {
        return Ok(());
    }
    let text = format!("{} {}: the answer is {status}", request.method, place(request));
    Err(Failure::new("HttpRequestException", text))
}
