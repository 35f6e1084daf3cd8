//! The limit of one value, wherever one enters.
//!
//! V1  What a client sends is refused (`client.rs`), what code decides ends its execution (the engine), what an activity
//!     or an operation returns fails that attempt or operation. Nothing is cut off.
//! V2  What is in a history is never measured again: a lower limit does not make old instances fail.
//! V3  A value beyond a quarter of the limit is told to the log.

use everstep_engine::{EntityAnswer, EntityTurn, Instance, Limits};
use everstep_model::{Commit, EntitySend, EventId, Failure, InstanceId, Outcome, Value, kinds};

use super::{Partition, Slot};

impl Partition {
    /// How an attempt of an activity ended, unless what it says is too large.
    pub(super) fn measured(
        &self,
        id: &InstanceId,
        call: (u32, EventId),
        outcome: Outcome,
    ) -> Outcome {
        let (bytes, limit) = (outcome_bytes(&outcome), self.options.limits.value_bytes);
        if bytes <= limit {
            return outcome;
        }
        let known = match self.slots.get(id) {
            Some(Slot::Known(known)) => known.instance.tasks.get(&call),
            Some(Slot::Loading(_)) | None => None,
        };
        let name =
            known.map_or_else(|| format!("call {}", call.1.0), |task| format!("`{}`", task.name));
        too_large(&format!("activity {name} returned"), bytes, limit)
    }

    /// Tells the log of large values that a commit brings.
    pub(super) fn warn_of_large(&self, id: &InstanceId, commit: &Commit) {
        let limit = self.options.limits.value_bytes;
        let state = commit.entity.iter().filter_map(|change| change.state.as_ref()?.as_ref());
        let all = commit.payloads.iter().map(|(_, bytes)| bytes.len()).chain(state.map(Value::len));
        if let Some(bytes) = all.max().filter(|bytes| *bytes > limit / 4) {
            tracing::warn!(instance = %id, bytes, limit, "a value comes near the limit of the hub; store it elsewhere and pass a reference");
        }
    }
}

/// What an entity's operations came to, unless something of it is too large.
///
/// A result that is too large fails its own operation. A state or a message that is too large fails all that ran
/// together, because which of them made it so is not known; they leave no trace then.
pub(super) fn measured_answer(
    instance: &Instance,
    limits: &Limits,
    turn: &EntityTurn,
    mut answer: EntityAnswer,
) -> EntityAnswer {
    let limit = limits.value_bytes;
    let state = answer.state.as_ref().map_or(0, Value::len);
    let sent = answer.sends.iter().map(send_bytes).max().unwrap_or(0);
    let whole = if state > limit && answer.state != instance.rare.state {
        Some((format!("the operations of `{}` made its state grow to", instance.id), state))
    } else {
        (sent > limit).then(|| (format!("the operations of `{}` sent", instance.id), sent))
    };
    if let Some((what, bytes)) = whole {
        let failed = too_large(&what, bytes, limit);
        answer.results.iter_mut().for_each(|result| *result = failed.clone());
        answer.state.clone_from(&instance.rare.state);
        answer.sends.clear();
        return answer;
    }
    for (result, (_, operation)) in answer.results.iter_mut().zip(&turn.operations) {
        let bytes = outcome_bytes(result);
        if bytes > limit {
            let what = format!(
                "operation `{}` of `{}` did its work and returned",
                operation.name, instance.id
            );
            *result = too_large(&what, bytes, limit);
        }
    }
    answer
}

/// Trying again would bring the same value.
fn too_large(what: &str, bytes: usize, limit: usize) -> Outcome {
    let text =
        format!("{what} {bytes} bytes, more than the hub allows for one value ({limit}); {REMEDY}");
    Outcome::Failed(Box::new(Failure::new(kinds::TOO_LARGE, text).fatal()))
}

/// What to do about a value that is too large.
pub(crate) const REMEDY: &str =
    "store it elsewhere and pass a reference, or raise the limit `value_bytes`";

fn send_bytes(send: &EntitySend) -> usize {
    match send {
        EntitySend::Signal { input, .. } | EntitySend::Start { input, .. } => input.len(),
    }
}

fn outcome_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Completed(value) => value.len(),
        Outcome::Failed(failure) => failure_bytes(failure),
    }
}

fn failure_bytes(failure: &Failure) -> usize {
    let inner = failure.inner.as_ref().map_or(0, |inner| failure_bytes(inner));
    failure.message.len() + failure.stack.len() + inner
}
