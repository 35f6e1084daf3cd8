//! What the functions of an app in Rust are called with.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use everstep::{Client, Failure, InstanceId, kinds};
use everstep_functions::program::{Invocation, TimerEvent, Trigger};
use everstep_model::Guid;
use http::{HeaderMap, Method, Uri, request::Parts};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Services;
use crate::Response;

/// The kind of a failure that is the caller's fault: the host answers 400 with its message.
pub const BAD_REQUEST: &str = "BadRequest";

/// A request body may be this long unless it is taken in pieces.
const BODY_MAX: usize = 100 << 20;

/// A request to a function.
pub struct HttpCall {
    services: Services,
    id: Guid,
    parts: Parts,
    body: Option<Body>,
    data: Map<String, Value>,
}

impl HttpCall {
    pub(super) fn new(services: Services, invocation: Invocation) -> Result<Self, Failure> {
        let Trigger::Http(request) = invocation.trigger else {
            let text = format!(
                "the function `{}` answers requests; call its URL instead of running it by hand",
                invocation.function
            );
            return Err(Failure::new(kinds::RULE, text));
        };
        let (parts, body) = request.into_parts();
        Ok(Self { services, id: invocation.id, parts, body: Some(body), data: invocation.data })
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The address that was asked for.
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// A parameter of the route; empty if it is optional and missing.
    pub fn param(&self, name: &str) -> &str {
        self.data.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The first value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.parts.uri.query()?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key) == name).then(|| decoded(value))
        })
    }

    /// The whole body; empty if it was taken before.
    pub async fn bytes(&mut self) -> Result<Bytes, Failure> {
        let body = self.body.take().unwrap_or_default();
        axum::body::to_bytes(body, BODY_MAX).await.map_err(|error| {
            Failure::new(BAD_REQUEST, format!("the body of the request did not arrive: {error}"))
        })
    }

    /// The body as it arrives.
    pub fn body(&mut self) -> Body {
        self.body.take().unwrap_or_default()
    }

    /// The body as JSON. The error, if the function passes it on, is answered with 400 and its text.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(
                BAD_REQUEST,
                format!("the body of the request is not as expected: {error}"),
            )
        })
    }

    /// Names this run in logs.
    pub fn invocation_id(&self) -> Guid {
        self.id
    }

    /// What the app has at hand.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The client of the app's hub.
    pub fn client(&self) -> Client {
        self.services.client()
    }

    /// The answer that tells where an instance can be asked for, stopped and so on: 202 with the management URLs.
    pub fn check_status(&self, id: &InstanceId) -> Response {
        self.services.check_status(&self.parts, id)
    }

    /// Waits for the end of an instance and answers with its output, or after this time as [`HttpCall::check_status`].
    pub async fn wait_or_check_status(&self, id: &InstanceId, time: Duration) -> Response {
        self.services.wait_or_check_status(&self.parts, id, time).await
    }
}

/// Form decoding: `+` is a space.
fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// A run on a schedule.
pub struct TimerCall {
    services: Services,
    id: Guid,
    event: TimerEvent,
}

impl TimerCall {
    pub(super) fn new(services: Services, invocation: Invocation) -> Self {
        let event = match invocation.trigger {
            Trigger::Timer(event) => event,
            // Somebody runs it by hand.
            _ => TimerEvent { is_past_due: false, adjust_for_dst: true, status: None },
        };
        Self { services, id: invocation.id, event }
    }

    /// What is known of the schedule.
    pub fn event(&self) -> &TimerEvent {
        &self.event
    }

    /// Names this run in logs.
    pub fn invocation_id(&self) -> Guid {
        self.id
    }

    /// What the app has at hand.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The client of the app's hub.
    pub fn client(&self) -> Client {
        self.services.client()
    }
}

/// One event of Event Grid, or an array of them.
pub struct EventGridCall {
    services: Services,
    id: Guid,
    event: Value,
    data: Map<String, Value>,
}

impl EventGridCall {
    pub(super) fn new(services: Services, invocation: Invocation) -> Self {
        let event = match invocation.trigger {
            Trigger::EventGrid(event) => event,
            // Somebody runs it by hand.
            Trigger::Manual(text) => Value::String(text),
            Trigger::Http(_) | Trigger::Timer(_) | Trigger::Queue(_) | Trigger::Blob(_) => {
                Value::Null
            }
        };
        Self { services, id: invocation.id, event, data: invocation.data }
    }

    /// The event, or the array of all events of a delivery where the function takes many.
    pub fn event(&self) -> &Value {
        &self.event
    }

    /// The event as JSON text.
    pub fn text(&self) -> String {
        self.event.to_string()
    }

    /// The event as a type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        T::deserialize(&self.event).map_err(|error| {
            Failure::new(kinds::SERDE, format!("what arrived is not as expected: {error}"))
        })
    }

    /// Binding data: `data` is that of the event.
    pub fn data(&self, name: &str) -> Option<&Value> {
        self.data.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Names this run in logs.
    pub fn invocation_id(&self) -> Guid {
        self.id
    }

    /// What the app has at hand.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The client of the app's hub.
    pub fn client(&self) -> Client {
        self.services.client()
    }
}

/// A call with the content of a message or a blob.
macro_rules! content_call {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name {
            services: Services,
            id: Guid,
            content: Bytes,
            data: Map<String, Value>,
            retries: u32,
        }

        impl $name {
            pub(super) fn new(services: Services, invocation: Invocation) -> Self {
                let Invocation { id, data, retries, .. } = invocation;
                Self { services, id, content: content(invocation.trigger), data, retries }
            }

            /// The content.
            pub fn bytes(&self) -> &Bytes {
                &self.content
            }

            /// The content as text; what is not UTF-8 is replaced.
            pub fn text(&self) -> String {
                String::from_utf8_lossy(&self.content).into_owned()
            }

            /// The content as JSON.
            pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
                serde_json::from_slice(&self.content).map_err(|error| {
                    Failure::new(kinds::SERDE, format!("what arrived is not as expected: {error}"))
                })
            }

            /// Binding data: what is known of it besides its content. A name that is spelled exactly so goes before
            /// one that differs in case.
            pub fn data(&self, name: &str) -> Option<&Value> {
                self.data.get(name).or_else(|| {
                    let mut data = self.data.iter();
                    data.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
                })
            }

            /// How often this was run before, by the function's retry policy.
            pub fn retries(&self) -> u32 {
                self.retries
            }

            /// Names this run in logs.
            pub fn invocation_id(&self) -> Guid {
                self.id
            }

            /// What the app has at hand.
            pub fn services(&self) -> &Services {
                &self.services
            }

            /// The client of the app's hub.
            pub fn client(&self) -> Client {
                self.services.client()
            }
        }
    };
}

content_call! {
    /// A message of a queue. Its data: `Id`, `DequeueCount`, `InsertionTime`, `ExpirationTime`, `NextVisibleTime`,
    /// `PopReceipt`, `QueueTrigger` (its text), and the properties of a JSON object.
    QueueCall
}
content_call! {
    /// A blob. Its data: `BlobTrigger` (its path), `Uri`, `Properties`, `Metadata`, and the parts of its name.
    BlobCall
}

fn content(trigger: Trigger) -> Bytes {
    match trigger {
        Trigger::Queue(bytes) | Trigger::Blob(bytes) => bytes,
        // Somebody runs it by hand.
        Trigger::Manual(text) => Bytes::from(text),
        Trigger::EventGrid(event) => Bytes::from(event.to_string()),
        Trigger::Http(_) | Trigger::Timer(_) => Bytes::new(),
    }
}
