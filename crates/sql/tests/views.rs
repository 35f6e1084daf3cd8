//! What the views show, of tables and of an overlay.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use everstep_model::{
    Body, Caller, Commit, EntityChange, Event, EventId, ExecutionId, Failure, InstanceId, Lock,
    PayloadRef, Purged, RowChange, Value, Wait,
};
use everstep_sql::{Limits, Overlay};
use everstep_store::Tables as _;
use support::{Hub, Making, at, broke, completed, done, lines, overlay, payload, raised, task};

/// An order that was reserved, failed to be charged, and waits for a person or a day.
fn order(n: u64, id: &str) -> Making {
    let mut order = Making::started(n, id, "Checkout", "{\"total\":17}");
    order.turn(10, vec![task(0, "Reserve", "\"a\""), task(1, "Charge", "17")]);
    order.turn(20, vec![done(0, "\"ok\"")]);
    order.turn(30, vec![broke(1, "Declined", "no money")]);
    let timer = Event::TimerCreated { id: EventId(2), fire_at: at(86_400), origin: None };
    order.turn(31, vec![raised("Note", "\"hurry\""), timer, task(3, "Ask", "")]);
    let wait = Wait::Any(vec![Wait::Task(EventId(2)), Wait::Event("Approval".into())]);
    let row = RowChange {
        wait: Some(wait),
        custom_status: Some(payload("\"asking\"")),
        ..RowChange::default()
    };
    order.commit(Commit { row, now: at(31), ..Commit::default() });
    order.accept(Body::Raised { name: "Hint".into(), input: payload("1"), key: "k".into() });
    order
}

fn counter() -> Making {
    let mut counter = Making::new(50, "@counter@a@b");
    let caller = |instance: &str| Caller {
        instance: InstanceId::from_stored(instance),
        execution_id: ExecutionId::new("e1"),
        task: EventId(4),
    };
    let entity = EntityChange {
        state: Some(Some(payload("{\"n\":3}"))),
        lock: Some(Some(caller("order-1"))),
        keys: Vec::new(),
    };
    counter.commit(Commit { entity: Some(entity), now: at(60), ..Commit::default() });
    let set = vec![InstanceId::from_stored("@counter@a@b")];
    counter.accept(Body::Lock(Box::new(Lock { owner: caller("order-2"), set, index: 0 })));
    counter
}

#[test]
fn instances_show_what_the_tables_and_their_blobs_hold() {
    let mut hub = Hub::new();
    let mut failed = Making::started(2, "order-2", "Checkout", "\"x\"");
    let failure = Box::new(Failure::new("Declined", "no \"money\""));
    failed.turn(40, vec![Event::Failed { failure }]);
    hub.fold(vec![order(1, "order-1").folded(), failed.folded(), counter().folded()], Vec::new());
    assert_eq!(
        hub.lines(
            "select instance, kind, name, version, status, created, completed, execution, execution_id, input, output,
             custom_status, failure_type, failure_message, waiting_for, parked from instances order by instance"
        ),
        [
            "@counter@a@b entity counter - Running 2026-11-21T04:05:50.0000000Z - 0  - {\"n\":3} - - - - -",
            "order-1 orchestration Checkout - Running 2026-11-21T04:05:01.0000000Z - 1 e1 {\"total\":17} - \"asking\" \
             - - (timer 2026-11-22T04:05:00.0000000Z or event Approval) -",
            "order-2 orchestration Checkout - Failed 2026-11-21T04:05:02.0000000Z 2026-11-21T04:05:40.0000000Z 1 e1 \
             \"x\" - - Declined no \"money\" - -",
        ]
    );
    assert_eq!(
        hub.lines(
            "select instance from instances where created_ticks >= ticks('2026-11-21 04:05:02')"
        ),
        ["order-2", "@counter@a@b"]
    );
    assert_eq!(
        hub.lines("select input ->> '$.total' from instances where instance = 'order-1'"),
        ["17"]
    );
}

#[test]
fn a_history_is_a_line_for_each_event() {
    let mut hub = Hub::new();
    hub.fold(vec![order(1, "order-1").folded()], Vec::new());
    assert_eq!(
        hub.lines(
            "select execution, seq, event, event_id, answers, substr(at, 15, 5), name, input, output, failure_type,
             failure_message, due from history where instance = 'order-1'"
        ),
        [
            "1 0 ExecutionStarted - - 05:01 Checkout {\"total\":17} - - - -",
            "1 1 OrchestratorStarted - - 05:01 - - - - - -",
            "1 2 OrchestratorStarted - - 05:10 - - - - - -",
            "1 3 TaskScheduled 0 - 05:10 Reserve \"a\" - - - -",
            "1 4 TaskScheduled 1 - 05:10 Charge 17 - - - -",
            "1 5 OrchestratorStarted - - 05:20 - - - - - -",
            "1 6 TaskCompleted - 0 05:20 - - \"ok\" - - -",
            "1 7 OrchestratorStarted - - 05:30 - - - - - -",
            "1 8 TaskFailed - 1 05:30 - - - Declined no money -",
            "1 9 OrchestratorStarted - - 05:31 - - - - - -",
            "1 10 EventRaised - - 05:31 Note \"hurry\" - - - -",
            "1 11 TimerCreated 2 - 05:31 - - - - - 2026-11-22T04:05:00.0000000Z",
            "1 12 TaskScheduled 3 - 05:31 Ask - - - - -",
        ]
    );
    assert_eq!(
        hub.lines("select failure ->> '$[1].message' from history where failure is not null"),
        ["no route"]
    );
}

#[test]
fn activities_timers_events_and_entities_are_shown() {
    let mut hub = Hub::new();
    hub.fold(vec![order(1, "order-1").folded(), counter().folded()], Vec::new());
    assert_eq!(
        hub.lines(
            "select instance, execution, event_id, name, attempt, state, substr(scheduled_at, 15, 5),
             substr(ended_at, 15, 5), input, output, failure_message from activities"
        ),
        [
            "order-1 1 0 Reserve 1 completed 05:10 05:20 \"a\" \"ok\" -",
            "order-1 1 1 Charge 1 failed 05:10 05:30 17 - no money",
            "order-1 1 3 Ask 1 open 05:31 - - - -",
        ]
    );
    assert_eq!(
        hub.lines("select instance, name, execution, event_id, fire_at, substr(created_at, 15, 5), attempt from timers"),
        ["order-1 Checkout 1 2 2026-11-22T04:05:00.0000000Z 05:31 -"]
    );
    assert_eq!(
        hub.lines("select instance, name, state, key, input, execution, seq, substr(at, 15, 5) from events"),
        ["order-1 Note consumed - \"hurry\" 1 10 05:31", "order-1 Hint buffered k 1 - - -"]
    );
    assert_eq!(
        hub.lines("select instance, name, key, state, locked_by, queue_length from entities"),
        ["@counter@a@b counter a@b {\"n\":3} order-1 1"]
    );
}

#[test]
fn an_activity_that_nobody_waits_for_any_more_is_dropped() {
    let mut hub = Hub::new();
    let mut order = order(1, "order-1");
    order.commit(Commit { closed: vec![(1, EventId(3))], now: at(40), ..Commit::default() });
    hub.fold(vec![order.folded()], Vec::new());
    assert_eq!(hub.lines("select state from activities where event_id = 3"), ["dropped"]);
}

#[test]
fn what_is_not_folded_is_laid_over_the_tables() {
    let mut hub = Hub::new();
    let (mut old, mut same) = (order(1, "order-1"), order(2, "order-2"));
    hub.fold(vec![old.hand_over(), same.hand_over()], Vec::new());
    old.turn(50, vec![done(3, "\"yes\""), completed("\"paid\"")]);
    let fresh = order(3, "order-3");
    let overlay = overlay(vec![old.folded(), fresh.folded()]);
    let mut session = hub.session(&overlay);
    let mut ask = |sql: &str| lines(&session.query(sql, &[], Limits::default()).unwrap());
    assert_eq!(
        ask("select instance, status, output from instances order by instance"),
        ["order-1 Completed \"paid\"", "order-2 Running -", "order-3 Running -"]
    );
    assert_eq!(
        ask(
            "select seq, event, substr(at, 15, 5) from history where instance = 'order-1' and seq > 11"
        ),
        [
            "12 TaskScheduled 05:31",
            "13 OrchestratorStarted 05:50",
            "14 TaskCompleted 05:50",
            "15 ExecutionCompleted 05:50"
        ]
    );
    assert_eq!(
        ask("select instance, count(*) from history group by instance order by instance"),
        ["order-1 16", "order-2 13", "order-3 13"]
    );
    assert_eq!(
        ask("select instance, state from activities where name = 'Ask' order by instance"),
        ["order-1 completed", "order-2 open", "order-3 open"]
    );
    assert_eq!(ask("select instance from timers order by 1"), ["order-2", "order-3"]);
}

#[test]
fn a_fold_between_overlay_and_session_shows_nothing_twice_and_nothing_newer() {
    let mut hub = Hub::new();
    let mut order = order(1, "order-1");
    hub.fold(vec![order.hand_over()], Vec::new());
    order.turn(50, vec![done(3, "\"yes\"")]);
    let overlay = overlay(vec![order.folded()]);
    order.turn(60, vec![completed("\"paid\"")]);
    hub.fold(vec![order.hand_over()], Vec::new());
    let mut session = hub.session(&overlay);
    let mut ask = |sql: &str| lines(&session.query(sql, &[], Limits::default()).unwrap());
    assert_eq!(ask("select status, output from instances"), ["Running -"]);
    assert_eq!(ask("select count(*), max(seq) from history"), ["15 14"]);
    assert_eq!(ask("select count(*) from activities"), ["3"]);
}

#[test]
fn a_session_keeps_to_its_state_while_the_host_folds() {
    let mut hub = Hub::new();
    let mut order = order(1, "order-1");
    hub.fold(vec![order.hand_over()], Vec::new());
    let mut session = hub.session(&Overlay::default());
    order.turn(50, vec![completed("\"paid\"")]);
    hub.fold(vec![order.hand_over()], Vec::new());
    let status = session.query("select status from instances", &[], Limits::default()).unwrap();
    assert_eq!(lines(&status), ["Running"]);
    assert_eq!(hub.lines("select status from instances"), ["Completed"]);
}

#[test]
fn what_is_purged_is_nowhere_whether_it_is_folded_deleted_or_not() {
    let mut hub = Hub::new();
    let many: Vec<_> = (1..=300).map(|n| order(n, &format!("order-{n}"))).collect();
    hub.fold(many.iter().map(Making::folded).collect(), Vec::new());
    let purged = |n: u64| Purged { iid: many[n as usize - 1].instance.iid, execution: 1 };
    hub.fold(Vec::new(), (1..=298).map(purged).collect());
    let all = "select (select count(*) from instances), (select count(*) from history),
        (select count(*) from activities), (select count(*) from timers), (select count(*) from events)";
    assert_eq!(hub.lines(all), ["2 26 6 2 4"], "300 are too many to be deleted at once");
    let gone = Overlay { rows: Vec::new(), purged: vec![purged(299)] };
    let mut session = hub.session(&gone);
    let found = session.query(all, &[], Limits::default()).unwrap();
    assert_eq!(lines(&found), ["1 13 3 1 2"], "purged in memory");
    drop(session);
    while hub.tables.purge_step().unwrap() {}
    assert_eq!(hub.lines(all), ["2 26 6 2 4"]);
}

#[test]
fn an_id_that_is_used_again_shows_the_new_instance_only() {
    let mut hub = Hub::new();
    let old = order(1, "order-1");
    hub.fold(vec![old.folded()], Vec::new());
    let new = Making::started(9, "order-1", "Checkout", "\"again\"");
    let overlay = Overlay {
        rows: vec![new.folded()],
        purged: vec![Purged { iid: old.instance.iid, execution: 1 }],
    };
    let mut session = hub.session(&overlay);
    let found = session.query(
        "select input, (select count(*) from history h where h.instance = i.instance) from instances i",
        &[],
        Limits::default(),
    );
    assert_eq!(lines(&found.unwrap()), ["\"again\" 2"]);
}

#[test]
fn an_execution_that_continued_as_new_hides_the_former_one() {
    let mut hub = Hub::new();
    let mut order = order(1, "order-1");
    hub.fold(vec![order.hand_over()], Vec::new());
    order.begin(70, "Checkout", "\"second\"");
    let mut session = hub.session(&overlay(vec![order.folded()]));
    let found =
        session.query("select execution, event, input from history", &[], Limits::default());
    assert_eq!(
        lines(&found.unwrap()),
        ["2 ExecutionStarted \"second\"", "2 OrchestratorStarted -"]
    );
}

#[test]
fn values_that_are_stored_apart_or_are_no_text_are_shown() {
    let mut hub = Hub::new();
    let large = format!("\"{}\"", "x".repeat(9000));
    let make = |n: u64, id: &str| {
        let mut order = Making::started(n, id, "Checkout", "");
        let apart = |number| PayloadRef {
            iid: order.instance.iid,
            execution: 1,
            n: number,
            len: large.len() as u32,
            crc: 0,
        };
        let (input, output) = (apart(0), apart(1));
        let scheduled = Event::TaskScheduled {
            id: EventId(0),
            name: "Pack".into(),
            input: Value::Ref(input),
            tags: everstep_model::Tags::new(),
            origin: None,
        };
        let ended = Event::TaskEnded {
            task: EventId(0),
            outcome: everstep_model::Outcome::Completed(Value::Inline(vec![0xff, 0xfe].into())),
        };
        order.turn(5, vec![scheduled, ended, Event::Completed { output: Value::Ref(output) }]);
        let mut folded = order.folded();
        folded.payloads = [input, output].map(|at| (at, large.clone().into())).into();
        folded
    };
    hub.fold(vec![make(1, "order-1")], Vec::new());
    let mut session = hub.session(&overlay(vec![make(2, "order-2")]));
    let mut ask = |sql: &str| lines(&session.query(sql, &[], Limits::default()).unwrap());
    assert_eq!(ask("select length(output) from instances"), ["9002", "9002"]);
    assert_eq!(ask("select length(input), output from activities"), ["9002 base64://4="; 2]);
    assert_eq!(
        ask(
            "select event, length(coalesce(input, output)) from history where coalesce(input, output) is not null"
        ),
        ["TaskScheduled 9002", "TaskCompleted 11", "ExecutionCompleted 9002"].repeat(2)
    );
}

#[test]
fn a_session_at_rest_reads_the_write_ahead_log_and_writes_nothing() {
    let mut hub = Hub::new();
    hub.fold(vec![order(1, "order-1").folded()], Vec::new());
    let image = tempfile::tempdir().unwrap();
    let files = |folder: &std::path::Path| {
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let named =
            paths.map(|path| (path.file_name().unwrap().to_owned(), std::fs::read(path).unwrap()));
        named.collect::<std::collections::BTreeMap<_, _>>()
    };
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(hub.folder.path().join(name), image.path().join(name)).unwrap();
    }
    let before = files(image.path());
    let file = image.path().join("state.db");
    let overlay = overlay(vec![order(2, "order-2").folded()]);
    let conn = everstep_store_embedded::sqlite::connect_at_rest(&file).unwrap();
    let mut session = everstep_sql::Session::over(conn, &overlay).unwrap();
    let found = session.query("select instance from instances", &[], Limits::default()).unwrap();
    assert_eq!(lines(&found), ["order-1", "order-2"]);
    assert_eq!(files(image.path()), before, "while it is open");
    drop(session);
    assert_eq!(files(image.path()), before);
}
