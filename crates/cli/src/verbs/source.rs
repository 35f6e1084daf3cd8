//! Where one instance and its relations are looked up: a hub, or a file that `export` wrote.

use std::{collections::HashMap, path::Path};

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{World, list};
use crate::{
    args::{Connect, Source as Args},
    client::{Api, Call, no_instance},
    console::Item,
    fault::{Exit, Fault},
};

/// The name and version of the form of a file.
pub(super) const FORMAT: &str = "everstep.instance/1";

/// An instance with all that belongs to it, as a file holds it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Exported {
    /// [`FORMAT`] at the root; a child does not repeat it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<String>,
    /// When it was written.
    #[serde(default, rename = "exportedTime", skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<String>,
    /// The status.
    pub(super) instance: Box<RawValue>,
    /// All events of its present execution.
    #[serde(default)]
    pub(super) history: Vec<Box<RawValue>>,
    /// What an import reads; nothing for what ran when it was exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) record: Option<String>,
    /// The sub-orchestrations.
    #[serde(default)]
    pub(super) children: Vec<Exported>,
}

/// A place to look instances up.
pub(super) enum Source {
    /// A hub.
    Hub(Api),
    /// A file: the root's id, and each instance by id.
    File { root: String, instances: HashMap<String, Known> },
}

/// What a file says of an instance.
pub(super) struct Known {
    status: Item,
    history: Vec<Item>,
    children: Vec<String>,
}

/// What a status is to show besides.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown {
    /// The input.
    pub(super) input: bool,
    /// The history, as the API tells it.
    pub(super) history: bool,
}

impl Source {
    /// The place and the instance that arguments mean.
    pub(super) fn open(
        args: &Args,
        connect: &Connect,
        world: &World,
    ) -> Result<(Self, String), Fault> {
        let Some(file) = &args.file else {
            let id = args
                .id
                .clone()
                .ok_or_else(|| Fault::usage("name an instance, or a file with --file"))?;
            return Ok((Self::Hub(world.api(connect)?), id));
        };
        let source = Self::read(file)?;
        let Self::File { root, .. } = &source else { unreachable!("a file was read") };
        let id = args.id.clone().unwrap_or_else(|| root.clone());
        Ok((source, id))
    }

    /// A file that `export` wrote.
    pub(super) fn read(file: &Path) -> Result<Self, Fault> {
        let text = super::change::file_text(file)?;
        Self::parse(&text).map_err(|fault| Fault {
            text: format!("`{}` is no export: {}", file.display(), fault.text),
            ..fault
        })
    }

    /// What `export` wrote.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let exported: Exported =
            serde_json::from_str(text).map_err(|error| no_export(error.to_string()))?;
        check_format(exported.format.as_deref())?;
        let mut instances = HashMap::new();
        let root = gather(&exported, &mut instances)?;
        Ok(Self::File { root, instances })
    }

    /// The status of an instance.
    pub(super) async fn status(&self, id: &str, shown: Shown) -> Result<Item, Fault> {
        match self {
            Self::Hub(api) => {
                let flag = |flag: bool| if flag { "true" } else { "false" };
                let call = Call::instance(Method::GET, id, "")
                    .query("showInput", flag(shown.input))
                    .query("showHistory", flag(shown.history))
                    .query("showHistoryOutput", flag(shown.history))
                    .query("showDetails", "true");
                Item::parse(&api.get_instance(id, call).await?.body)
            }
            Self::File { .. } => Ok(self.known(id)?.status.clone()),
        }
    }

    /// All events of an instance's present execution.
    pub(super) async fn history(&self, id: &str) -> Result<Vec<Item>, Fault> {
        match self {
            Self::Hub(api) => {
                let call = Call::instance(Method::GET, id, "/history");
                Item::parse_list(&api.get_instance(id, call).await?.body)
            }
            Self::File { .. } => Ok(self.known(id)?.history.clone()),
        }
    }

    /// What an import reads of an instance; nothing while it runs.
    pub(super) async fn record(&self, id: &str) -> Result<Option<String>, Fault> {
        match self {
            Self::Hub(api) => {
                let call = Call::instance(Method::GET, id, "/record").patient();
                let answer = Item::parse(&api.get_instance(id, call).await?.body)?;
                Ok(answer.get("record").as_str().map(str::to_owned))
            }
            Self::File { .. } => Ok(None),
        }
    }

    /// The ids of the instances that have it for a parent.
    pub(super) async fn children(&self, id: &str) -> Result<Vec<String>, Fault> {
        match self {
            Self::Hub(api) => {
                let mut ids = Vec::new();
                let mut cursor = None;
                loop {
                    let call = Call::durable(Method::GET, "instances")
                        .query("parent", id)
                        .query("showInput", "false")
                        .query("orderBy", "created")
                        .query("top", "500");
                    let (page, next) = list::page(api, call, cursor).await?;
                    ids.extend(page.iter().map(|item| item.text("instanceId").to_owned()));
                    cursor = next;
                    if cursor.is_none() {
                        return Ok(ids);
                    }
                }
            }
            Self::File { .. } => Ok(self.known(id)?.children.clone()),
        }
    }

    /// Whether nothing will change here however long one waits.
    pub(super) fn is_still(&self) -> bool {
        match self {
            Self::Hub(api) => api.is_offline(),
            Self::File { .. } => true,
        }
    }

    fn known(&self, id: &str) -> Result<&Known, Fault> {
        match self {
            Self::File { instances, .. } => instances.get(id).ok_or_else(|| {
                Fault::new(Exit::NotFound, format!("the file has no instance `{id}`"))
            }),
            Self::Hub(_) => Err(no_instance(id)),
        }
    }
}

/// Whether a text is one of ours, by the format that it names.
pub(super) fn check_format(format: Option<&str>) -> Result<(), Fault> {
    match format {
        Some(FORMAT) => Ok(()),
        Some(other) => Err(no_export(format!("its format is `{other}`"))),
        None => Err(no_export("it names no format")),
    }
}

/// A text is not what `export` writes.
pub(super) fn no_export(text: impl Into<String>) -> Fault {
    Fault::error(text.into()).remedy(format!(
        "an export is written by `everstep export ID` and begins with {{\"format\":\"{FORMAT}\""
    ))
}

fn gather(exported: &Exported, into: &mut HashMap<String, Known>) -> Result<String, Fault> {
    let status = Item::parse(exported.instance.get())?;
    let history = exported.history.iter().map(|event| Item::parse(event.get()));
    let history = history.collect::<Result<Vec<_>, _>>()?;
    let children = exported.children.iter().map(|child| gather(child, into));
    let children = children.collect::<Result<Vec<_>, _>>()?;
    let id = status.text("instanceId").to_owned();
    into.insert(id.clone(), Known { status, history, children });
    Ok(id)
}

/// Whether a status is an end.
pub(super) fn is_end(status: &str) -> bool {
    matches!(status, "Completed" | "Failed" | "Terminated" | "Canceled")
}
