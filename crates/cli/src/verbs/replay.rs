//! `replay` and `preflight`: histories against the present code of an app, before it serves.
//!
//! Y1  Nothing is written and no instance notices: the histories are read, and the code runs beside its host.
//! Y2  A history that the code does not follow is a result, and makes the command fail, for scripts that are to stop there.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::{
    World, change, list,
    source::{FORMAT, Source},
};
use crate::{
    args::{Preflight, Replay},
    client::{Api, Call},
    console::{Column, Console, Item, plain},
    door::{self, Difference, Outcome, Rehearsal},
    fault::{Exit, Fault},
    start,
};

const RESULTS: &[Column] = &[
    plain("ID", "instanceId"),
    plain("NAME", "name"),
    plain("OUTCOME", "outcome"),
    plain("WHERE", "where"),
    plain("EXPECTED", "expected"),
    plain("FOUND", "found"),
];
/// How many instances are asked for at once.
const PAGE: &str = "500";
/// Instances that are to go on some time.
const LIVE: &str = "Running,Pending,Suspended";

/// A history and whose it is.
struct Recorded {
    id: String,
    name: String,
    history: String,
}

/// `everstep replay`
pub(crate) async fn replay(replay: &Replay, world: &mut World) -> Result<Exit, Fault> {
    let recorded = recorded(&replay.file).await?;
    let rehearsal = rehearsal(&replay.app).await?;
    let mut results = Vec::new();
    for recorded in &recorded {
        results.push(tried(&rehearsal, recorded, &replay.app).await?);
    }
    told(&results, world)
}

/// `everstep preflight`
pub(crate) async fn preflight(preflight: &Preflight, world: &mut World) -> Result<Exit, Fault> {
    let mut connect = preflight.common.connect.clone();
    if let Some(app) = &preflight.folder {
        connect.app.clone_from(app);
    }
    let rehearsal = rehearsal(&connect.app).await?;
    let api = world.api(&connect)?;
    let spinner = Console::spinner("trying live instances");
    let mut results = Vec::new();
    let mut cursor = None;
    loop {
        let call = Call::durable(Method::GET, "instances")
            .query("runtimeStatus", LIVE)
            .query("kind", "orchestration")
            .query("showInput", "false")
            .query("top", PAGE);
        let (page, next) = list::page(&api, call, cursor).await?;
        for status in page {
            spinner.tick();
            let Some(recorded) = live(&api, &status).await? else { continue };
            results.push(tried(&rehearsal, &recorded, &connect.app).await?);
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    spinner.finish_and_clear();
    if results.is_empty() {
        world.console.note("there are no live instances: nothing can be hurt");
    }
    told(&results, world)
}

/// The history of a live instance, if it has not been removed meanwhile.
async fn live(api: &Api, status: &Item) -> Result<Option<Recorded>, Fault> {
    let (id, name) = (status.text("instanceId").to_owned(), status.text("name").to_owned());
    match api.get_instance(&id, Call::instance(Method::GET, &id, "/history")).await {
        Ok(answer) => Ok(Some(Recorded { id, name, history: answer.body })),
        Err(fault) if fault.exit == Exit::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

async fn rehearsal(app: &Path) -> Result<Rehearsal, Fault> {
    start::must_be_python(app)?;
    door::rehearsal(app).await
}

/// The histories of a file: one that `export` wrote, or what the API answers for one instance.
async fn recorded(file: &Path) -> Result<Vec<Recorded>, Fault> {
    let text = change::file_text(file)?;
    if text.trim_start().starts_with('[') {
        let events = Item::parse_list(&text)?;
        let started = events.iter().find(|event| event.text("EventType") == "ExecutionStarted");
        let started = started.ok_or_else(|| {
            Fault::error(format!("`{}` is no history: it has no ExecutionStarted", file.display()))
                .remedy("a history is what `everstep history ID -o json` or `everstep export ID` writes")
        })?;
        let id = started.get("OrchestrationInstance")["InstanceId"].as_str().unwrap_or_default();
        let name = started.text("Name").to_owned();
        return Ok(vec![Recorded { id: id.to_owned(), name, history: text }]);
    }
    let source = Source::parse(&text).map_err(|fault| Fault {
        text: format!("`{}` is neither a history nor an export: {}", file.display(), fault.text),
        remedy: Some(format!(
            "a history is a list, as `everstep history ID -o json` writes it; an export begins with {{\"format\":\"{FORMAT}\""
        )),
        ..fault
    })?;
    let Source::File { root, .. } = &source else { unreachable!("an export was parsed") };
    let mut waiting = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(id) = waiting.pop() {
        let name =
            source.status(&id, super::source::Shown::default()).await?.text("name").to_owned();
        let events = source.history(&id).await?;
        let raws: Vec<&str> = events.iter().map(Item::raw).collect();
        waiting.extend(source.children(&id).await?.into_iter().rev());
        found.push(Recorded { id, name, history: format!("[{}]", raws.join(",")) });
    }
    Ok(found)
}

async fn tried(rehearsal: &Rehearsal, recorded: &Recorded, app: &Path) -> Result<Item, Fault> {
    let outcome = rehearsal
        .replay(&recorded.history)
        .await
        .map_err(|error| Fault::error(format!("`{}` cannot be replayed: {error}", recorded.id)))?;
    let mut pairs = vec![
        ("instanceId".to_owned(), json!(recorded.id)),
        ("name".to_owned(), json!(recorded.name)),
    ];
    match outcome {
        Outcome::Same => pairs.push(("outcome".to_owned(), json!("same"))),
        Outcome::Differs(difference) => pairs.extend(shown(&difference, app)),
    }
    Ok(Item::of_pairs(pairs))
}

fn shown(difference: &Difference, app: &Path) -> Vec<(String, Value)> {
    let Difference { number, expected, found, place } = difference;
    let mut pairs = vec![("outcome".to_owned(), json!("differs"))];
    if let Some(place) = place {
        let root = app.canonicalize().unwrap_or_else(|_| app.to_owned());
        let file = Path::new(&place.file);
        let file = file.strip_prefix(root).unwrap_or(file).display();
        pairs.push(("where".to_owned(), json!(format!("{file}:{}", place.line))));
        pairs.push(("function".to_owned(), json!(place.function)));
        pairs.push(("source".to_owned(), json!(place.text)));
    }
    pairs.push(("number".to_owned(), json!(number)));
    pairs.push(("expected".to_owned(), json!(expected)));
    pairs.push(("found".to_owned(), json!(found)));
    pairs
}

fn told(results: &[Item], world: &mut World) -> Result<Exit, Fault> {
    world.console.list(RESULTS, results)?;
    let differ = results.iter().filter(|result| result.text("outcome") != "same").count();
    if differ == 0 {
        return Ok(Exit::Ok);
    }
    let count = results.len();
    let text = format!("the code of the app does not follow {differ} of {count} histories");
    Err(Fault::error(text).remedy(
        "let these instances end with the code that they began with, give the changed orchestrator a new name, or take the change back",
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::{
        console::Screen,
        fault::Exit,
        testing::{FakeHost, Ran, run},
    };

    async fn ran(line: &str) -> Ran {
        run(&FakeHost::new(), Screen::Pipe, line).await
    }

    #[tokio::test]
    async fn a_file_that_is_no_history_is_said_to_be_none_before_an_app_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let said = async |path: &str| {
            let ran = ran(&format!("replay app {path}")).await;
            assert_eq!(ran.exit, Exit::Error);
            ran.err.replace(path, "FILE")
        };
        insta::assert_snapshot!(said(&file("list", "[]")).await, @r"
        error: `FILE` is no history: it has no ExecutionStarted
          a history is what `everstep history ID -o json` or `everstep export ID` writes
        ");
        insta::assert_snapshot!(said(&file("object", "{\"instance\":{}}")).await, @r#"
        error: `FILE` is neither a history nor an export: it names no format
          a history is a list, as `everstep history ID -o json` writes it; an export begins with {"format":"everstep.instance/1"
        "#);
    }

    #[tokio::test]
    async fn an_app_of_another_language_is_said_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), "").unwrap();
        let app = folder.path().display().to_string();
        let ran = ran(&format!("preflight {app}")).await;
        assert_eq!(ran.exit, Exit::Usage);
        insta::assert_snapshot!(ran.err.replace(&app, "APP"), @r"
        error: `APP` holds no app in Python
          histories are tried on apps in Python; for one in Rust, write a test with everstep::testing
        ");
    }
}
