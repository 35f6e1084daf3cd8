//! `export`: instances as files that other verbs can look into, and that `import` puts back.

use serde_json::value::RawValue;

use super::{
    World,
    source::{Exported, FORMAT, Shown, Source},
};
use crate::{
    args::Export,
    console::{Console, Item, indented},
    fault::{Exit, Fault},
    time,
};

/// How deep sub-orchestrations are followed.
const DEPTH_MAX: u32 = 64;

/// `everstep export`
pub(crate) async fn export(export: &Export, world: &mut World) -> Result<Exit, Fault> {
    let source = Source::Hub(world.api(&export.connect)?);
    for id in &export.ids {
        let spinner = Console::spinner(&format!("reading {id}"));
        let read = read(&source, id, 0, &spinner).await;
        spinner.finish_and_clear();
        let exported = Exported {
            format: Some(FORMAT.to_owned()),
            time: Some(time::iso(world.console.now())),
            ..read?
        };
        if exported.record.is_none() {
            world.console.note(&format!(
                "`{id}` runs, so this export is to be looked into; `everstep import` puts back what has ended"
            ));
        }
        let text = serde_json::to_string(&exported)
            .map_err(|error| Fault::error(format!("cannot write the export: {error}")))?;
        // Several are a line each, so that tools for lines can work on them.
        let text = if export.ids.len() == 1 { indented(&text) } else { text };
        world.console.data(&text)?;
    }
    Ok(Exit::Ok)
}

async fn read(
    source: &Source,
    id: &str,
    depth: u32,
    spinner: &indicatif::ProgressBar,
) -> Result<Exported, Fault> {
    spinner.tick();
    let status = source.status(id, Shown { input: true, history: false }).await?;
    let history = source.history(id).await?;
    let mut children = Vec::new();
    for child in source.children(id).await? {
        if depth >= DEPTH_MAX {
            return Err(Fault::error(format!(
                "the sub-orchestrations of `{id}` are nested more than {DEPTH_MAX} deep"
            )));
        }
        children.push(Box::pin(read(source, &child, depth + 1, spinner)).await?);
    }
    let history = history.iter().map(raw).collect::<Result<_, _>>()?;
    let record = source.record(id).await?;
    Ok(Exported { format: None, time: None, instance: raw(&status)?, history, record, children })
}

fn raw(item: &Item) -> Result<Box<RawValue>, Fault> {
    RawValue::from_string(item.raw().to_owned()).map_err(|error| {
        Fault::error(format!("the host answered something that is not JSON: {error}"))
    })
}
