//! `/admin/functions/...`: the app's functions, and running one by hand.
//!
//! F1  A run by hand is answered at once and goes on by itself; how it ends stands in the log.
//! F2  A durable function is not run like another: an orchestrator is started as an instance, and what only instances
//!     can call is refused with what to do instead.

use everstep::{Client, StartOptions, Value as Payload};
use everstep_functions::{
    config::binding::{Bound, Trigger as BoundTrigger},
    program::{Binding, Direction, Function, TimerEvent, Trigger},
};
use everstep_http::OnFailure;
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, as_json, as_text};
use crate::{Response, answer, front, invoke::Call, site::Site};

/// `GET functions`
pub(super) fn list(asked: &Asked) -> Response {
    let all = asked.site.listed.iter().map(|function| described(asked, function)).collect();
    as_json(200, &Value::Array(all))
}

/// `GET functions/{name}`
pub(super) fn one(asked: &Asked, name: &str) -> Response {
    match find(&asked.site, name) {
        Some(function) => as_json(200, &described(asked, function)),
        None => answer::bare(StatusCode::NOT_FOUND),
    }
}

/// `GET functions/{name}/status`
pub(super) fn status(site: &Site, name: &str) -> Response {
    if find(site, name).is_none() {
        return answer::bare(StatusCode::NOT_FOUND);
    }
    let errors = site.faults.get(&name.to_lowercase());
    as_json(200, &errors.map_or_else(|| json!({}), |errors| json!({ "errors": errors })))
}

/// What is said to whoever wants to change an app through its host.
const FIXED: &str =
    "the app's functions are changed where its code lies, and then it is started again";

/// `PUT functions/{name}`: the host shows files and writes none.
pub(super) fn put(name: &str) -> Response {
    if is_name(name) {
        as_text(403, FIXED)
    } else {
        as_text(400, format!("{name} is not a valid function name"))
    }
}

/// `DELETE functions/{name}`
pub(super) fn delete(site: &Site, name: &str) -> Response {
    match find(site, name) {
        Some(_) => as_text(403, FIXED),
        None => answer::bare(StatusCode::NOT_FOUND),
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn find<'a>(site: &'a Site, name: &str) -> Option<&'a Function> {
    site.listed.iter().find(|function| function.name.eq_ignore_ascii_case(name))
}

/// Links to files are null: this host shows none.
fn described(asked: &Asked, function: &Function) -> Value {
    let site = &asked.site;
    let bindings: Vec<_> = function.bindings.iter().map(binding).collect();
    let is_off = site.function(&function.name).is_none()
        && !site.faults.contains_key(&function.name.to_lowercase());
    json!({
        "name": function.name,
        "script_root_path_href": null,
        "script_href": null,
        "config_href": null,
        "test_data_href": null,
        "href": format!("{}/admin/functions/{}", asked.origin(), function.name),
        "invoke_url_template": url(asked, &function.name),
        "language": site.language,
        "config": { "name": function.name, "bindings": bindings },
        "files": null,
        "test_data": null,
        "isDisabled": is_off,
        "isDirect": false,
        "isProxy": false,
    })
}

fn binding(binding: &Binding) -> Value {
    let direction = match binding.direction {
        Direction::In => "in",
        Direction::Out => "out",
        Direction::InOut => "inout",
    };
    let mut shown = binding.properties.clone();
    shown.insert("name".to_owned(), json!(binding.name));
    shown.insert("type".to_owned(), json!(binding.kind));
    shown.insert("direction".to_owned(), json!(direction));
    Value::Object(shown)
}

/// Where a function that answers requests is reached.
fn url(asked: &Asked, name: &str) -> Option<String> {
    match &asked.site.function(name)?.trigger {
        BoundTrigger::Http(http) => {
            Some(format!("{}{}/{}", asked.origin(), asked.site.routes.prefix(), http.route))
        }
        _ => None,
    }
}

#[derive(Deserialize)]
struct Run {
    #[serde(default)]
    input: Value,
}

impl Run {
    /// A text as it is, anything else as JSON.
    fn text(self) -> String {
        match self.input {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        }
    }
}

/// `POST functions/{name}`
pub(super) async fn run(asked: Asked, name: &str) -> Response {
    let Some(function) = find(&asked.site, name) else {
        return answer::bare(StatusCode::NOT_FOUND);
    };
    if !is_json(&asked) {
        return as_text(415, "write the header `Content-Type: application/json`");
    }
    let run: Run = match serde_json::from_slice(&asked.body) {
        Ok(run) => run,
        Err(error) => {
            let text = format!(
                "the body is to say what the function is run with, as {{\"input\": \"...\"}}: {error}"
            );
            return as_text(400, text);
        }
    };
    let Some(bound) = asked.site.function(name).cloned() else {
        let text = match asked.site.faults.get(&name.to_lowercase()) {
            Some(faults) => faults.join("\n"),
            None => format!("the function `{}` is switched off", function.name),
        };
        return as_text(400, text);
    };
    let input = run.text();
    match &bound.trigger {
        BoundTrigger::Orchestration(orchestrator) => {
            start(&asked, &asked.site.client, orchestrator, input).await
        }
        trigger => match by_hand(&asked, &bound.name, trigger, input) {
            Ok(trigger) => detached(&asked.site, &bound, trigger),
            Err(text) => as_text(400, text),
        },
    }
}

fn is_json(asked: &Asked) -> bool {
    let kind = asked.parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map_or("", str::trim);
    kind.eq_ignore_ascii_case("application/json")
}

/// What a function is told that somebody runs by hand, or why that cannot be.
fn by_hand(
    asked: &Asked,
    name: &str,
    trigger: &BoundTrigger,
    input: String,
) -> Result<Trigger, String> {
    match trigger {
        BoundTrigger::Http(_) => {
            let url = url(asked, name).unwrap_or_default();
            Err(format!("the function `{name}` answers requests; call {url} instead"))
        }
        BoundTrigger::Activity(activity) => Err(format!(
            "`{activity}` is an activity, and activities run as steps of orchestrations; start an orchestrator that calls it"
        )),
        BoundTrigger::Entity(entity) => Err(format!(
            "`{entity}` is an entity; signal one with POST {}/runtime/webhooks/durabletask/entities/{entity}/{{key}}?op={{operation}}",
            asked.origin()
        )),
        BoundTrigger::Timer(_) => Ok(Trigger::Timer(TimerEvent {
            is_past_due: false,
            adjust_for_dst: true,
            status: None,
        })),
        BoundTrigger::Queue(_) => Ok(Trigger::Queue(input.into())),
        BoundTrigger::EventGrid(_) => match serde_json::from_str(&input) {
            Ok(event) => Ok(Trigger::EventGrid(event)),
            Err(error) => Err(format!(
                "`input` is to be an event as a JSON text for the function `{name}`: {error}"
            )),
        },
        BoundTrigger::Blob(_) | BoundTrigger::Orchestration(_) | BoundTrigger::Unknown(_) => {
            Ok(Trigger::Manual(input))
        }
    }
}

fn detached(site: &Site, bound: &Bound, trigger: Trigger) -> Response {
    let call = Call {
        inputs: front::durable_clients(site, bound),
        ..Call::new(
            &bound.name.as_str().into(),
            trigger,
            "This function was programmatically called via the host APIs.",
        )
    };
    // The run does not need its handle.
    drop(site.invoker.start(call));
    answer::bare(StatusCode::ACCEPTED)
}

/// Starts an instance; the answer tells where it is asked for.
async fn start(asked: &Asked, client: &Client, orchestrator: &str, input: String) -> Response {
    let input = match serde_json::from_str::<Value>(&input) {
        _ if input.is_empty() => Payload::empty(),
        Ok(_) => Payload::text(input),
        // A text that is no JSON is meant as a text.
        Err(_) => Payload::text(Value::String(input).to_string()),
    };
    let durable = &asked.site.config.durable_task;
    let options = StartOptions {
        version: durable.default_version.clone().unwrap_or_default(),
        trace: front::trace(&asked.parts.headers),
        ..StartOptions::default()
    };
    match client.start(orchestrator, input, options).await {
        Ok(id) => asked.site.api.check_status(&asked.parts, id.as_str(), OnFailure::Ok),
        Err(error) => as_text(503, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use everstep::{Activity, ActivityContext, App, Context, Failure, Orchestrator};
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        EventGrid, FunctionApp, Http, Timer,
        start::testing::{Running, nothing},
    };

    #[derive(Default, serde::Serialize, Deserialize)]
    struct Counter(u32);

    #[everstep::entity]
    impl Counter {
        fn add(&mut self, by: u32) {
            self.0 += by;
        }
    }

    const RUN: &str = r#"{"input":"hello"}"#;

    fn durable() -> FunctionApp {
        let durable = App::new("1")
            .orchestrator(Orchestrator::new("Tour"), async |_: Context, city: String| {
                Ok::<_, Failure>(city)
            })
            .activity(Activity::new("Greet"), async |_: ActivityContext, city: String| {
                Ok::<_, Failure>(city)
            })
            .entity::<Counter>();
        FunctionApp::new(durable)
            .http("Hi", Http::get("hi/{name?}"), async |_| Ok::<_, Failure>(String::new()))
    }

    async fn told(host: &Running, name: &str, body: &str) -> String {
        let answer = host.ask(&format!("POST /admin/functions/{name}"), body).await;
        format!("{} {}", answer.status, answer.body)
    }

    #[tokio::test]
    async fn functions_are_described() {
        let host = Running::open(durable()).await;
        let list = host.ask("GET /admin/functions", "").await.body;
        let list: Value = serde_json::from_str(&list).unwrap();
        insta::assert_snapshot!(format!("{list:#}"));
        let one = host.ask("GET /admin/functions/HI", "").await.body;
        assert_eq!(serde_json::from_str::<Value>(&one).unwrap(), list[0]);
        assert_eq!(host.ask("GET /admin/functions/nobody", "").await.status, 404);
        host.stop().await;
    }

    #[tokio::test]
    async fn the_faults_of_a_function_are_its_status() {
        let app =
            durable().timer("no name", Timer::new("* * * * *"), async |_| Ok::<(), Failure>(()));
        let host = Running::open(app).await;
        let status = async |name: &str| {
            let answer = host.ask(&format!("GET /admin/functions/{name}/status"), "").await;
            format!("{} {}", answer.status, answer.body)
        };
        assert_eq!(status("hi").await, "200 {}");
        assert_eq!(status("nobody").await, "404 ");
        let fault = "function `no name`: the name is invalid; write a letter, then letters, digits, `_` and `-`, 128 at most";
        assert_eq!(status("no%20name").await, format!(r#"200 {{"errors":["{fault}"]}}"#));
        assert_eq!(told(&host, "no%20name", RUN).await, format!("400 {fault}"));
        host.stop().await;
    }

    #[tokio::test]
    async fn functions_are_not_changed_through_the_host() {
        let host = Running::open(durable()).await;
        for (line, status) in [
            ("PUT /admin/functions/Hi", 403),
            ("PUT /admin/functions/1st", 400),
            ("DELETE /admin/functions/Hi", 403),
            ("DELETE /admin/functions/nobody", 404),
        ] {
            assert_eq!(host.ask(line, "{}").await.status, status, "{line}");
        }
        let answer = host.ask("PUT /admin/functions/1st", "{}").await;
        assert_eq!(answer.body, "1st is not a valid function name");
        host.stop().await;
    }

    #[tokio::test]
    async fn a_run_by_hand_is_answered_before_it_ends() {
        let (ran, mut runs) = mpsc::unbounded_channel();
        let (timer, event) = (ran.clone(), ran);
        let (open, gate) = tokio::sync::watch::channel(false);
        let app = nothing()
            .timer("Sweep", Timer::new("0 0 5 1 1 *"), move |call: crate::TimerCall| {
                let (ran, mut gate) = (timer.clone(), gate.clone());
                async move {
                    gate.wait_for(|open| *open).await.unwrap();
                    ran.send(format!("{:?}", call.event().status)).unwrap();
                    Ok::<(), Failure>(())
                }
            })
            .event_grid("Event", EventGrid::one(), move |call: crate::EventGridCall| {
                let ran = event.clone();
                async move {
                    ran.send(call.text()).unwrap();
                    Ok::<(), Failure>(())
                }
            });
        let host = Running::open(app).await;
        assert_eq!(told(&host, "sweep", "{}").await, "202 ");
        let status = host.ask("GET /admin/host/drain/status", "").await.body;
        assert!(status.contains(r#""outstandingInvocations":1"#), "{status}");
        open.send(true).unwrap();
        assert_eq!(runs.recv().await.unwrap(), "None");
        assert_eq!(told(&host, "event", r#"{"input":"{\"id\":1}"}"#).await, "202 ");
        assert_eq!(runs.recv().await.unwrap(), r#"{"id":1}"#);
        assert_eq!(
            told(&host, "event", r#"{"input":"?"}"#).await,
            "400 `input` is to be an event as a JSON text for the function `Event`: expected value at line 1 column 1"
        );
        host.stop().await;
    }

    #[tokio::test]
    async fn an_orchestrator_is_started_as_an_instance() {
        let host = Running::open(durable()).await;
        let answer = host.ask("POST /admin/functions/tour", RUN).await;
        assert_eq!(answer.status, 202);
        let links: Value = serde_json::from_str(&answer.body).unwrap();
        let id = links["id"].as_str().unwrap();
        let id = everstep::InstanceId::orchestration(id).unwrap();
        let view = host.site.client.wait(&id).await.unwrap();
        assert_eq!(view.output, Some(Payload::text("\"hello\"")));
        host.stop().await;
    }

    #[tokio::test]
    async fn a_function_that_is_switched_off_is_listed_and_does_not_run() {
        let text = r#"{"IsEncrypted": false, "Values": {"AzureWebJobs.Hi.Disabled": "true"}}"#;
        let host = Running::with_file(durable(), "local.settings.json", text).await;
        let one = host.ask("GET /admin/functions/hi", "").await.body;
        assert!(one.contains(r#""isDisabled":true"#), "{one}");
        assert_eq!(told(&host, "hi", RUN).await, "400 the function `Hi` is switched off");
        host.stop().await;
    }

    #[tokio::test]
    async fn what_cannot_be_run_by_hand_is_refused_with_what_to_do() {
        let host = Running::open(durable()).await;
        for (name, body, expected) in [
            ("nobody", RUN, "404 "),
            (
                "hi",
                "",
                "400 the body is to say what the function is run with, as {\"input\": \"...\"}: EOF while parsing a value at line 1 column 0",
            ),
            (
                "hi",
                RUN,
                "400 the function `Hi` answers requests; call http://localhost:7071/api/hi/{name?} instead",
            ),
            (
                "greet",
                RUN,
                "400 `Greet` is an activity, and activities run as steps of orchestrations; start an orchestrator that calls it",
            ),
            (
                "counter",
                RUN,
                "400 `Counter` is an entity; signal one with POST http://localhost:7071/runtime/webhooks/durabletask/entities/Counter/{key}?op={operation}",
            ),
        ] {
            assert_eq!(told(&host, name, body).await, expected);
        }
        let answer = host.ask_as("POST /admin/functions/hi", "text/plain", RUN).await;
        assert_eq!(answer.status, 415);
        assert_eq!(answer.body, "write the header `Content-Type: application/json`");
        host.stop().await;
    }
}
