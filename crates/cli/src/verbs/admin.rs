//! `backup`, `release` and `keys`: the administration of a running host.

use http::Method;
use serde_json::json;

use super::World;
use crate::{
    args::{Backup, Common, Format, KeyScope, KeysVerb},
    client::{Call, segment},
    console::{Column, Console, Item, plain},
    fault::{Exit, Fault},
};

const KEYS: &[Column] = &[plain("NAME", "name"), plain("VALUE", "value")];
const REPORT: &[Column] = &[
    plain("destination", "destination"),
    plain("log bytes", "logBytes"),
    plain("table bytes", "tablesBytes"),
];

/// `everstep backup`
pub(crate) async fn backup(backup: &Backup, world: &mut World) -> Result<Exit, Fault> {
    // The host need not have the folder of this shell.
    let destination = std::path::absolute(&backup.destination)
        .map_err(|error| Fault::file("cannot find", &backup.destination, &error))?;
    let api = world.api(&backup.common.connect)?;
    let body = json!({ "destination": destination.display().to_string() }).to_string();
    let spinner = Console::spinner(&format!("copying to {}", destination.display()));
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    let answer = api.get(Call::admin(Method::POST, "host/backup").json(body).patient()).await;
    spinner.finish_and_clear();
    let report = Item::parse(&answer?.body)?;
    world.console.one(REPORT, &report)?;
    world.console.note(&format!("the hub is copied to {}", destination.display()));
    Ok(Exit::Ok)
}

/// `everstep release`
pub(crate) async fn release(common: &Common, world: &mut World) -> Result<Exit, Fault> {
    let api = world.api(&common.connect)?;
    api.get(Call::admin(Method::POST, "host/release")).await?;
    world.console.note("released: earlier work goes on");
    Ok(Exit::Ok)
}

/// `everstep keys`
pub(crate) async fn keys(verb: KeysVerb, world: &mut World) -> Result<Exit, Fault> {
    match verb {
        KeysVerb::List { scope, common } => {
            let api = world.api(&common.connect)?;
            let answer = api.get(Call::admin(Method::GET, &path(&scope, None))).await?;
            let answer = Item::parse(&answer.body)?;
            let keys = answer.raw_field("keys").unwrap_or_else(|| "[]".to_owned());
            world.console.list(KEYS, &Item::parse_list(&keys)?)?;
        }
        KeysVerb::Set { name, value, scope, common } => {
            let api = world.api(&common.connect)?;
            let path = path(&scope, Some(&name));
            let call = match value {
                Some(value) => Call::admin(Method::PUT, &path)
                    .json(json!({ "name": name, "value": value }).to_string()),
                None => Call::admin(Method::POST, &path),
            };
            let key = Item::parse(&api.get(call).await?.body)?;
            world.console.one(KEYS, &key)?;
        }
        KeysVerb::Delete { name, scope, common } => {
            let api = world.api(&common.connect)?;
            let call = Call::admin(Method::DELETE, &path(&scope, Some(&name)));
            api.get(call).await.map_err(|fault| match fault.exit {
                Exit::NotFound => Fault::new(Exit::NotFound, format!("there is no key `{name}`"))
                    .remedy("`everstep keys list` shows them; see --function and --system"),
                _ => fault,
            })?;
            if world.console.format() == Format::Table {
                world.console.data(&format!("removed {name}"))?;
            } else {
                let item = Item::of([("name", name.into()), ("removed", true.into())]);
                world.console.one(&[plain("NAME", "name")], &item)?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn path(scope: &KeyScope, name: Option<&str>) -> String {
    let keys = match (&scope.function, scope.system) {
        (Some(function), _) => format!("functions/{}/keys", segment(function)),
        (None, true) => "host/systemkeys".to_owned(),
        (None, false) => "host/keys".to_owned(),
    };
    match name {
        Some(name) => format!("{keys}/{}", segment(name)),
        None => keys,
    }
}
