//! `export` and `import`: an instance as a file that other verbs can look into.

use serde_json::value::RawValue;

use super::{
    World, change,
    show::{INSTANCE, print_events},
    source::{Exported, FORMAT, Shown, Source},
};
use crate::{
    args::{Export, Format, Import},
    console::{Console, Item, indented},
    fault::{Exit, Fault},
    time,
};

/// How deep sub-orchestrations are followed.
const DEPTH_MAX: u32 = 64;

/// `everstep export`
pub(crate) async fn export(export: &Export, world: &mut World) -> Result<Exit, Fault> {
    let source = Source::Hub(world.api(&export.connect)?);
    let spinner = Console::spinner(&format!("reading {}", export.id));
    let read = read(&source, &export.id, 0, &spinner).await;
    spinner.finish_and_clear();
    let exported = Exported {
        format: Some(FORMAT.to_owned()),
        time: Some(time::iso(world.console.now())),
        ..read?
    };
    let text = serde_json::to_string(&exported)
        .map_err(|error| Fault::error(format!("cannot write the export: {error}")))?;
    world.console.data(&indented(&text))?;
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
    Ok(Exported { format: None, time: None, instance: raw(&status)?, history, children })
}

fn raw(item: &Item) -> Result<Box<RawValue>, Fault> {
    RawValue::from_string(item.raw().to_owned()).map_err(|error| {
        Fault::error(format!("the host answered something that is not JSON: {error}"))
    })
}

/// `everstep import`
pub(crate) async fn import(import: &Import, world: &mut World) -> Result<Exit, Fault> {
    let text = change::file_text(&import.file)?;
    let source = Source::parse(&text)?;
    let Source::File { root, .. } = &source else { unreachable!("an export was parsed") };
    let status = source.status(root, Shown::default()).await?;
    world.console.one(INSTANCE, &status)?;
    let events = source.history(root).await?;
    if world.console.format() == Format::Table {
        world.console.data("\n")?;
        print_events(&events, world)?;
    }
    world.console.note(
        "this only showed the file; `trace`, `logs`, `history` and `show` look into it with --file",
    );
    Ok(Exit::Ok)
}
