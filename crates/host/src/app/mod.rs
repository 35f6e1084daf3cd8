//! Apps written in Rust: functions with triggers beside the durable ones.
//!
//! A [`FunctionApp`] is to the host what a folder of `function.json` files is: a list of functions and the code that
//! runs them. Its durable functions are an [`App`] of the SDK and know nothing of the host.

mod bindings;
mod calls;
mod services;

use std::{collections::HashMap, future::Future, path::PathBuf, sync::Arc};

use axum::response::IntoResponse;
use everstep::{App, BoxError, Failure, Worker};
use everstep_functions::program::{Answer, Binding, Direction, Function, Invocation, Program};
use everstep_worker::BoxFuture;
use serde_json::Map;

pub use bindings::{Auth, Blob, EventGrid, Http, Queue, Timer};
pub use calls::{BAD_REQUEST, BlobCall, EventGridCall, HttpCall, QueueCall, TimerCall};
pub use services::{Container, Sent, Services};

type Code = Arc<dyn Fn(Services, Invocation) -> BoxFuture<Result<Answer, Failure>> + Send + Sync>;

/// A Functions app written in Rust.
///
/// ```
/// use everstep::{ActivityContext, App, Context, Failure, StartOptions, TypedClient as _, activity, orchestrator};
/// use everstep_host::{FunctionApp, Http, HttpCall, Response};
///
/// #[activity]
/// async fn greet(_: ActivityContext, city: String) -> Result<String, Failure> {
///     Ok(format!("Hello, {city}!"))
/// }
///
/// #[orchestrator]
/// async fn tour(ctx: Context, cities: Vec<String>) -> Result<Vec<String>, Failure> {
///     let greetings = cities.into_iter().map(|city| ctx.call(greet, city));
///     everstep::try_join_all(greetings.collect::<Vec<_>>()).await
/// }
///
/// async fn start_tour(mut call: HttpCall) -> Result<Response, Failure> {
///     let cities = call.json().await?;
///     let run = call.client().run(tour, cities, StartOptions::default()).await.map_err(everstep::failure)?;
///     Ok(call.check_status(run.id()))
/// }
///
/// let app = FunctionApp::new(App::new("1.0").add(greet).add(tour))
///     .http("StartTour", Http::post("tour").anonymous(), start_tour);
/// # let _ = app;
/// ```
#[derive(Clone)]
pub struct FunctionApp {
    durable: App,
    functions: Vec<Function>,
    code: HashMap<String, Code>,
}

impl FunctionApp {
    /// An app with the durable functions of `durable` and no others.
    pub fn new(durable: App) -> Self {
        Self { durable, functions: Vec::new(), code: HashMap::new() }
    }

    /// A function that answers requests.
    #[must_use]
    pub fn http<R, E, F, Fut>(self, name: &str, trigger: Http, code: F) -> Self
    where
        R: IntoResponse,
        E: Into<BoxError> + 'static,
        F: Fn(HttpCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        self.add(name, trigger.into(), move |services, invocation| {
            let call = HttpCall::new(services, invocation).map(&code);
            Box::pin(async move {
                let response = call?.await.map_err(everstep::failure)?.into_response();
                Ok(Answer { response: Some(response), ..Answer::default() })
            })
        })
    }

    /// A function that runs on a schedule.
    #[must_use]
    pub fn timer<E, F, Fut>(self, name: &str, trigger: Timer, code: F) -> Self
    where
        E: Into<BoxError> + 'static,
        F: Fn(TimerCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.add(name, trigger.into(), move |services, invocation| {
            done(code(TimerCall::new(services, invocation)))
        })
    }

    /// A function that runs for each message of a queue. A message counts as handled when it returns `Ok`.
    #[must_use]
    pub fn queue<E, F, Fut>(self, name: &str, trigger: Queue, code: F) -> Self
    where
        E: Into<BoxError> + 'static,
        F: Fn(QueueCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.add(name, trigger.into(), move |services, invocation| {
            done(code(QueueCall::new(services, invocation)))
        })
    }

    /// A function that runs for each new or changed blob.
    #[must_use]
    pub fn blob<E, F, Fut>(self, name: &str, trigger: Blob, code: F) -> Self
    where
        E: Into<BoxError> + 'static,
        F: Fn(BlobCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.add(name, trigger.into(), move |services, invocation| {
            done(code(BlobCall::new(services, invocation)))
        })
    }

    /// A function that Event Grid delivers events to.
    #[must_use]
    pub fn event_grid<E, F, Fut>(self, name: &str, trigger: EventGrid, code: F) -> Self
    where
        E: Into<BoxError> + 'static,
        F: Fn(EventGridCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.add(name, trigger.into(), move |services, invocation| {
            done(code(EventGridCall::new(services, invocation)))
        })
    }

    fn add(
        mut self,
        name: &str,
        trigger: Binding,
        code: impl Fn(Services, Invocation) -> BoxFuture<Result<Answer, Failure>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let former = self.code.insert(name.to_lowercase(), Arc::new(code));
        assert!(
            former.is_none(),
            "the function `{name}` is registered twice; names are compared without case"
        );
        self.functions.push(function(name, trigger));
        self
    }

    pub(crate) fn into_program(self, services: Services) -> Arc<dyn Program> {
        Arc::new(RustProgram { app: self, services })
    }
}

/// What building an app gives: the app, or why it does not run, which the host says before it listens.
///
/// ```
/// use everstep::App;
/// use everstep_host::{FunctionApp, Services};
///
/// fn app(services: &Services) -> Result<FunctionApp, String> {
///     let folder = services.setting("ORDERS_FOLDER");
///     folder.ok_or("the setting ORDERS_FOLDER is missing; write the folder of the orders")?;
///     Ok(FunctionApp::new(App::new("1.0")))
/// }
///
/// # let _: fn() -> std::process::ExitCode = || everstep_host::main(app);
/// ```
pub trait IntoApp {
    /// The app, or what a person is to be told.
    fn into_app(self) -> Result<FunctionApp, BoxError>;
}

impl IntoApp for FunctionApp {
    fn into_app(self) -> Result<FunctionApp, BoxError> {
        Ok(self)
    }
}

impl<E: Into<BoxError>> IntoApp for Result<FunctionApp, E> {
    fn into_app(self) -> Result<FunctionApp, BoxError> {
        self.map_err(Into::into)
    }
}

/// Runs a handler that gives nothing back.
fn done<E, Fut>(running: Fut) -> BoxFuture<Result<Answer, Failure>>
where
    E: Into<BoxError> + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
{
    Box::pin(async move {
        running.await.map_err(everstep::failure)?;
        Ok(Answer::default())
    })
}

fn function(name: &str, trigger: Binding) -> Function {
    Function {
        name: name.to_owned(),
        bindings: vec![trigger],
        disabled: false,
        source: None::<PathBuf>,
        retry: None,
    }
}

struct RustProgram {
    app: FunctionApp,
    services: Services,
}

impl RustProgram {
    fn durable(&self) -> impl Iterator<Item = Function> {
        let of = |names: Vec<Arc<str>>, kind: &'static str, parameter: &'static str| {
            names.into_iter().map(move |name| {
                let trigger = Binding {
                    kind: kind.to_owned(),
                    direction: Direction::In,
                    name: parameter.to_owned(),
                    properties: Map::new(),
                };
                function(&name, trigger)
            })
        };
        let durable = &self.app.durable;
        of(durable.orchestrators(), "orchestrationTrigger", "context")
            .chain(of(durable.activities(), "activityTrigger", "input"))
            .chain(of(durable.entities(), "entityTrigger", "context"))
    }
}

impl Program for RustProgram {
    fn language(&self) -> &'static str {
        "rust"
    }

    fn functions(&self) -> Vec<Function> {
        self.app.functions.iter().cloned().chain(self.durable()).collect()
    }

    fn invoke(&self, call: Invocation) -> BoxFuture<Result<Answer, Failure>> {
        match self.app.code.get(&call.function.to_lowercase()) {
            Some(code) => code(self.services.clone(), call),
            None => {
                let text = format!("the app has no function `{}`", call.function);
                Box::pin(std::future::ready(Err(Failure::new(everstep::kinds::NOT_FOUND, text))))
            }
        }
    }

    fn worker(&self) -> Arc<dyn Worker> {
        Arc::new(self.app.durable.clone())
    }
}
