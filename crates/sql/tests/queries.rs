//! What may be asked, what it costs, and what a person is told.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use std::{fs, path::Path, time::Duration};

use everstep_sql::{Limits, Overlay, VIEWS};
use serde_json::json;
use support::{Hub, Making, completed, done, lines, task};

const OFFERED: &str = "there are instances, history, activities, timers, events and entities";

fn hub() -> Hub {
    let mut hub = Hub::new();
    let rows = (1..=20).map(|n| {
        let mut order = Making::started(n, &format!("order-{n}"), "Checkout", "{\"total\":17}");
        order.turn(30, vec![task(0, "Charge", "17")]);
        order.turn(40, vec![done(0, "true"), completed("1")]);
        order.folded()
    });
    hub.fold(rows.collect(), Vec::new());
    hub
}

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sql.md")).unwrap()
}

#[test]
fn the_document_lists_exactly_the_columns_there_are() {
    let document = document();
    for view in &VIEWS {
        let (_, section) = document.split_once(&format!("\n## `{}`\n", view.name)).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let listed: Vec<_> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        assert_eq!(listed, view.columns().collect::<Vec<_>>(), "{}", view.name);
        let answer = hub().ask(&format!("select * from {}", view.name));
        assert_eq!(listed, answer.columns, "{}", view.name);
    }
    let sections = document.lines().filter(|line| line.starts_with("## `")).count();
    assert_eq!(sections, VIEWS.len());
}

#[test]
fn every_query_of_the_document_is_answered() {
    let hub = hub();
    let document = document();
    let queries: Vec<_> =
        document.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(queries.len() >= 12);
    for query in queries {
        hub.ask(query);
    }
}

#[test]
fn conditions_on_an_instance_reach_the_indexes_of_tables_and_overlay() {
    let hub = hub();
    let plan = |sql: &str| {
        let answer = hub.ask(&format!("explain query plan {sql}"));
        let steps: Vec<_> =
            answer.rows.iter().map(|row| row[3].as_str().unwrap().to_owned()).collect();
        steps
    };
    for view in &VIEWS {
        let steps = plan(&format!("select * from {} where instance = 'order-7'", view.name));
        let scans: Vec<_> = steps
            .iter()
            .filter(|step| step.starts_with("SCAN") && !step.contains("VIRTUAL TABLE"))
            .collect();
        assert!(scans.iter().all(|step| is_own(step)), "{}: {steps:#?}", view.name);
        let is_found = steps.iter().any(|step| step.contains("USING INDEX instance_id (id=?)"));
        assert!(is_found, "{}: {steps:#?}", view.name);
    }
    let steps =
        plan("select count(*) from history where instance = 'order-7' and event = 'TaskFailed'");
    assert!(steps.iter().any(|step| step.contains("instance_id (id=?)")), "{steps:#?}");
    let uses = [
        ("status = 'Failed'", "instance_status (status=?"),
        ("status = 'Failed' and created_ticks > 5", "instance_status (status=? AND created>?"),
        ("created_ticks > ticks('2026-11-21')", "created>?"),
        ("completed_ticks > 5", "instance_completed (completed>?"),
        ("parent = 'x'", "instance_parent (parent=?"),
        ("instance glob 'order-*'", "instance_id (id>? AND id<?"),
    ];
    for (condition, index) in uses {
        let steps = plan(&format!("select instance from instances where {condition}"));
        assert!(steps.iter().any(|step| step.contains(index)), "{condition}: {steps:#?}");
    }
    let steps = plan("select * from entities");
    assert!(steps.iter().any(|step| step.contains("instance_entity")), "{steps:#?}");
    let steps = plan("select * from timers");
    assert!(steps.iter().any(|step| step.contains("instance_wake")), "{steps:#?}");
    let steps = plan(
        "select * from history where instance in (select instance from instances where status = 'Failed')",
    );
    assert!(steps.iter().any(|step| step.contains("instance_id (id=?)")), "{steps:#?}");
}

/// A scan of a result that was computed, or of the two rows that stand for the sides of an overlay.
fn is_own(step: &str) -> bool {
    [
        "SCAN history",
        "SCAN instances",
        "SCAN activities",
        "SCAN events",
        "SCAN entities",
        "SCAN timers",
        "SCAN s",
    ]
    .iter()
    .any(|own| step.starts_with(own))
}

#[test]
fn only_queries_over_the_views_are_answered() {
    let hub = hub();
    let change = "only queries can be run here (SELECT, WITH, EXPLAIN); to change something, use the commands or the HTTP API";
    for sql in [
        "delete from instances",
        "update main.instance set name = 'x'",
        "insert into main.meta values ('x', 1)",
        "create table x (y)",
        "drop view history",
        "begin",
        "commit",
        "savepoint x",
        "vacuum",
        "reindex",
        "analyze",
    ] {
        assert_eq!(hub.refusal(sql), change, "{sql}");
    }
    for (sql, why) in [
        ("attach 'other.db' as o", format!("other databases cannot be attached here; {OFFERED}")),
        ("detach temp", format!("other databases cannot be attached here; {OFFERED}")),
        ("pragma query_only = off", format!("pragmas cannot be used here; {OFFERED}")),
        ("pragma table_info('instances')", format!("pragmas cannot be used here; {OFFERED}")),
        ("select * from main.instance", format!("`instance` cannot be queried; {OFFERED}")),
        ("select count(iid) from main.history", format!("`history` cannot be queried; {OFFERED}")),
        ("select * from sqlite_schema", format!("`sqlite_master` cannot be queried; {OFFERED}")),
        (
            "select * from everstep_payload",
            format!("`everstep_payload` cannot be queried; {OFFERED}"),
        ),
        (
            "select * from everstep_overlay",
            format!("`everstep_overlay` cannot be queried; {OFFERED}"),
        ),
        ("select * from dbstat", format!("`dbstat` cannot be queried; {OFFERED}")),
        ("select load_extension('x')", "extensions cannot be loaded here".to_owned()),
        ("select 1; select 2", "one query at a time; leave out what follows the `;`".to_owned()),
        ("", "there is no query; write `select ...`".to_owned()),
        ("-- nothing", "there is no query; write `select ...`".to_owned()),
    ] {
        assert_eq!(hub.refusal(sql), why, "{sql}");
    }
    assert_eq!(
        hub.lines(
            "with x(n) as (select 1 union all select n + 1 from x where n < 3) select n from x"
        ),
        ["1", "2", "3"]
    );
    assert_eq!(hub.lines("select value from json_each('[1,2]');"), ["1", "2"]);
}

#[test]
fn a_session_goes_on_after_a_refusal() {
    let hub = hub();
    let mut session = hub.session(&Overlay::default());
    session.query("drop view history", &[], Limits::default()).unwrap_err();
    let error = session.query("select nme from instances", &[], Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "no such column: nme (line 1, column 8)");
    let found = session.query("select count(*) from instances", &[], Limits::default()).unwrap();
    assert_eq!(lines(&found), ["20"]);
}

#[test]
fn errors_say_where_they_are() {
    let hub = hub();
    for (sql, text) in [
        ("select nme from instances", "no such column: nme (line 1, column 8)"),
        (
            "select instance\nfrom instances\nwhere staus = 1",
            "no such column: staus (line 3, column 7)",
        ),
        ("select instance form instances", "near \"instances\": syntax error (line 1, column 22)"),
        ("select 'é', nme from instances", "no such column: nme (line 1, column 13)"),
        (
            "select ticks('soon')",
            "the query failed: `soon` is no time; write `2026-11-21`, `2026-11-21 04:05:06` or `2026-11-21T04:05:06Z`",
        ),
    ] {
        assert_eq!(hub.refusal(sql), text, "{sql}");
    }
    assert_eq!(hub.refusal("select * from orders"), format!("no such table: orders; {OFFERED}"));
}

#[test]
fn rows_beyond_the_limit_are_left_out_and_it_is_said() {
    let hub = hub();
    let mut session = hub.session(&Overlay::default());
    let mut ask = |rows| {
        let limits = Limits { rows, ..Limits::default() };
        let answer = session.query("select instance from instances", &[], limits).unwrap();
        (answer.rows.len(), answer.truncated)
    };
    assert_eq!(ask(5), (5, true));
    assert_eq!(ask(20), (20, false));
    assert_eq!(ask(0), (0, true));
}

#[test]
fn a_query_that_takes_too_long_is_stopped() {
    let hub = hub();
    let mut session = hub.session(&Overlay::default());
    let endless = "with x(n) as (select 1 union all select n + 1 from x) select max(n) from x";
    let limits = Limits { time: Duration::ZERO, ..Limits::default() };
    let error = session.query(endless, &[], limits).unwrap_err().to_string();
    assert_eq!(
        error,
        "the query took longer than 0 s and was stopped; ask for less (`where instance = ...` reads one instance \
         only), or allow more time"
    );
    session.query("select 1", &[], Limits::default()).unwrap();
}

#[test]
fn parameters_fill_placeholders_and_values_come_as_json() {
    let hub = hub();
    let mut session = hub.session(&Overlay::default());
    let params = [json!("order-3"), json!(2.5), json!(null), json!(true), json!([1]), json!(7)];
    let answer = session
        .query("select ?1, ?2, ?3, ?4, ?5, ?6, x'ff', 1e999", &params, Limits::default())
        .unwrap();
    assert_eq!(
        answer.rows,
        [vec![
            json!("order-3"),
            json!(2.5),
            json!(null),
            json!(1),
            json!("[1]"),
            json!(7),
            json!("base64:/w=="),
            json!(null)
        ]]
    );
    let error = session.query("select ?1", &[], Limits::default()).unwrap_err().to_string();
    assert_eq!(error, "the query has 1 placeholders, and 0 parameters were given");
}
