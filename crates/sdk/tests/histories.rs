//! Histories that released versions recorded replay for ever.
//!
//! A file holds one history, event after event in the stored form. The orchestrators here are those that recorded them
//! and do not change. With `EVERSTEP_RECORD=1` in the environment, missing files are written; those that exist stay.

mod script;

use std::{fs, path::PathBuf, time::Duration};

use everstep::{
    Activity, App, Context, Either, Failure, InstanceId, Orchestrator, RetryPolicy, Timestamp,
};
use everstep_model::{Event, stored};
use script::{Script, child_ok, entity_ok, fired, granted, raised, task_failed, task_ok};

const CHARGE: Activity<u32, u32> = Activity::new("Charge");
const SHIP: Orchestrator<u32, u32> = Orchestrator::new("Ship");

async fn sequence(ctx: Context, n: u32) -> Result<u32, Failure> {
    let first = ctx.call(CHARGE, n).await?;
    ctx.sleep(Duration::from_hours(90 * 24)).await;
    ctx.call(CHARGE, first).tag("step", "second").await
}

async fn fan_out(ctx: Context, n: u32) -> Result<u32, Failure> {
    let retry = RetryPolicy::exponential(Duration::from_secs(10), 3);
    let calls = (0..n).map(|i| ctx.call(CHARGE, i).retry(retry.clone())).collect();
    Ok(everstep::try_join_all(calls).await?.into_iter().sum())
}

async fn approval(ctx: Context, n: u32) -> Result<u32, Failure> {
    ctx.set_custom_status(&"waiting");
    let (approved, timer) = (ctx.event::<bool>("Approved"), ctx.sleep(Duration::from_mins(1)));
    let approved = match everstep::select((approved, timer)).await {
        Either::First(approved) => approved?,
        Either::Second(()) => false,
    };
    if !approved {
        return Err(Failure::new("Refused", "nobody approved"));
    }
    let shipped = ctx.child(SHIP, n).id("ship-1").version("2").await?;
    ctx.child(SHIP, shipped).detach();
    ctx.send_event(&InstanceId::from_stored("other"), "Shipped", &shipped);
    Ok(shipped)
}

async fn section(ctx: Context, n: u32) -> Result<u32, Failure> {
    let account = InstanceId::entity("Account", "a").map_err(everstep::failure)?;
    ctx.signal_at(Timestamp::from_millis(60_000), &account, "touch", &());
    let guard = ctx.lock([account.clone()]).await?;
    let balance: u32 = ctx.call_entity(&account, "deposit", &n).await?;
    guard.release();
    ctx.signal(&account, "touch", &ctx.new_guid().to_string());
    Ok(balance)
}

fn app() -> App {
    App::new("histories")
        .orchestrator("Sequence", sequence)
        .orchestrator("FanOut", fan_out)
        .orchestrator("Approval", approval)
        .orchestrator("Section", section)
}

/// Each file, the orchestrator, its input and the turns that made it.
fn recordings() -> Vec<(&'static str, &'static str, &'static str, Vec<Vec<Event>>)> {
    vec![
        (
            "sequence",
            "Sequence",
            "7",
            vec![vec![], vec![task_ok(0, "8")], vec![fired(1)], vec![task_ok(2, "9")]],
        ),
        (
            "fan_out",
            "FanOut",
            "3",
            vec![
                vec![],
                vec![task_ok(2, "1"), task_failed(0, "busy")],
                vec![task_ok(1, "1")],
                vec![fired(3)],
                vec![task_failed(4, "busy")],
                vec![fired(5)],
                vec![task_ok(6, "5")],
            ],
        ),
        (
            "approval",
            "Approval",
            "1",
            vec![vec![], vec![raised("APPROVED", "true")], vec![child_ok(1, "4")]],
        ),
        ("approval_refused", "Approval", "1", vec![vec![], vec![fired(0)]]),
        ("approval_unfinished", "Approval", "1", vec![vec![], vec![raised("approved", "true")]]),
        ("section", "Section", "5", vec![vec![], vec![granted(1)], vec![entity_ok(2, "12")]]),
    ]
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/histories/v1")
}

fn read(file: &str) -> Vec<Event> {
    let path = folder().join(format!("{file}.bin"));
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    stored::events(&bytes).collect::<Result<_, _>>().expect("a golden file decodes")
}

#[test]
fn recorded_histories_replay() {
    if std::env::var_os("EVERSTEP_RECORD").is_some() {
        record_missing();
    }
    for (file, ..) in recordings() {
        let replayed = app().replay(&InstanceId::from_stored("order-7"), &read(file));
        assert_eq!(replayed, Ok(()), "{file}");
    }
}

#[test]
fn the_code_of_today_records_the_same() {
    for (file, name, input, turns) in recordings() {
        let mut script = Script::new(app(), name, input);
        for events in turns {
            script.turn(events);
        }
        assert_eq!(script.history, read(file), "{file}");
    }
}

fn record_missing() {
    fs::create_dir_all(folder()).expect("the folder can be made");
    for (file, name, input, turns) in recordings() {
        let path = folder().join(format!("{file}.bin"));
        if path.exists() {
            continue;
        }
        let mut script = Script::new(app(), name, input);
        for events in turns {
            script.turn(events);
        }
        let mut bytes = Vec::new();
        script.history.iter().for_each(|event| stored::put_event(&mut bytes, event));
        fs::write(path, bytes).expect("the file can be written");
    }
}
