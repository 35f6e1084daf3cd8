//! Histories against the present code, without a hub: would the instance go on?
//!
//! R1  Nothing is decided and nothing is done: the code runs as in a replay, in a process of its own, and every event it
//!     is given counts as played.
//! R2  What is told is the first decision that differs, by its number, with the line of the app that asks for it, or where
//!     the code stood when the history asked.
//! R3  Names and kinds of decisions count, as for the host. Inputs and due times do not.

use everstep_functions::program::Function;
use everstep_model::{Action, Completion, Event, EventId};
use serde_json::json;

use crate::{
    failure::Role,
    frame::{Frame, Traced, Turned},
    history::{self, History},
    orchestrator::{self, Decided, Machine, Made},
    process::{Company, Place as At, Pool, Reply},
    worker::Table,
};
pub use crate::{frame::Place, history::Unreadable};

/// An app whose code is there to be tried.
pub struct Rehearsal {
    pool: Pool,
    table: Table,
}

/// What came of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The code decides what is recorded.
    Same,
    /// It decides otherwise.
    Differs(Box<Difference>),
}

/// The first difference between a history and the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The number of the decision, if it is about one.
    pub number: Option<u32>,
    /// What the history has.
    pub expected: String,
    /// What the code does.
    pub found: String,
    /// Where in the code, if that can be told.
    pub place: Option<Place>,
}

impl Rehearsal {
    pub(crate) fn new<'a>(
        pool: Pool,
        functions: impl Iterator<Item = (&'a Function, bool)>,
    ) -> Self {
        Self { pool, table: Table::of(functions) }
    }

    /// Runs the code against a history, the JSON list that `GET instances/{id}/history` answers.
    pub async fn replay(&self, history: &str) -> Result<Outcome, Unreadable> {
        let history = history::read(history)?;
        let Some(function) = self.table.whole(Role::Orchestrator, &history.name) else {
            return Ok(Outcome::Differs(Box::new(self.unknown(&history.name))));
        };
        let mut machine = Machine::new(&history.name, &history.execution);
        let items = machine.rehearse(&history.events);
        if items.last().is_none_or(|count| *count == 0) {
            // No turn has been taken yet: whatever the code does will be right.
            return Ok(Outcome::Same);
        }
        let question = machine.rehearsed(&history.instance);
        let frame = json!({
            "t": "turn", "run": 0, "fn": function, "inv": "rehearsal", "trace": true,
            "from": question.from, "played": question.played, "items": question.items,
            "ctx": question.context,
        });
        let frame = Frame::of(&frame);
        let answer =
            self.pool.call(At::Calls, Company::Others, None, |id| frame.numbered(id)).await;
        let turned = match answer {
            Ok(Reply::Turn(turned)) => *turned,
            Ok(Reply::Call(_)) => unreachable!("a turn was asked for"),
            Err(loss) => {
                let found = format!("the process of the app ends: {loss:?}");
                let expected = "a replay of what is recorded".to_owned();
                return Ok(differs(None, expected, found, None));
            }
        };
        Ok(compared(machine, question.asked, turned, &history, &items))
    }

    fn unknown(&self, name: &str) -> Difference {
        let known = self.table.names(Role::Orchestrator);
        let found = if self.table.is_broken(name) {
            format!("`{name}` cannot be loaded; see above")
        } else if known.is_empty() {
            "the app has no orchestrators".to_owned()
        } else {
            format!("the app has no such orchestrator; it has: {}", known.join(", "))
        };
        Difference {
            number: None,
            expected: format!("the orchestrator `{name}`"),
            found,
            place: None,
        }
    }
}

fn differs(number: Option<u32>, expected: String, found: String, place: Option<Place>) -> Outcome {
    Outcome::Differs(Box::new(Difference { number, expected, found, place }))
}

/// A recorded decision, and how many items the code had been given before it.
struct Expected {
    decided: Decided,
    items: u32,
}

fn compared(
    mut machine: Machine,
    asked: orchestrator::Asked,
    mut turned: Turned,
    history: &History,
    items: &[u32],
) -> Outcome {
    let lines = Lines(turned.trace.take().unwrap_or_default());
    let raised = turned.error.as_ref().map(|error| error.message.clone());
    let answered = machine.answered(asked, turned);
    let (made, kept) = machine.trail();
    let expected: Vec<Expected> = history
        .events
        .iter()
        .zip(items)
        .filter_map(|(event, items)| {
            Some(Expected { decided: orchestrator::decided(event)?, items: *items })
        })
        .collect();
    let recorded_end = history.events.iter().rev().find_map(end_of_event);
    if let Some(outcome) = first(&expected, &made, &lines, raised.as_deref()) {
        return outcome;
    }
    let decision = match answered {
        Ok(decision) => decision,
        Err(reason) => {
            return differs(None, "the numbers of the history".to_owned(), reason, lines.last());
        }
    };
    let end = decision.actions.iter().find_map(end_of_action);
    if let Some(outcome) = ends(recorded_end, end, history, &lines) {
        return outcome;
    }
    let canceled = decision.actions.iter().find_map(|action| match action {
        Action::CancelTimer { timer } => Some(*timer),
        _ => None,
    });
    match (canceled, kept.first()) {
        (Some(EventId(number)), _) => differs(
            Some(number),
            format!("timer {number} goes on"),
            format!("timer {number} is canceled"),
            lines.last(),
        ),
        (None, Some(EventId(number))) => differs(
            Some(*number),
            format!("timer {number} is canceled"),
            format!("timer {number} goes on"),
            lines.last(),
        ),
        (None, None) => Outcome::Same,
    }
}

/// The first decision that is not the same on both sides.
fn first(
    expected: &[Expected],
    made: &[Made],
    lines: &Lines,
    raised: Option<&str>,
) -> Option<Outcome> {
    let mut expected: Vec<&Expected> = expected.iter().collect();
    let mut made: Vec<&Made> = made.iter().collect();
    expected.sort_by_key(|expected| expected.decided.id);
    made.sort_by_key(|made| made.decided.id);
    for position in 0..expected.len().max(made.len()) {
        let (recorded, present) = (expected.get(position), made.get(position));
        let (decided, items) = match (recorded, present) {
            (Some(recorded), Some(present)) if recorded.decided == present.decided => continue,
            (Some(recorded), Some(present)) if recorded.decided.id >= present.decided.id => {
                let is_same_number = recorded.decided.id == present.decided.id;
                let expected = if is_same_number {
                    told(&recorded.decided)
                } else {
                    format!("nothing with the number {}", present.decided.id.0)
                };
                return Some(differs(
                    Some(present.decided.id.0),
                    expected,
                    told(&present.decided),
                    lines.asked(present.leaf),
                ));
            }
            (None, Some(present)) => {
                return Some(differs(
                    Some(present.decided.id.0),
                    "nothing more: here the history ends".to_owned(),
                    told(&present.decided),
                    lines.asked(present.leaf),
                ));
            }
            (Some(recorded), _) => (&recorded.decided, recorded.items),
            (None, None) => continue,
        };
        let place = lines.after(items);
        let found = match raised {
            Some(error) => format!("the code fails: {error}"),
            None => "the code does not ask for it".to_owned(),
        };
        return Some(differs(Some(decided.id.0), told(decided), found, place));
    }
    None
}

fn told(decided: &Decided) -> String {
    match (decided.what, decided.name.as_str()) {
        (what, "") => what.to_owned(),
        (what, name) => format!("{what} `{name}`"),
    }
}

/// How an execution ends.
#[derive(Debug, PartialEq)]
enum End {
    Completed(String),
    Failed(String),
    Again,
    /// From outside: whatever the code was at is right.
    Terminated,
}

fn end_of_event(event: &Event) -> Option<End> {
    match event {
        Event::Completed { output } => Some(End::Completed(text(output))),
        Event::Failed { failure } => Some(End::Failed(failure.message.clone())),
        Event::Terminated { .. } => Some(End::Terminated),
        _ => None,
    }
}

fn end_of_action(action: &Action) -> Option<End> {
    let Action::Complete(completion) = action else { return None };
    match completion {
        Completion::Completed(output) => Some(End::Completed(text(output))),
        Completion::Failed(failure) => Some(End::Failed(failure.message.clone())),
        Completion::ContinueAsNew { .. } => Some(End::Again),
    }
}

fn text(value: &everstep_model::Value) -> String {
    value.inline().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

fn ends(
    recorded: Option<End>,
    present: Option<End>,
    history: &History,
    lines: &Lines,
) -> Option<Outcome> {
    let is_same = match (&recorded, &present) {
        // What an error says may name the time or an address.
        (Some(End::Terminated), _) | (Some(End::Failed(_)), Some(End::Failed(_))) => true,
        (recorded, present) => recorded == present,
    };
    if is_same {
        return None;
    }
    let told = |end: Option<End>| match end {
        None => format!("`{}` goes on", history.name),
        Some(End::Completed(output)) => format!("`{}` completes with {output}", history.name),
        Some(End::Failed(message)) => format!("`{}` fails: {message}", history.name),
        Some(End::Again) => format!("`{}` continues as new", history.name),
        Some(End::Terminated) => format!("`{}` is terminated", history.name),
    };
    Some(differs(None, told(recorded), told(present), lines.last()))
}

/// Where the code was.
struct Lines(Traced);

impl Lines {
    /// The line that asked for an action.
    fn asked(&self, leaf: u32) -> Option<Place> {
        self.0.asked.get(leaf as usize).cloned().flatten().or_else(|| self.last())
    }

    /// Where the code stood when it had been given so many items.
    fn after(&self, items: u32) -> Option<Place> {
        // Code that has returned stands nowhere: the line before is the next best.
        let mut before = self.0.stood.iter().rev().skip_while(|(index, _)| *index >= items);
        before.find_map(|(_, place)| place.clone())
    }

    /// The last that is known.
    fn last(&self) -> Option<Place> {
        self.0.stood.iter().rev().find_map(|(_, place)| place.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(id: u32, name: &str) -> Decided {
        Decided { id: EventId(id), what: "the activity", name: name.to_owned() }
    }

    fn expected(id: u32, name: &str, items: u32) -> Expected {
        Expected { decided: decided(id, name), items }
    }

    fn made(id: u32, name: &str) -> Made {
        Made { decided: decided(id, name), leaf: id }
    }

    fn place(line: u32) -> Place {
        let (file, function, text) = ("app.py".into(), "flow".into(), "yield".into());
        Place { file, line, function, text }
    }

    fn lines() -> Lines {
        let asked = vec![Some(place(10)), Some(place(11))];
        Lines(Traced { asked, stood: vec![(1, Some(place(20))), (3, Some(place(21)))] })
    }

    fn said(outcome: Option<Outcome>) -> String {
        match outcome {
            Some(Outcome::Differs(difference)) => {
                let Difference { number, expected, found, place } = *difference;
                let line = place.map_or(0, |place| place.line);
                format!("{number:?}: {expected} / {found} at {line}")
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_first_number_that_differs_is_told_with_its_line() {
        let history = [expected(0, "A", 2), expected(1, "B", 4)];
        let first = |made: &[Made]| said(first(&history, made, &lines(), None));
        assert_eq!(first(&[made(0, "A"), made(1, "B")]), "None");
        assert_eq!(
            first(&[made(0, "A"), made(1, "C")]),
            "Some(1): the activity `B` / the activity `C` at 11"
        );
        assert_eq!(
            first(&[made(0, "A"), made(1, "B"), made(2, "C")]),
            "Some(2): nothing more: here the history ends / the activity `C` at 21"
        );
        assert_eq!(
            first(&[made(0, "A")]),
            "Some(1): the activity `B` / the code does not ask for it at 21"
        );
        assert_eq!(first(&[]), "Some(0): the activity `A` / the code does not ask for it at 20");
    }

    #[test]
    fn ends_differ_unless_both_fail_or_somebody_else_ended_it() {
        let history = History {
            instance: everstep_model::InstanceId::from_stored("a"),
            name: "flow".into(),
            execution: everstep_model::ExecutionId::new("e"),
            events: Vec::new(),
        };
        let ends = |recorded, present| said(ends(recorded, present, &history, &lines()));
        let completed = |text: &str| Some(End::Completed(text.to_owned()));
        let failed = |text: &str| Some(End::Failed(text.to_owned()));
        assert_eq!(ends(None, None), "None");
        assert_eq!(ends(Some(End::Terminated), completed("1")), "None");
        assert_eq!(ends(failed("a"), failed("b")), "None");
        assert_eq!(
            ends(completed("1"), completed("2")),
            "None: `flow` completes with 1 / `flow` completes with 2 at 21"
        );
        assert_eq!(
            ends(None, failed("NameError")),
            "None: `flow` goes on / `flow` fails: NameError at 21"
        );
    }
}
