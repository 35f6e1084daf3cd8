//! Who listens to turns?

use std::sync::{Arc, Mutex};

use everstep_model::{Event, Status};
use everstep_runtime::{
    Options,
    lifecycle::{Listener, Turned},
};

use crate::support::{Bed, Script, end, quiet, start};

/// Keeps what it hears.
#[derive(Default)]
struct Ears(Mutex<Vec<Turned>>);

impl Listener for Ears {
    fn turned(&self, turn: Turned) {
        self.0.lock().unwrap().push(turn);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_hears_of_each_durable_turn_in_order() {
    let (bed, script, ears) = (Bed::new(), Script::new(), Arc::new(Ears::default()));
    let host = bed.open(&script, Options { listener: Some(ears.clone()), ..quiet() });
    start(&host.client(), "i", "call echo 1;say two;call echo 2").await;
    end(&host.client(), "i").await;
    host.stop().await.unwrap();
    let turns = ears.0.lock().unwrap();
    assert!(turns.iter().all(|turn| turn.instance.as_str() == "i"));
    let mut told: Vec<_> = turns.iter().map(|turn| turn.status).collect();
    told.dedup();
    assert_eq!(told, [Status::Pending, Status::Running, Status::Completed]);
    let events: usize = turns.iter().map(|turn| turn.events.len()).sum();
    // Started, two calls with their ends, the completion, and the begin of each turn.
    let begins = turns.iter().flat_map(|turn| &turn.events);
    let begins = begins.filter(|event| matches!(event, Event::TurnStarted { .. })).count();
    assert_eq!(events - begins, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_before_a_restart_is_not_told_again() {
    let (bed, script) = (Bed::new(), Script::new());
    let host = bed.open(&script, quiet());
    start(&host.client(), "i", "call echo 1").await;
    end(&host.client(), "i").await;
    drop(host);
    let ears = Arc::new(Ears::default());
    let host = bed.open(&script, Options { listener: Some(ears.clone()), ..quiet() });
    start(&host.client(), "j", "call echo 1").await;
    end(&host.client(), "j").await;
    host.stop().await.unwrap();
    assert!(ears.0.lock().unwrap().iter().all(|turn| turn.instance.as_str() == "j"));
}
