//! A held partition: clients change instances, and no user code runs.
//!
//! U1  A held partition delivers messages, so that none overtakes another, and keeps them in durable inboxes.
//! U2  What ends or stops an instance takes effect at once, and so does a rewind; all else in the turns after the release.
//! U3  Its alarms do not ring, and its timers that are due already wait for the release as well.

use everstep_engine::Incoming;
use everstep_model::{Body, InstanceId, Kind};

use super::{Output, Partition};

impl Partition {
    /// Holds it from the beginning. To be called before [`Partition::resume`].
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Everything outstanding is taken up, as after a start.
    pub(super) fn release(&mut self) {
        if std::mem::replace(&mut self.held, false) {
            self.look_at_all();
        }
    }

    /// The part of a turn that needs no code.
    pub(super) fn held_turn(&mut self, id: &InstanceId, out: &mut Vec<Output>) {
        let Some(known) = self.known(id) else { return };
        let mail = std::mem::take(&mut known.mail);
        let incoming: Vec<_> =
            mail.into_iter().map(|message| Incoming { held: None, message }).collect();
        if self.rewinds(id, &incoming) {
            self.rewind_turn(id, incoming, out);
            return;
        }
        let (now, later): (Vec<_>, Vec<_>) =
            incoming.into_iter().partition(|incoming| stops(&incoming.message.body));
        self.put_aside(id, later);
        if !now.is_empty() && id.kind() == Kind::Orchestration {
            self.run(id, now, None, out);
        }
    }
}

/// Whether a message keeps code from running, so that acting on it asks no code.
fn stops(body: &Body) -> bool {
    matches!(body, Body::Suspend { .. } | Body::Terminate { .. })
}
