//! What an orchestrator says through `tracing` is heard once, however often it is replayed.

mod script;

use std::sync::{Arc, Mutex};

use everstep::{Activity, App, Context, Failure};
use script::{Script, task_ok};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

const A: Activity<u32, u32> = Activity::new("A");

/// Collects the texts of events and spans.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no test panics while it holds it"))
    }

    fn note(&self, what: impl FnOnce(&mut Text)) {
        let mut text = Text(String::new());
        what(&mut text);
        self.0.lock().expect("no test panics while it holds it").push(text.0);
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        write!(self.0, "{}={value:?} ", field.name()).expect("a String takes every write");
    }
}

impl Subscriber for Heard {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.note(|text| span.record(text));
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        self.note(|text| event.record(text));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn what_was_said_is_not_said_again_in_a_replay() {
    let app = App::new("test").orchestrator("Main", async |ctx: Context, n: u32| {
        tracing::info!("first");
        let n = ctx.call(A, n).await?;
        tracing::info!(replaying = ctx.is_replaying(), "second");
        Ok::<u32, Failure>(n)
    });
    let mut script = Script::new(app, "Main", "1");
    script.turn([]);
    // The script takes the turn by a rebuilt execution and by the resident one.
    let heard = Heard::default();
    tracing::subscriber::with_default(heard.clone(), || script.turn([task_ok(0, "1")]));
    let turn = [
        "name=\"Main\" instance=\"order-7\" execution=1 ".to_owned(),
        "message=second replaying=false ".to_owned(),
    ];
    assert_eq!(heard.take(), [turn.clone(), turn].concat());
}
