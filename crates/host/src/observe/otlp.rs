//! Spans on their way to a collector: OTLP over HTTP, in JSON.
//!
//! E1  Nobody waits for a collector. What it does not take in time is dropped, and the number of dropped spans is
//!     logged.
//! E2  A batch goes out when it is full or a while after its first span, and once more when the host stops.
//!
//! Absent on purpose: metrics and logs by OTLP. Metrics are read at `/metrics`; a collector reads both.

use std::{fmt::Write as _, time::Duration};

use everstep_model::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::spans::Span;

/// Spans that wait at most.
const QUEUE: usize = 20_000;
/// Spans that go out together at most.
const BATCH: usize = 512;
/// How long a span waits for company.
const DELAY: Duration = Duration::from_secs(2);
/// How often a batch is offered.
const ATTEMPTS: u32 = 4;

/// Where spans go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collector {
    /// The whole address.
    url: String,
    headers: Vec<(String, String)>,
    service: String,
}

/// A collector that cannot be one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Only HTTP is spoken.
    #[error(
        "OTEL_EXPORTER_OTLP_PROTOCOL is `{0}`, and spans go out as `http/json`; point OTEL_EXPORTER_OTLP_ENDPOINT at the collector's HTTP port (4318 as a rule) and leave the protocol out"
    )]
    Protocol(String),
    /// No address.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT is `{0}`; write an address such as http://localhost:4318")]
    Endpoint(String),
    /// Not a list.
    #[error("OTEL_EXPORTER_OTLP_HEADERS has an entry without `=`; write name=value,name=value")]
    Headers,
}

impl Collector {
    /// The collector that the usual variables name, if they name one.
    pub(crate) fn of(
        setting: impl Fn(&str) -> Option<String>,
        app: &str,
    ) -> Result<Option<Self>, Error> {
        let set = |name: &str| setting(name).filter(|value| !value.is_empty());
        let whole = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let root = set("OTEL_EXPORTER_OTLP_ENDPOINT");
        let Some(url) =
            whole.or_else(|| root.map(|root| format!("{}/v1/traces", root.trim_end_matches('/'))))
        else {
            return Ok(None);
        };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Error::Endpoint(url));
        }
        if let Some(protocol) =
            set("OTEL_EXPORTER_OTLP_PROTOCOL").filter(|protocol| protocol == "grpc")
        {
            return Err(Error::Protocol(protocol));
        }
        let headers = set("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
        let headers = headers
            .split(',')
            .filter(|pair| !pair.trim().is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').ok_or(Error::Headers)?;
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            })
            .collect::<Result<_, _>>()?;
        let service = set("OTEL_SERVICE_NAME").unwrap_or_else(|| app.to_owned());
        Ok(Some(Self { url, headers, service }))
    }
}

/// Takes spans and sends them on.
pub(crate) struct Exporter {
    queue: mpsc::Sender<Span>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Exporter {
    pub(crate) fn start(collector: Collector, client: reqwest::Client) -> Self {
        let (queue, spans) = mpsc::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(export(collector, client, spans, stopped));
        Self { queue, stop, task }
    }

    /// A handle that gives spans away without waiting.
    pub(crate) fn sender(&self) -> mpsc::Sender<Span> {
        self.queue.clone()
    }

    /// Sends what is left, within this time.
    pub(crate) async fn finish(self, time: Duration) {
        // It has ended already if nobody hears.
        let _ = self.stop.send(());
        drop(tokio::time::timeout(time, self.task).await);
    }
}

async fn export(
    collector: Collector,
    client: reqwest::Client,
    mut spans: mpsc::Receiver<Span>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut open = true;
    while open {
        let mut batch = Vec::new();
        tokio::select! {
            count = spans.recv_many(&mut batch, BATCH) => open = count > 0,
            _ = &mut stopped => open = false,
        }
        if open && batch.len() < BATCH {
            let company = async {
                while batch.len() < BATCH {
                    let room = BATCH - batch.len();
                    if spans.recv_many(&mut batch, room).await == 0 {
                        break;
                    }
                }
            };
            tokio::select! {
                () = company => {}
                () = tokio::time::sleep(DELAY) => {}
                _ = &mut stopped => open = false,
            }
        }
        while let Ok(span) = spans.try_recv() {
            batch.push(span);
            if open && batch.len() >= BATCH {
                break;
            }
        }
        if !batch.is_empty() {
            send(&collector, &client, &batch).await;
        }
    }
}

async fn send(collector: &Collector, client: &reqwest::Client, batch: &[Span]) {
    let body = body(&collector.service, batch).to_string();
    let mut problem = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(250 << attempt)).await;
        }
        let mut request = client
            .post(&collector.url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .timeout(Duration::from_secs(10))
            .body(body.clone());
        for (name, value) in &collector.headers {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(response) if response.status().is_success() => return,
            Ok(response) => problem = format!("the collector answers {}", response.status()),
            Err(error) => problem = error.without_url().to_string(),
        }
    }
    tracing::warn!(target: "Host.General", spans = batch.len(), %problem, "spans were dropped: the collector of OTEL_EXPORTER_OTLP_ENDPOINT does not take them");
}

/// What the collector gets.
fn body(service: &str, spans: &[Span]) -> Value {
    let spans: Vec<_> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": [attribute("service.name", service)] },
        "scopeSpans": [{ "scope": { "name": "DurableTask.Core" }, "spans": spans }],
    }] })
}

fn span(span: &Span) -> Value {
    let attributes: Vec<_> =
        span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let mut value = json!({
        "traceId": hex(&span.trace),
        "spanId": hex(&span.id),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": nanoseconds(span.start),
        "endTimeUnixNano": nanoseconds(span.end),
        "attributes": attributes,
        "status": match &span.error {
            Some(error) => json!({ "code": 2, "message": error }),
            None => json!({ "code": 1 }),
        },
    });
    if let Some(parent) = span.parent {
        value["parentSpanId"] = hex(&parent).into();
    }
    value
}

fn attribute(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes what is written to it");
        text
    })
}

/// As text: the number does not fit what JSON readers take for one.
fn nanoseconds(time: Timestamp) -> String {
    time.since(Timestamp::EPOCH).as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::post};
    use everstep_model::Timestamp;

    use super::*;
    use crate::observe::spans::SpanKind;

    fn example() -> Span {
        Span {
            trace: [0xab; 16],
            id: [1; 8],
            parent: Some([2; 8]),
            name: "activity:Charge".to_owned(),
            kind: SpanKind::Client,
            start: Timestamp::EPOCH.after(Duration::from_secs(1)),
            end: Timestamp::EPOCH.after(Duration::from_secs(2)),
            attributes: vec![("durabletask.type", "activity".to_owned())],
            error: Some("no answer".to_owned()),
        }
    }

    #[test]
    fn the_form_is_that_of_otlp() {
        insta::assert_json_snapshot!(body("shop", &[example()]));
    }

    fn of(pairs: &[(&str, &str)]) -> Result<Option<Collector>, Error> {
        let find = |name: &str| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Collector::of(find, "app")
    }

    #[test]
    fn the_usual_variables_name_the_collector() {
        assert_eq!(of(&[]), Ok(None));
        let collector = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, b=2"),
        ]);
        let collector = collector.unwrap().unwrap();
        assert_eq!(collector.url, "http://localhost:4318/v1/traces");
        assert_eq!(collector.headers.len(), 2);
        assert_eq!(collector.service, "app");
    }

    #[test]
    fn what_cannot_be_a_collector_is_refused_with_what_to_write() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
        let cases = [
            (
                vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost")],
                "OTEL_EXPORTER_OTLP_ENDPOINT is `localhost/v1/traces`; write an address such as http://localhost:4318",
            ),
            (
                vec![endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
                "OTEL_EXPORTER_OTLP_PROTOCOL is `grpc`, and spans go out as `http/json`; point OTEL_EXPORTER_OTLP_ENDPOINT at the collector's HTTP port (4318 as a rule) and leave the protocol out",
            ),
            (
                vec![endpoint, ("OTEL_EXPORTER_OTLP_HEADERS", "a")],
                "OTEL_EXPORTER_OTLP_HEADERS has an entry without `=`; write name=value,name=value",
            ),
        ];
        for (pairs, text) in cases {
            assert_eq!(of(&pairs).unwrap_err().to_string(), text);
        }
    }

    #[tokio::test]
    async fn what_is_left_goes_out_when_the_host_stops() {
        let (sender, mut received) = mpsc::channel(1);
        let collect = post(move |body: String| async move { sender.send(body).await.unwrap() });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(
            axum::serve(listener, Router::new().route("/v1/traces", collect)).into_future(),
        );
        let collector = of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).unwrap().unwrap();
        let exporter = Exporter::start(collector, reqwest::Client::new());
        exporter.sender().send(example()).await.unwrap();
        exporter.finish(Duration::from_secs(30)).await;
        let body: Value = serde_json::from_str(&received.recv().await.unwrap()).unwrap();
        assert_eq!(
            body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"],
            "activity:Charge"
        );
    }
}
