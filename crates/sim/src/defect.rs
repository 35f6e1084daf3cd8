//! Planted defects: a simulator that catches nothing proves nothing.
//!
//! Each is a lie told at a seam between partition, store, worker and clients; the code under test stays as it is.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use everstep_model::Action;
use everstep_worker::{Decision, TurnReply, TurnRequest};

use crate::host::Tamper;

macro_rules! defects {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// One defect.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Defect { $($(#[doc = $doc])* $name,)* }

        impl Defect {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

defects! {
    /// Effects are released before their group is flushed.
    ReleaseBeforeFlush,
    /// Clients are answered before the group is flushed.
    ReplyBeforeFlush,
    /// A group is reported durable that was not flushed.
    DurableBeforeFlush,
    /// Recovery does not give the last records.
    RecoveryStopsShort,
    /// A message to another partition is dropped and not sent again.
    SendLost,
    /// A message that comes twice is taken for a new one.
    DuplicateTaken,
    /// A message is dropped and its followers are taken.
    MessageSkipped,
    /// A sender forgets a message before the receiver has it durably.
    AcknowledgedTooEarly,
    /// Locks are not given back.
    UnlockLost,
    /// The result of an activity is dropped.
    ActivityLost,
    /// The result of an activity answers another call.
    AnswerOfAnother,
    /// The answer of an entity is dropped.
    EntityAnswerLost,
    /// Only the first operation of a batch is answered, though all of them changed the state.
    EntityFailureKept,
    /// Rows that were asked for never come.
    LoadLost,
    /// A row that is there is not found.
    RowMissed,
    /// An older version of a row is found.
    StaleRow,
    /// Two events of a stored history have changed places.
    HistoryOutOfOrder,
    /// Memory is let go before the fold is in the tables.
    FoldedBeforeFold,
    /// A fold is written without noting how far it goes.
    FoldWithoutApplied,
    /// A fold leaves a row out.
    FoldLosesRow,
    /// A fold does not delete what was purged.
    PurgeForgotten,
    /// A fold keeps an old version of the partition's own state.
    MetaForgotten,
    /// A fold leaves histories out.
    ChunkLost,
    /// A fold leaves large values out.
    PayloadLost,
    /// Rows do not say when they need attention.
    WakeNotStored,
    /// Nobody asks the tables what is due after a start.
    WakeForgotten,
    /// Timers ring early.
    TimerEarly,
    /// A request of a client is carried out twice.
    RequestTwice,
    /// The worker forgets an action.
    ActionForgotten,
    /// The worker gives an id a second time.
    IdReused,
    /// The worker sends a signal twice.
    SignalRepeated,
}

/// The defects of a worker.
pub(crate) fn tamper(defect: Option<Defect>) -> Option<Tamper> {
    let defect = defect?;
    let change: fn(&mut Decision) = match defect {
        Defect::ActionForgotten => |decision| {
            let at = decision
                .actions
                .iter()
                .position(|action| matches!(action, Action::CallActivity { .. }));
            if let Some(at) = at {
                decision.actions.remove(at);
            }
        },
        Defect::IdReused => |decision| {
            for action in &mut decision.actions {
                if let Action::CallActivity { id, .. } = action {
                    id.0 = id.0.saturating_sub(1);
                }
            }
        },
        Defect::SignalRepeated => |decision| {
            let signals = decision.actions.iter().filter_map(|action| match action {
                Action::SignalEntity { entity, name, input, due, id } => {
                    let mut id = *id;
                    id.0 += 500;
                    Some(Action::SignalEntity {
                        id,
                        entity: entity.clone(),
                        name: name.clone(),
                        input: input.clone(),
                        due: *due,
                    })
                }
                _ => None,
            });
            let again: Vec<_> = signals.take(1).collect();
            let at = decision.actions.len()
                - usize::from(matches!(decision.actions.last(), Some(Action::Complete(_))));
            decision.actions.splice(at..at, again);
        },
        _ => return None,
    };
    let turns = AtomicU32::new(0);
    Some(Arc::new(move |_: &TurnRequest<'_>, reply: TurnReply| match reply {
        TurnReply::Decided(mut decision) => {
            if turns.fetch_add(1, Ordering::Relaxed) % 3 == 1 {
                change(&mut decision);
            }
            TurnReply::Decided(decision)
        }
        other => other,
    }))
}
