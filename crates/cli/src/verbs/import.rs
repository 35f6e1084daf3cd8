//! `import`: what `export` wrote goes back into a hub.
//!
//! Y1  A file is read value by value, indented or a line each, and sent in batches: neither has to fit into memory.
//! Y2  What has ended comes back with its history as it was; what ran when it was exported does not.
//! Y3  Each instance is said once, with what became of it; one that cannot be put back keeps no other from it.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufReader, Read, stdin},
    path::Path,
};

use http::Method;
use serde::{Deserialize, Serialize};

use super::{
    World,
    change::Outcome,
    source::{check_format, is_end, no_export},
};
use crate::{
    args::Import,
    client::{Api, Call},
    console::Item,
    fault::{Exit, Fault},
};

/// A batch is sent when it has so many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// What an import reads of an export.
#[derive(Deserialize)]
struct Brought {
    #[serde(default)]
    format: Option<String>,
    instance: Named,
    #[serde(default)]
    record: Option<String>,
    #[serde(default)]
    children: Vec<Brought>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    instance_id: String,
    runtime_status: String,
}

/// What is sent of an instance.
#[derive(Serialize)]
struct Line<'a> {
    instance: &'a Named,
    record: Option<&'a str>,
}

/// `everstep import`
pub(crate) async fn import(import: &Import, world: &mut World) -> Result<Exit, Fault> {
    let connect = &import.common.connect;
    let api = if import.dry_run { world.api(connect)? } else { world.api_to_write(connect)? };
    let mut run =
        Run { import, api, seen: HashSet::new(), batch: String::new(), said: Said::default() };
    let wrong = |fault: Fault| Fault {
        text: format!("`{}` is no export: {}", import.file.display(), fault.text),
        ..fault
    };
    for brought in serde_json::Deserializer::from_reader(open(&import.file)?).into_iter::<Brought>()
    {
        let brought = brought.map_err(|error| wrong(no_export(error.to_string())))?;
        check_format(brought.format.as_deref()).map_err(wrong)?;
        run.take(brought, world).await?;
    }
    run.send(world).await?;
    run.said.end(import, world)
}

fn open(file: &Path) -> Result<Box<dyn Read>, Fault> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(stdin())));
    }
    let opened = File::open(file)
        .map_err(|error| Fault::error(format!("cannot read `{}`: {error}", file.display())))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// An import on its way through its file.
struct Run<'a> {
    import: &'a Import,
    api: Api,
    /// A sub-orchestration may stand below its parent and on its own.
    seen: HashSet<String>,
    batch: String,
    said: Said,
}

/// What came of the instances so far.
#[derive(Default)]
struct Said {
    outcome: Outcome,
    imported: u64,
    replaced: u64,
    kept_out: u64,
}

impl Run<'_> {
    /// An instance and those below it.
    async fn take(&mut self, brought: Brought, world: &mut World) -> Result<(), Fault> {
        let mut waiting = vec![brought];
        while let Some(Brought { instance, record, children, .. }) = waiting.pop() {
            waiting.extend(children.into_iter().rev());
            if !self.seen.insert(instance.instance_id.clone()) {
                continue;
            }
            if self.import.dry_run {
                self.look(&instance, record.is_some(), world).await?;
                continue;
            }
            let line = Line { instance: &instance, record: record.as_deref() };
            self.batch += &serde_json::to_string(&line).expect("texts are JSON");
            self.batch.push('\n');
            if self.batch.len() >= BATCH_BYTES {
                self.send(world).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, world: &mut World) -> Result<(), Fault> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let replace = if self.import.replace { "true" } else { "false" };
        let call = Call::durable(Method::POST, "import").query("replace", replace);
        let answer = self.api.get(call.json(batch).patient()).await?;
        for line in answer.body.lines() {
            let item = Item::parse(line)?;
            let message = item.text("message").replace("`replace=true` puts", "--replace puts");
            self.said.add(item.text("instanceId"), item.text("outcome"), &message, world)?;
        }
        Ok(())
    }

    /// What an import would do, as far as one can see from outside.
    async fn look(
        &mut self,
        instance: &Named,
        has_record: bool,
        world: &mut World,
    ) -> Result<(), Fault> {
        let id = &instance.instance_id;
        let call = Call::instance(Method::GET, id, "").query("showInput", "false");
        let there = match self.api.get_instance(id, call).await {
            Ok(answer) => Some(Item::parse(&answer.body)?.text("runtimeStatus").to_owned()),
            Err(fault) if fault.exit == Exit::NotFound => None,
            Err(fault) => return Err(fault),
        };
        let is_entity = id.starts_with('@');
        let text = match there {
            _ if !has_record => {
                format!("would be refused: it was {} when it was exported", instance.runtime_status)
            }
            None => "would be imported".to_owned(),
            Some(status) if self.import.replace && (is_entity || is_end(&status)) => {
                format!("would replace the one that is here and {status}")
            }
            Some(status) => format!("would be refused: one of its id is here and {status}"),
        };
        self.said.outcome.add(id, Ok(text), world)
    }
}

impl Said {
    fn add(
        &mut self,
        id: &str,
        outcome: &str,
        message: &str,
        world: &mut World,
    ) -> Result<(), Fault> {
        match outcome {
            "imported" => self.imported += 1,
            "replaced" => self.replaced += 1,
            _ => self.kept_out += 1,
        }
        let came = if message.is_empty() {
            Ok(outcome.to_owned())
        } else {
            let name = if id.is_empty() { String::new() } else { format!("`{id}`: ") };
            let exit = if outcome == "failed" { Exit::Unreachable } else { Exit::Refused };
            Err(Fault::new(exit, format!("{name}{message}")))
        };
        self.outcome.add(id, came, world)
    }

    fn end(self, import: &Import, world: &mut World) -> Result<Exit, Fault> {
        if !import.dry_run {
            let counts = [
                (self.imported, "imported"),
                (self.replaced, "replaced"),
                (self.kept_out, "not put back"),
            ];
            let counts = counts.iter().filter(|(count, _)| *count > 0);
            let counts: Vec<_> = counts.map(|(count, text)| format!("{count} {text}")).collect();
            let text = counts.join(", ");
            world.console.note(if text.is_empty() { "the file is empty" } else { &text });
        }
        self.outcome.exit()
    }
}
