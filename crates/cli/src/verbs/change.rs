//! `run`, `raise`, `signal`, `restart` and `unpark`: what is said to single instances.

use std::{fs, io::Read as _, path::Path};

use http::Method;
use serde_json::Value;

use super::{World, wait};
use crate::{
    args::{Format, Raise, Restart, Run, Signal, Unpark},
    client::{Api, Call, no_instance, segment},
    console::{Column, Item, plain},
    fault::{Exit, Fault},
};

const STARTED: &[Column] = &[plain("ID", "id")];
const DONE: &[Column] = &[plain("ID", "instanceId"), plain("DONE", "done")];

/// `everstep run`
pub(crate) async fn run(run: &Run, world: &mut World) -> Result<Exit, Fault> {
    let input = run.input.as_deref().map(json_argument).transpose()?;
    let api = world.api(&run.common.connect)?;
    let started = start(&api, &run.name, run.id.as_deref(), input).await?;
    let id = started.text("id").to_owned();
    if run.wait {
        world.console.note(&format!("started {} as {id}", run.name));
        return wait::until_ended(&api, &id, run.timeout, world).await;
    }
    match world.console.format() {
        Format::Table => world.console.data(&format!("started {} as {id}", run.name))?,
        _ => world.console.one(STARTED, &started)?,
    }
    Ok(Exit::Ok)
}

/// Starts an orchestration; its links.
pub(super) async fn start(
    api: &Api,
    name: &str,
    id: Option<&str>,
    input: Option<String>,
) -> Result<Item, Fault> {
    let id = id.map(|id| format!("/{}", segment(id))).unwrap_or_default();
    let call = Call::durable(Method::POST, &format!("orchestrators/{}{id}", segment(name)));
    let call = match input {
        Some(input) => call.json(input),
        None => call,
    };
    Item::parse(&api.get(call).await?.body)
}

/// `everstep raise`
pub(crate) async fn raise(raise: &Raise, world: &mut World) -> Result<Exit, Fault> {
    let data = json_argument(&raise.input)?;
    let api = world.api(&raise.common.connect)?;
    raise_event(&api, &raise.id, &raise.event, data).await?;
    done(&raise.id, &format!("raised {}", raise.event), world)
}

/// Raises an event.
pub(super) async fn raise_event(
    api: &Api,
    id: &str,
    event: &str,
    data: String,
) -> Result<(), Fault> {
    let tail = format!("/raiseEvent/{}", segment(event));
    api.get_instance(id, Call::instance(Method::POST, id, &tail).json(data)).await?;
    Ok(())
}

/// `everstep signal`
pub(crate) async fn signal(signal: &Signal, world: &mut World) -> Result<Exit, Fault> {
    let (name, key) = entity(&signal.entity)?;
    let input = signal.input.as_deref().map(json_argument).transpose()?;
    let api = world.api(&signal.common.connect)?;
    let path = match key {
        "" => format!("entities/{}", segment(name)),
        key => format!("entities/{}/{}", segment(name), segment(key)),
    };
    let call = Call::durable(Method::POST, &path).query("op", &signal.operation);
    let call = match input {
        Some(input) => call.json(input),
        None => call,
    };
    api.get(call).await?;
    done(
        &format!("@{}@{key}", name.to_lowercase()),
        &format!("signaled {}", signal.operation),
        world,
    )
}

/// Name and key of `name/key` or `@name@key`.
fn entity(text: &str) -> Result<(&str, &str), Fault> {
    let parts = match text.strip_prefix('@') {
        Some(rest) => rest.split_once('@'),
        None => text.split_once('/'),
    };
    parts.filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        Fault::usage(format!("`{text}` names no entity"))
            .remedy("write name/key or @name@key, for example counter/a")
    })
}

/// `everstep restart`
pub(crate) async fn restart(restart: &Restart, world: &mut World) -> Result<Exit, Fault> {
    let api = world.api(&restart.common.connect)?;
    let new_id = if restart.same_id { "false" } else { "true" };
    let mut outcome = Outcome::default();
    for id in &restart.ids {
        let call =
            Call::instance(Method::POST, id, "/restart").query("restartWithNewInstanceId", new_id);
        let restarted = match api.get_instance(id, call).await {
            Ok(answer) => Item::parse(&answer.body).map(|links| links.text("id").to_owned()),
            // For this verb the API has another answer than 404.
            Err(fault) if fault.text.starts_with("InstanceId does not match") => {
                Err(no_instance(id))
            }
            Err(fault) => Err(fault),
        };
        outcome.add(id, restarted.map(|new| format!("restarted as {new}")), world)?;
    }
    outcome.exit()
}

/// `everstep unpark`
pub(crate) async fn unpark(unpark: &Unpark, world: &mut World) -> Result<Exit, Fault> {
    let api = world.api(&unpark.common.connect)?;
    let mut outcome = Outcome::default();
    for id in &unpark.ids {
        let call = Call::instance(Method::POST, id, "/unpark");
        let asked = api.get_instance(id, call).await.map(|_| "unparked".to_owned());
        outcome.add(id, asked, world)?;
    }
    outcome.exit()
}

/// What came of several instances: the first fault decides how the command ends, and none keeps it from the rest.
#[derive(Default)]
pub(super) struct Outcome {
    first: Option<Fault>,
}

impl Outcome {
    /// One more instance.
    pub(super) fn add(
        &mut self,
        id: &str,
        came: Result<String, Fault>,
        world: &mut World,
    ) -> Result<(), Fault> {
        match came {
            Ok(text) => done(id, &text, world).map(|_| ()),
            Err(fault) if self.first.is_none() => {
                self.first = Some(fault);
                Ok(())
            }
            Err(fault) => {
                world.console.fault(&fault);
                Ok(())
            }
        }
    }

    /// How the command ends.
    pub(super) fn exit(self) -> Result<Exit, Fault> {
        self.first.map_or(Ok(Exit::Ok), Err)
    }
}

fn done(id: &str, text: &str, world: &mut World) -> Result<Exit, Fault> {
    match world.console.format() {
        Format::Table => world.console.data(&format!("{id}: {text}"))?,
        _ => {
            let item = Item::of([("instanceId", id.into()), ("done", text.into())]);
            world.console.one(DONE, &item)?;
        }
    }
    Ok(Exit::Ok)
}

/// An argument that is JSON, `@` and a file, or `-`.
pub(super) fn json_argument(argument: &str) -> Result<String, Fault> {
    let text = text_argument(argument)?;
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let quoted = Value::from(text.trim()).to_string().replace('\'', "'\\''");
            Err(Fault::usage(format!("`{}` is not JSON: {error}", text.trim()))
                .remedy(format!("text needs its quotes: '{quoted}'")))
        }
    }
}

/// An argument that is text, `@` and a file, or `-` for what comes in.
pub(super) fn text_argument(argument: &str) -> Result<String, Fault> {
    match argument.strip_prefix('@') {
        Some(file) => file_text(Path::new(file)),
        None if argument == "-" => file_text(Path::new("-")),
        None => Ok(argument.to_owned()),
    }
}

/// What stands in a file, or comes in where it is `-`.
pub(super) fn file_text(file: &Path) -> Result<String, Fault> {
    if file == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| Fault::file("cannot read", file, &error))?;
        return Ok(text);
    }
    fs::read_to_string(file).map_err(|error| Fault::file("cannot read", file, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_is_not_json_is_refused_with_how_to_write_it() {
        assert_eq!(json_argument("{\"a\": 1}").unwrap(), "{\"a\": 1}");
        assert_eq!(
            json_argument("Tokyo").unwrap_err().to_string(),
            "error: `Tokyo` is not JSON: expected value at line 1 column 1\n  text needs its quotes: '\"Tokyo\"'"
        );
    }

    #[test]
    fn an_input_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("input.json");
        fs::write(&file, "[1]").unwrap();
        assert_eq!(json_argument(&format!("@{}", file.display())).unwrap(), "[1]");
        let fault = json_argument("@no-such-file.json").unwrap_err();
        assert_eq!(fault.exit, Exit::NotFound);
        assert!(fault.text.starts_with("cannot read `no-such-file.json`: "), "{fault}");
    }

    #[test]
    fn an_entity_is_written_in_two_ways() {
        assert_eq!(entity("counter/a/b").unwrap(), ("counter", "a/b"));
        assert_eq!(entity("@counter@a").unwrap(), ("counter", "a"));
        assert_eq!(entity("counter/").unwrap(), ("counter", ""));
        assert_eq!(
            entity("counter").unwrap_err().to_string(),
            "error: `counter` names no entity\n  write name/key or @name@key, for example counter/a"
        );
    }
}
