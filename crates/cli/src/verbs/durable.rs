//! The durable verbs of `func`, with its output.
//!
//! D1  What is printed is what `func` prints, so that scripts read on; remarks of ours go to stderr.
//! D2  Every failure ends with 1, as there.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{World, change, list, source::is_end, wait};
use crate::{
    args::{Durable, DurableHub, DurableRange, STATUSES},
    client::{Api, Call},
    console::{Item, indented},
    door,
    fault::{Exit, Fault},
    time,
};

/// Where `func`'s calendar begins: all instances were created later.
const BEGINNING: &str = "0001-01-01T00:00:00Z";
const BEGINNING_TOLD: &str = "01/01/0001 00:00:00";
const END_TOLD: &str = "12/31/9999 23:59:59";
/// How long a terminated instance may take to end.
const END_TIME: Duration = Duration::from_secs(30);
/// How long after a rewind its effect is looked at.
const REWIND_TIME: Duration = Duration::from_secs(3);

/// `everstep durable ...`
pub(crate) async fn run(verb: Durable, world: &mut World) -> Result<Exit, Fault> {
    let ran = ask(verb, world).await;
    ran.map(|()| Exit::Ok).map_err(|fault| match fault.exit {
        Exit::Ok => fault,
        _ => Fault { exit: Exit::Error, ..fault },
    })
}

async fn ask(verb: Durable, world: &mut World) -> Result<(), Fault> {
    match verb {
        Durable::StartNew { function_name, id, input, hub } => {
            let input = input.as_deref().map(change::json_argument).transpose()?;
            let api = hub.api(world)?;
            let started = change::start(&api, &function_name, id.as_deref(), input).await?;
            let now = time::invariant(world.console.now());
            let id = started.text("id");
            world.console.data(&format!("Started '{function_name}' at {now}. Instance ID: '{id}'."))
        }
        Durable::GetInstances { range, top, continuation_token, hub } => {
            let api = hub.api(world)?;
            let call = Call::durable(Method::GET, "instances")
                .queries(range.query()?)
                .query("showDetails", "true")
                .query("top", top.to_string());
            let (page, next) = list::page(&api, call, continuation_token).await?;
            let states: Vec<String> =
                page.iter().map(|item| state(item, true, true).raw().to_owned()).collect();
            world.console.data(&indented(&format!("[{}]", states.join(","))))?;
            let token = next.unwrap_or_default();
            world.console.data(&format!("Continuation token for next set of results: '{token}'"))
        }
        Durable::GetRuntimeStatus { id, show_input, show_output, hub } => {
            let api = hub.api(world)?;
            let item = found(&api, &id.id, show_input, world).await?;
            world.console.data(&indented(state(&item, show_input, show_output).raw()))
        }
        Durable::GetHistory { id, hub } => {
            let api = hub.api(world)?;
            let call = Call::instance(Method::GET, &id.id, "/history");
            let answer = api.get_instance(&id.id, call).await?;
            world.console.data(&indented(&answer.body))
        }
        Durable::RaiseEvent { id, event_name, event_data, hub } => {
            let data = event_data.as_deref().map(change::json_argument).transpose()?;
            let api = hub.api(world)?;
            let name = event_name.unwrap_or_else(|| format!("Event_{}", random_name()));
            change::raise_event(&api, &id.id, &name, data.unwrap_or_else(|| "null".to_owned()))
                .await?;
            world.console.data(&format!("Raised event '{name}' to instance '{}'.", id.id))
        }
        Durable::Rewind { id, reason, hub } => {
            rewind(&hub.api(world)?, &id.id, &reason, world).await
        }
        Durable::Terminate { id, reason, hub } => {
            terminate(&hub.api(world)?, &id.id, &reason, world).await
        }
        Durable::PurgeHistory { range, hub } => purge(&hub.api(world)?, &range, world).await,
        Durable::DeleteTaskHub { hub } => delete_hub(&hub, world).await,
    }
}

impl DurableHub {
    fn api(&self, world: &mut World) -> Result<Api, Fault> {
        if let Some(name) = &self.connection_string_setting {
            world.console.note(&format!(
                "--connection-string-setting {name} is not used: a hub is a folder, see --data"
            ));
        }
        world.api(&self.connect)
    }
}

impl DurableRange {
    fn query(&self) -> Result<Vec<(String, String)>, Fault> {
        let mut pairs = Vec::new();
        let from = self.created_after.map(time::iso);
        pairs.extend(from.map(|from| ("createdTimeFrom".to_owned(), from)));
        let to = self.created_before.map(time::iso);
        pairs.extend(to.map(|to| ("createdTimeTo".to_owned(), to)));
        let statuses = self.runtime_status.as_deref().map(statuses).transpose()?;
        pairs.extend(statuses.map(|statuses| ("runtimeStatus".to_owned(), statuses)));
        Ok(pairs)
    }
}

/// Statuses with blanks or commas between them, as the API has them.
fn statuses(text: &str) -> Result<String, Fault> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let named = words.map(|word| {
        let known = STATUSES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        known.map(|(_, name)| *name).ok_or_else(|| {
            let all: Vec<&str> = STATUSES.iter().map(|(name, _)| *name).collect();
            Fault::usage(format!("`{word}` is no runtime status"))
                .remedy(format!("write one or more of: {}", all.join(", ")))
        })
    });
    Ok(named.collect::<Result<Vec<_>, _>>()?.join(","))
}

async fn status(api: &Api, id: &str, shows_input: bool) -> Result<Item, Fault> {
    let call = Call::instance(Method::GET, id, "")
        .query("showInput", if shows_input { "true" } else { "false" })
        .query("showDetails", "true");
    Item::parse(&api.get_instance(id, call).await?.body)
}

/// The status; that there is none is told as `func` tells it.
async fn found(api: &Api, id: &str, shows_input: bool, world: &mut World) -> Result<Item, Fault> {
    match status(api, id, shows_input).await {
        Err(fault) if fault.exit == Exit::NotFound => {
            world
                .console
                .data(&format!("Could not find an orchestration instance with id '{id}'"))?;
            Err(Fault::new(Exit::Error, ""))
        }
        other => other,
    }
}

async fn rewind(api: &Api, id: &str, reason: &str, world: &mut World) -> Result<(), Fault> {
    let before = found(api, id, false, world).await?;
    let call = Call::instance(Method::POST, id, "/rewind").query("reason", reason);
    api.get_instance(id, call).await?;
    let after = wait::hold(api, id, REWIND_TIME).await?;
    world.console.data(&format!("Status before rewind: {}", before.text("runtimeStatus")))?;
    world.console.data(&format!("Status after rewind: {}", after.text("runtimeStatus")))
}

async fn terminate(api: &Api, id: &str, reason: &str, world: &mut World) -> Result<(), Fault> {
    let call = Call::instance(Method::POST, id, "/terminate").query("reason", reason);
    api.get_instance(id, call).await?;
    let ended = wait::hold(api, id, END_TIME).await?;
    if is_end(ended.text("runtimeStatus")) {
        return world.console.data(&format!("Successfully terminated '{id}'"));
    }
    let text = format!("'{id}' has not ended in 30 seconds: it is {}", ended.text("runtimeStatus"));
    Err(Fault::error(text).remedy(format!("`everstep why {id}` says what keeps it")))
}

async fn purge(api: &Api, range: &DurableRange, world: &mut World) -> Result<(), Fault> {
    let mut query = range.query()?;
    if range.created_after.is_none() {
        query.push(("createdTimeFrom".to_owned(), BEGINNING.to_owned()));
    }
    let call = Call::durable(Method::DELETE, "instances").queries(query).patient();
    let answer = removed(api, call).await?;
    let deleted = answer["instancesDeleted"].as_u64().unwrap_or_default();
    let rows = answer["rowsDeleted"].as_u64().unwrap_or(deleted);
    let told = |time: Option<Timestamp>, otherwise: &str| {
        time.map_or_else(|| otherwise.to_owned(), time::invariant)
    };
    world.console.data(&format!(
        "Purged orchestration history for all instances created between '{}' and '{}'\n\
         Instances deleted: {deleted}\n\
         Rows deleted: {rows}",
        told(range.created_after, BEGINNING_TOLD),
        told(range.created_before, END_TOLD),
    ))
}

/// Empties a hub that runs, and removes the folder of one that does not.
async fn delete_hub(hub: &DurableHub, world: &mut World) -> Result<(), Fault> {
    let connect = &hub.connect;
    let folder = door::hub_folder(connect)?;
    let is_running = connect.url.is_some() || door::running(connect)?.is_some();
    if is_running {
        let call = Call::durable(Method::DELETE, "instances")
            .query("createdTimeFrom", BEGINNING)
            .query("force", "true")
            .patient();
        removed(&hub.api(world)?, call).await?;
        world.console.note("a host runs this hub: its instances are removed, its folder stays");
    } else {
        // A mistyped name must not cost somebody another folder.
        if !folder.join("LOCK").is_file() {
            let text = format!("`{}` is no task hub: it has no file LOCK", folder.display());
            return Err(Fault::new(Exit::NotFound, text));
        }
        let removed = std::fs::remove_dir_all(&folder);
        removed.map_err(|error| Fault::file("cannot remove the hub's folder", &folder, &error))?;
    }
    let of_folder = || folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = connect.task_hub_name.clone().unwrap_or_else(of_folder);
    world.console.data(&format!("Task hub '{name}' successfully deleted."))
}

/// Removes what matches; that nothing does is no error.
async fn removed(api: &Api, call: Call) -> Result<Value, Fault> {
    match api.get(call).await {
        Ok(answer) => answer.json(),
        Err(fault) if fault.exit == Exit::NotFound => Ok(json!({ "instancesDeleted": 0 })),
        Err(fault) => Err(fault),
    }
}

/// A status as the Durable Task Framework writes the state of an orchestration.
fn state(item: &Item, shows_input: bool, shows_output: bool) -> Item {
    let text = |key: &str| match item.get(key) {
        Value::Null => Value::Null,
        _ => item.raw_field(key).map_or(Value::Null, Value::from),
    };
    let status = item.text("runtimeStatus");
    let completed = match item.get("completedTime") {
        Value::Null if is_end(status) => item.get("lastUpdatedTime").clone(),
        Value::Null => "9999-12-31T23:59:59.9999999Z".into(),
        time => time.clone(),
    };
    let parent = match item.get("parentInstanceId") {
        Value::Null => Value::Null,
        id => json!({ "OrchestrationInstance": { "InstanceId": id } }),
    };
    let instance = Item::of([
        ("InstanceId", item.get("instanceId").clone()),
        ("ExecutionId", item.get("executionId").clone()),
    ]);
    Item::of([
        ("CompletedTime", completed),
        ("CompressedSize", 0.into()),
        ("CreatedTime", item.get("createdTime").clone()),
        ("Input", if shows_input { text("input") } else { Value::Null }),
        ("LastUpdatedTime", item.get("lastUpdatedTime").clone()),
        ("Name", item.get("name").clone()),
        ("OrchestrationInstance", serde_json::from_str(instance.raw()).unwrap_or_default()),
        ("OrchestrationStatus", number(status).into()),
        ("Output", if shows_output { text("output") } else { Value::Null }),
        ("ParentInstance", parent),
        ("Size", 0.into()),
        ("Status", text("customStatus")),
        ("Tags", item.get("tags").clone()),
        ("Version", item.get("version").clone()),
    ])
}

/// The number of a status.
fn number(status: &str) -> i32 {
    match status {
        "Running" => 0,
        "Completed" => 1,
        "ContinuedAsNew" => 2,
        "Failed" => 3,
        "Canceled" => 4,
        "Terminated" => 5,
        "Pending" => 6,
        "Suspended" => 7,
        _ => -1,
    }
}

/// A name that nobody else has, from the time and the process.
fn random_name() -> String {
    let time = Timestamp::now().as_nanosecond().cast_unsigned();
    format!("{:032x}", time << 32 | u128::from(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_may_have_blanks_between_them_and_any_case() {
        assert_eq!(statuses("running Completed").unwrap(), "Running,Completed");
        assert_eq!(statuses("FAILED,continuedasnew").unwrap(), "Failed,ContinuedAsNew");
        assert_eq!(
            statuses("running done").unwrap_err().to_string(),
            "error: `done` is no runtime status\n  write one or more of: running, completed, failed, terminated, pending, suspended, canceled, continuedasnew"
        );
    }
}
