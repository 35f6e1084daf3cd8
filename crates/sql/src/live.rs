//! What lies in the `live` blob of a row.

use everstep_engine::Instance;
use everstep_model::{Body, EventId, Iid, InstanceId, Wait};
use everstep_store::BoxError;
use serde_json::{Map, Value as Json, json};

use crate::text;

/// A decoded blob. What stands in columns of its own is not in it.
pub(crate) struct Live(Instance);

impl Live {
    pub(crate) fn decode(blob: &[u8]) -> Result<Self, BoxError> {
        let live = Instance::decode_live(Iid(0), InstanceId::from_stored(""), blob);
        live.map(Self).map_err(|error| format!("a live blob cannot be read: {error}").into())
    }

    /// How many events the history has.
    pub(crate) fn events(&self) -> u32 {
        self.0.history_len
    }

    pub(crate) fn is_open(&self, task: (u32, EventId)) -> bool {
        self.0.tasks.contains_key(&task)
    }

    /// The timers, as a JSON list.
    pub(crate) fn timers(&self) -> String {
        let timers = self.0.timers.iter().map(|(id, timer)| {
            json!({
                "event_id": id.0,
                "fire_at": timer.fire_at.to_string(),
                "created_at": timer.since.to_string(),
                "attempt": timer.origin.map(|origin| origin.attempt),
            })
        });
        timers.collect::<Json>().to_string()
    }

    /// The raised events in the inbox, as a JSON list.
    pub(crate) fn buffered(&self) -> String {
        let raised = self.0.inbox.iter().filter_map(|(_, message)| match &message.body {
            Body::Raised { name, input, key } => {
                let mut line = Map::new();
                line.insert("name".into(), name.clone().into());
                if !key.is_empty() {
                    line.insert("key".into(), key.clone().into());
                }
                text::put_value(&mut line, "input", input);
                Some(Json::Object(line))
            }
            _ => None,
        });
        raised.collect::<Json>().to_string()
    }

    /// How many messages wait in the inbox.
    pub(crate) fn queue(&self) -> u32 {
        self.0.inbox.len() as u32
    }

    /// Who holds the entity's lock.
    pub(crate) fn locked_by(&self) -> Option<String> {
        self.0.rare.lock.as_ref().map(|caller| caller.instance.as_str().to_owned())
    }

    /// Why the instance is set aside, if it is.
    pub(crate) fn parked(&self) -> Option<String> {
        self.0.rare.parked.as_ref().map(|parked| parked.reason.clone())
    }

    /// What the orchestration waits for, in words.
    pub(crate) fn waiting_for(&self) -> Option<String> {
        let (wait, _) = self.0.wait.as_ref()?;
        Some(self.words(wait))
    }

    fn words(&self, wait: &Wait) -> String {
        let list = |waits: &[Wait], between: &str| {
            let waits: Vec<_> = waits.iter().map(|wait| self.words(wait)).collect();
            format!("({})", waits.join(between))
        };
        match wait {
            Wait::Task(id) => self.task(*id),
            Wait::Event(name) => format!("event {name}"),
            Wait::All(waits) => list(waits, " and "),
            Wait::Any(waits) => list(waits, " or "),
        }
    }

    fn task(&self, id: EventId) -> String {
        let live = &self.0;
        let activity = live.tasks.iter().find(|((_, task), _)| *task == id);
        if let Some((_, task)) = activity {
            format!("activity {}", task.name)
        } else if let Some(timer) = live.timers.get(&id) {
            format!("timer {}", timer.fire_at)
        } else if let Some(child) = live.rare.children.get(&id) {
            format!("child {}", child.instance.as_str())
        } else if let Some(call) = live.rare.calls.get(&id) {
            format!("entity {} {}", call.entity.as_str(), call.name)
        } else if live.rare.locks.contains_key(&id) {
            format!("lock #{}", id.0)
        } else {
            format!("task #{}", id.0)
        }
    }
}
