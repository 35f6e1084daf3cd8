//! The load that is killed: starts, sequences, events, signals, folds and purges at once, each said when acknowledged.
//!
//! An instance stands in the model under up to three keys: that it exists, that its event was raised, what it returned.

use std::{path::Path, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use everstep::OrchestratorHandle as _;
use everstep_model::{Event, InstanceId, Kind, Status, Value};
use everstep_runtime::{Bulk, ClientError, Options, Raised, View};
use everstep_store::{Cursor, Filter, Order};

use super::bed::{APPROVAL, Bed, SEQUENCE};
use crate::torture::{Opened, Phase, Word, say};

/// Instances that are started between two purges.
const BATCH: u32 = 40;

/// Opens the hub, tells what it holds, and offers the work.
pub(crate) fn load(folder: &Path) -> anyhow::Result<Opened> {
    // Small folds, so that kills fall into some.
    let options = Options { fold_bytes: 1 << 20, ..Options::default() };
    let bed = Arc::new(Bed::open_with(folder, options)?);
    let holds = holds(&bed)?;
    Ok(Opened { holds, work: Box::new(move |round| work(&bed, round)) })
}

fn holds(bed: &Bed) -> anyhow::Result<Vec<(String, String)>> {
    let mut holds = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page =
            bed.block_on(bed.client().list(&Filter::default(), Order::OldestFirst, after, 1000))?;
        for view in page.rows {
            holds.extend(of_instance(bed, &view)?);
        }
        after = page.next;
        if after.is_none() {
            return Ok(holds);
        }
    }
}

fn of_instance(bed: &Bed, view: &View) -> anyhow::Result<Vec<(String, String)>> {
    let id = &view.id;
    let output = view.output.as_ref().and_then(Value::inline);
    let output =
        output.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    if id.kind() == Kind::Entity {
        return Ok(vec![(format!("sum:{id}"), output)]);
    }
    let mut holds = vec![(format!("id:{id}"), "there".to_owned())];
    if view.status == Status::Completed {
        holds.push((format!("out:{id}"), output));
    }
    if view.name == APPROVAL.name() {
        let history = bed.block_on(bed.client().history(id))?;
        let raised =
            history.iter().filter(|event| matches!(event, Event::EventRaised { .. })).count();
        if raised > 0 {
            holds.push((format!("raised:{id}"), raised.to_string()));
        }
    }
    Ok(holds)
}

fn work(bed: &Arc<Bed>, round: u32) -> anyhow::Result<()> {
    let spawn = |work: fn(&Bed, u32) -> anyhow::Result<()>| {
        let bed = bed.clone();
        thread::spawn(move || work(&bed, round))
    };
    let workers = [spawn(sequences), spawn(approvals), spawn(signals), spawn(folds)];
    for worker in workers {
        worker.join().map_err(|_| anyhow::anyhow!("a worker of the load panicked"))??;
    }
    Ok(())
}

/// Starts an instance. A host whose folds are behind the load says so, and is asked again.
fn start(bed: &Bed, name: &'static str, id: &str, input: u32) -> anyhow::Result<InstanceId> {
    loop {
        match bed.block_on(Bed::start(bed.client().clone(), name, id.to_owned(), input)) {
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::Busy)) => {
                thread::sleep(Duration::from_millis(5));
            }
            answer => return answer,
        }
    }
}

fn done(key: String, value: &str) {
    say(&Word::Done { key, value: value.to_owned() });
}

/// Starts a batch, waits for its end, purges half of it; and again.
fn sequences(bed: &Bed, round: u32) -> anyhow::Result<()> {
    for batch in 0.. {
        let prefix = format!("s-{round}-{batch}-");
        let mut ids = Vec::new();
        for number in 0..BATCH {
            say(&Word::Enters(Phase::Flush));
            let id = format!("{prefix}{}-{number}", number % 2);
            let id = start(bed, SEQUENCE.name(), &id, number % 4)?;
            say(&Word::Leaves(Phase::Flush));
            done(format!("id:{id}"), "there");
            ids.push((id, number % 4));
        }
        for (id, steps) in &ids {
            bed.block_on(bed.client().wait(id))?;
            done(format!("out:{id}"), &steps.to_string());
        }
        purge(bed, &format!("{prefix}0-"), ids.iter().step_by(2).map(|(id, _)| id))?;
    }
    Ok(())
}

fn purge<'a>(
    bed: &Bed,
    prefix: &str,
    ids: impl Iterator<Item = &'a InstanceId>,
) -> anyhow::Result<()> {
    let ids: Vec<_> = ids.collect();
    let keys = || ids.iter().flat_map(|id| ["id", "out"].map(|kind| format!("{kind}:{id}")));
    keys().for_each(|key| say(&Word::Purging { key }));
    say(&Word::Enters(Phase::Purge));
    let filter = Filter { id_prefix: Some(prefix.to_owned()), ..Filter::default() };
    let purged = bed.block_on(bed.client().bulk(&filter, &Bulk::Purge))?;
    say(&Word::Leaves(Phase::Purge));
    anyhow::ensure!(purged == ids.len() as u64, "{purged} of {} were purged", ids.len());
    keys().for_each(|key| say(&Word::Gone { key }));
    Ok(())
}

/// Instances that wait for an event, which is raised for every other one.
fn approvals(bed: &Bed, round: u32) -> anyhow::Result<()> {
    for number in 0.. {
        let id = format!("a-{round}-{number}");
        let id = start(bed, APPROVAL.name(), &id, 0)?;
        done(format!("id:{id}"), "there");
        if number % 2 == 0 {
            let event =
                Raised { name: "approve".into(), input: Value::text("7"), key: "once".into() };
            bed.block_on(bed.client().raise(&id, event.clone()))?;
            done(format!("raised:{id}"), "1");
            let view = bed.block_on(bed.client().wait(&id))?;
            let output =
                view.output.as_ref().and_then(Value::inline).context("it returned the event")?;
            done(format!("out:{id}"), &String::from_utf8_lossy(output));
        }
    }
    Ok(())
}

fn signals(bed: &Bed, _: u32) -> anyhow::Result<()> {
    let entity = InstanceId::entity("Counter", "torture")?;
    let key = format!("sum:{entity}");
    let before = bed.block_on(bed.client().entity_state(&entity))?;
    let before = before
        .as_ref()
        .and_then(Value::inline)
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let mut count: u64 = before.map_or(Ok(0), |text| text.parse())?;
    loop {
        count += 1;
        say(&Word::Asking { key: key.clone(), count });
        bed.block_on(bed.client().signal(&entity, "add", Value::text("1"), ""))?;
        say(&Word::Counted { key: key.clone(), count });
    }
}

fn folds(bed: &Bed, _: u32) -> anyhow::Result<()> {
    loop {
        say(&Word::Enters(Phase::Fold));
        bed.fold()?;
        say(&Word::Leaves(Phase::Fold));
        thread::sleep(Duration::from_millis(50));
    }
}
