//! `logs`: what happened to an instance, and what happens.

use std::time::Duration;

use http::Method;

use super::{
    World,
    source::{Source, is_end},
    story::Story,
};
use crate::{
    args::{Format, Logs},
    client::{Call, Events},
    console::{Item, compact},
    fault::{Exit, Fault},
};

/// The stream tells of a changed status; between two of these the history is looked at this often.
const TICK: Duration = Duration::from_secs(1);

/// `everstep logs`
pub(crate) async fn logs(logs: &Logs, world: &mut World) -> Result<Exit, Fault> {
    let (source, id) = Source::open(&logs.source, &logs.common.connect, world)?;
    let mut told = Told::default();
    told.go_on(&source.history(&id).await?, world)?;
    let Source::Hub(api) = &source else { return Ok(Exit::Ok) };
    if !logs.follow {
        return Ok(Exit::Ok);
    }
    if source.is_still() {
        world.console.note("no host runs, so nothing more will happen; `everstep start` starts it");
        return Ok(Exit::Ok);
    }
    let mut events = api.events(Call::instance(Method::GET, &id, "/stream").patient()).await?;
    loop {
        let is_over = moved(&mut events).await?;
        told.go_on(&source.history(&id).await?, world)?;
        if is_over {
            return Ok(Exit::Ok);
        }
    }
}

/// Waits for the next event of the stream or the next tick; whether it was the last.
async fn moved(events: &mut Events) -> Result<bool, Fault> {
    match tokio::time::timeout(TICK, events.next()).await {
        Err(_tick) => Ok(false),
        Ok(event) => match event? {
            None => Ok(true),
            // What is no status says that the instance is gone; then the stream ends.
            Some(data) => {
                Ok(Item::parse(&data).is_ok_and(|status| is_end(status.text("runtimeStatus"))))
            }
        },
    }
}

/// How much of a history has been printed.
#[derive(Default)]
struct Told {
    story: Story,
    events: usize,
    /// The beginning of the execution, by which another one is recognized.
    first: Option<Item>,
}

impl Told {
    fn go_on(&mut self, history: &[Item], world: &mut World) -> Result<(), Fault> {
        if self.first.as_ref() != history.first() || history.len() < self.events {
            *self = Self { first: history.first().cloned(), ..Self::default() };
        }
        for event in &history[self.events..] {
            let told = self.story.tell(event);
            let line = match world.console.asked_format() {
                Some(Format::Json | Format::Jsonl) => Some(compact(event.raw())),
                _ => told.map(|told| format!("{}  {told}", stamp(event.text("Timestamp")))),
            };
            if let Some(line) = line {
                world.console.data(&line)?;
            }
        }
        self.events = history.len();
        Ok(())
    }
}

/// A time to the millisecond, so that lines stand below each other.
fn stamp(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => format!("{time:.3}"),
        Err(_) => time.to_owned(),
    }
}
