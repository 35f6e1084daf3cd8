//! Each verb against a host that answers from a list: what is asked, printed and returned.

use http::Method;

use crate::{
    args::{Cli, Command, Durable},
    client::{Api, Call},
    console::Screen,
    fault::Exit,
    testing::{FakeHost, Ran, run, run_words},
};

const TWO: &str = r#"[{"name":"order","instanceId":"a","runtimeStatus":"Failed","createdTime":"2026-01-02T02:57:00Z","lastUpdatedTime":"2026-01-02T02:58:00Z"},
{"name":"order","instanceId":"b","runtimeStatus":"Failed","createdTime":"2026-01-01T02:57:00Z","lastUpdatedTime":"2026-01-02T02:58:00Z"}]"#;
const RUNNING: &str = r#"{"name":"order","instanceId":"a","runtimeStatus":"Running","input":null,"customStatus":null,"output":null,"createdTime":"2026-01-02T02:59:00Z","lastUpdatedTime":"2026-01-02T02:59:30Z"}"#;
const DONE: &str = r#"{"name":"order","instanceId":"a","runtimeStatus":"Completed","input":null,"customStatus":null,"output":"shipped","createdTime":"2026-01-02T02:59:00Z","lastUpdatedTime":"2026-01-02T02:59:30Z"}"#;
const FAILED: &str = r#"{"name":"order","instanceId":"a","runtimeStatus":"Failed","input":null,"customStatus":null,"output":"no money","createdTime":"2026-01-02T02:59:00Z","lastUpdatedTime":"2026-01-02T02:59:30Z"}"#;
const HISTORY: &str = r#"[
{"EventType":"OrchestratorStarted","EventId":-1,"IsPlayed":false,"Timestamp":"2026-01-02T02:59:00Z"},
{"EventType":"ExecutionStarted","Name":"order","Input":"{\"cents\":4200}","EventId":-1,"IsPlayed":false,"Timestamp":"2026-01-02T02:59:00Z"},
{"EventType":"TaskScheduled","Name":"charge","Input":"4200","EventId":0,"IsPlayed":false,"Timestamp":"2026-01-02T02:59:00Z"},
{"EventType":"SubOrchestrationInstanceCreated","Name":"invoice","InstanceId":"a:1","EventId":1,"IsPlayed":false,"Timestamp":"2026-01-02T02:59:00Z"},
{"EventType":"TimerCreated","FireAt":"2026-01-02T04:00:00Z","EventId":2,"IsPlayed":false,"Timestamp":"2026-01-02T02:59:00Z"},
{"EventType":"TaskFailed","TaskScheduledId":0,"Reason":"no","FailureDetails":{"ErrorType":"NoNetwork","ErrorMessage":"the bank is away"},"EventId":-1,"IsPlayed":false,"Timestamp":"2026-01-02T02:59:01.5Z"},
{"EventType":"EventRaised","Name":"Approve","Input":"true","EventId":-1,"IsPlayed":false,"Timestamp":"2026-01-02T02:59:02Z"}]"#;

async fn piped(host: &FakeHost, line: &str) -> Ran {
    run(host, Screen::Pipe, line).await
}

async fn shown(host: &FakeHost, line: &str) -> Ran {
    run(host, Screen::Terminal, line).await
}

#[tokio::test]
async fn ls_asks_with_all_filters_and_follows_the_cursor_to_its_limit() {
    let host = FakeHost::new()
        .on_with("GET instances", 200, TWO, vec![("x-ms-continuation-token", "t1")])
        .on_with("GET instances", 200, TWO, vec![("x-ms-continuation-token", "t2")]);
    let ran = piped(
        &host,
        "ls --status failed,RUNNING --name order --id-prefix a --since 2026-01-01 --before 2026-01-03 --tag k=v \
         --parent p -q money --limit 4 -o ids --asc --order id",
    )
    .await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "a\nb\na\nb\n"));
    assert_eq!(ran.err, "there are more: --all shows them, --cursor t2 goes on here\n");
    insta::assert_snapshot!(host.asked(), @r"
    GET instances?runtimeStatus=Failed%2CRunning&name=order&instanceIdPrefix=a&createdTimeFrom=2026-01-01T00%3A00%3A00Z&createdTimeTo=2026-01-03T00%3A00%3A00Z&parent=p&q=money&tag.k=v&kind=orchestration&showInput=false&orderBy=id&desc=false&top=4
    GET instances?runtimeStatus=Failed%2CRunning&name=order&instanceIdPrefix=a&createdTimeFrom=2026-01-01T00%3A00%3A00Z&createdTimeTo=2026-01-03T00%3A00%3A00Z&parent=p&q=money&tag.k=v&kind=orchestration&showInput=false&orderBy=id&desc=false&top=2 after t1
    ");
}

#[tokio::test]
async fn ls_on_a_terminal_is_a_table() {
    let host = FakeHost::new().on("GET instances", 200, TWO);
    insta::assert_snapshot!(shown(&host, "ls --all").await.out, @r"
    ID  NAME   STATUS  CREATED  UPDATED
    a   order  Failed  3m ago   2m ago
    b   order  Failed  1d ago   2m ago
    ");
    let none = FakeHost::new().on("GET instances", 200, "[]");
    assert_eq!(
        piped(&none, "ls").await.err,
        "there are no instances; `everstep run NAME` starts one\n"
    );
    assert_eq!(piped(&none, "ls --name a").await.err, "no instance matches\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_watched_is_drawn_in_place_until_the_host_goes() {
    let host = FakeHost::new().on("GET instances?", 200, TWO).on("GET instances?", 200, "[]").on(
        "GET instances?",
        503,
        "the host stops",
    );
    let ran = shown(&host, "ls --watch -o ids").await;
    assert_eq!(ran.out, "\u{1b}[H\u{1b}[2Ja\nb\n\u{1b}[H\u{1b}[2J");
    assert_eq!(ran.exit, Exit::Unreachable);
    let piped = piped(&host, "ls --watch 0.5").await;
    assert!(!piped.out.contains('\u{1b}'), "a pipe gets no escapes");
}

#[tokio::test]
async fn counts_are_a_table_and_say_when_they_are_estimates() {
    let body = r#"{"counts":[{"kind":"orchestration","name":"order","runtimeStatus":"Running","count":12}],"exact":false}"#;
    let host = FakeHost::new().on("GET instances/counts", 200, body);
    let ran = shown(&host, "counts --name order").await;
    insta::assert_snapshot!(ran.out, @r"
    KIND           NAME   STATUS   COUNT
    orchestration  order  Running  12
    ");
    assert_eq!(ran.err, "these are estimates: the hub counts while it changes\n");
    assert_eq!(host.asked(), "GET instances/counts?name=order");
}

#[tokio::test]
async fn show_prints_the_instance_and_its_history() {
    let host = FakeHost::new().on("GET instances/a/history", 200, HISTORY).on(
        "GET instances/a?",
        200,
        DONE,
    );
    insta::assert_snapshot!(shown(&host, "show a --history").await.out, @r#"
    id       a
    name     order
    status   Completed
    created  1m ago
    updated  30s ago
    output   shipped

    #  TIME     EVENT                            WHAT
       1m ago   OrchestratorStarted
       1m ago   ExecutionStarted                 started order: {"cents":4200}
    0  1m ago   TaskScheduled                    calls charge (#0): 4200
    1  1m ago   SubOrchestrationInstanceCreated  starts invoice as a:1 (#1)
    2  1m ago   TimerCreated                     sets a timer for 2026-01-02T04:00:00Z (#2)
       59s ago  TaskFailed                       charge (#0) failed: NoNetwork: the bank is away
       58s ago  EventRaised                      event Approve arrived: true
    "#);
    let ran = piped(&host, "show a --input --history").await;
    assert_eq!(ran.out, format!("{DONE}\n"), "what is received is passed on");
    assert!(host.asked().ends_with(
        "GET instances/a?showInput=true&showHistory=true&showHistoryOutput=true&showDetails=true"
    ));
}

#[tokio::test]
async fn show_and_ls_tell_what_failed_and_how() {
    const WITH_DETAILS: &str = r#"{"name":"order","instanceId":"a","runtimeStatus":"Failed","output":"no money","createdTime":"2026-01-02T02:59:00Z","lastUpdatedTime":"2026-01-02T02:59:30Z","failure":{"ErrorType":"NoMoney","ErrorMessage":"no money","StackTrace":null,"InnerFailure":{"ErrorType":"BankAway","ErrorMessage":"it does not answer","StackTrace":null,"InnerFailure":null,"IsNonRetriable":false},"IsNonRetriable":true}}"#;
    let host = FakeHost::new().on("GET instances/a?", 200, WITH_DETAILS).on(
        "GET instances?",
        200,
        &format!("[{WITH_DETAILS},{RUNNING}]"),
    );
    insta::assert_snapshot!(shown(&host, "show a").await.out, @r"
    id       a
    name     order
    status   Failed
    created  1m ago
    updated  30s ago
    failure  NoMoney: no money; caused by BankAway: it does not answer
    ");
    insta::assert_snapshot!(shown(&host, "ls").await.out, @r"
    ID  NAME   STATUS   CREATED  UPDATED  FAILURE
    a   order  Failed   1m ago   30s ago  NoMoney: no money; caused by BankAway: it does not answer
    a   order  Running  1m ago   30s ago
    ");
    let asked = host.asked();
    assert!(asked.lines().last().unwrap().contains("showDetails=true"), "{asked}");
    assert_eq!(piped(&host, "show a").await.out, format!("{WITH_DETAILS}\n"));
    piped(&host, "ls").await;
    assert!(
        !host.asked().lines().last().unwrap().contains("showDetails"),
        "tools get what they got"
    );
}

#[tokio::test]
async fn an_instance_that_is_not_there_is_said_by_its_id() {
    let host = FakeHost::new();
    for line in [
        "show x",
        "history x",
        "why x",
        "trace x",
        "logs x",
        "wait x",
        "terminate x",
        "purge x",
        "raise x E",
        "unpark x",
        "export x",
    ] {
        let ran = piped(&host, line).await;
        assert_eq!(ran.exit, Exit::NotFound, "{line}");
        assert_eq!(
            ran.err,
            "error: there is no instance `x`\n  `everstep ls` shows the instances of this hub\n",
            "{line}"
        );
    }
}

#[tokio::test]
async fn why_tells_the_reasons_with_what_to_do() {
    let body = r#"{"instanceId":"a","runtimeStatus":"Running","reasons":[{"kind":"event","since":"2026-01-02T02:00:00Z","text":"it waits for the event `Approve`","remedy":"raise it: everstep raise a Approve"}]}"#;
    let host = FakeHost::new().on("GET instances/a/why", 200, body);
    insta::assert_snapshot!(shown(&host, "why a").await.out, @r"
    a is Running
    - it waits for the event `Approve` (for 1h)
      raise it: everstep raise a Approve
    ");
    assert_eq!(piped(&host, "why a").await.out, format!("{body}\n"));
}

#[tokio::test]
async fn trace_is_a_tree_with_children_that_no_history_names() {
    let child = |id: &str, status: &str| {
        format!(
            r#"{{"name":"invoice","instanceId":"{id}","runtimeStatus":"{status}","output":null,"createdTime":"2026-01-02T02:59:00Z","lastUpdatedTime":"2026-01-02T02:59:05Z"}}"#
        )
    };
    let host = FakeHost::new()
        .on("GET instances/a/history", 200, HISTORY)
        .on("GET instances/a%3A1/history", 200, "[]")
        .on("GET instances/a%3A0/history", 200, "[]")
        .on("GET instances/a?", 200, RUNNING)
        .on("GET instances/a%3A1?", 200, &child("a:1", "Completed"))
        .on("GET instances/a%3A0?", 200, &child("a:0", "Terminated"))
        .on("GET instances?parent=a&", 200, r#"[{"instanceId":"a:0"},{"instanceId":"a:1"}]"#)
        .on("GET instances?parent=a%3A", 200, "[]");
    insta::assert_snapshot!(piped(&host, "trace a").await.out, @r"
    … order  (a)  Running  1m
    ├─ ✗ invoice  (a:0)  Terminated, of an earlier execution  5s
    ├─ ✗ charge  NoNetwork: the bank is away  1.5s
    ├─ ✓ invoice  (a:1)  Completed  5s
    ├─ … timer until 2026-01-02T04:00:00Z  1m
    └─ ✓ event Approve  0ms
    ");
    let json = piped(&host, "trace a -o json").await.out;
    let tree: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(tree["below"][1]["state"], "failed");
}

#[tokio::test(start_paused = true)]
async fn trace_draws_again_until_the_end() {
    let host = FakeHost::new()
        .on("GET instances/a/history", 200, "[]")
        .on("GET instances/a?wait", 200, RUNNING)
        .on("GET instances/a?showInput", 200, RUNNING)
        .on("GET instances/a?showInput", 200, DONE)
        .on("GET instances?parent", 200, "[]");
    let ran = shown(&host, "trace a").await;
    assert_eq!(
        ran.out,
        "… order  (a)  Running  1m\n\u{1b}[1F\u{1b}[J✓ order  (a)  Completed  30s\n"
    );
}

#[tokio::test]
async fn logs_tell_the_history_in_words() {
    let host = FakeHost::new().on("GET instances/a/history", 200, HISTORY);
    insta::assert_snapshot!(piped(&host, "logs a").await.out, @r#"
    2026-01-02T02:59:00.000Z  started order: {"cents":4200}
    2026-01-02T02:59:00.000Z  calls charge (#0): 4200
    2026-01-02T02:59:00.000Z  starts invoice as a:1 (#1)
    2026-01-02T02:59:00.000Z  sets a timer for 2026-01-02T04:00:00Z (#2)
    2026-01-02T02:59:01.500Z  charge (#0) failed: NoNetwork: the bank is away
    2026-01-02T02:59:02.000Z  event Approve arrived: true
    "#);
    let raw = piped(&host, "logs a -o jsonl").await.out;
    assert_eq!(raw.lines().count(), 7);
    assert!(raw.starts_with(r#"{"EventType":"OrchestratorStarted","EventId":-1"#), "{raw}");
}

#[tokio::test]
async fn logs_follow_until_the_instance_has_ended_and_tell_each_event_once() {
    let begun =
        r#"[{"EventType":"ExecutionStarted","Name":"order","Timestamp":"2026-01-02T02:59:00Z"}]"#;
    let over = r#"[{"EventType":"ExecutionStarted","Name":"order","Timestamp":"2026-01-02T02:59:00Z"},
        {"EventType":"ExecutionCompleted","OrchestrationStatus":"Completed","Result":"7","Timestamp":"2026-01-02T02:59:09Z"}]"#;
    let host = FakeHost::new()
        .on("GET instances/a/history", 200, begun)
        .on("GET instances/a/history", 200, begun)
        .on("GET instances/a/history", 200, over)
        .on("GET instances/a/stream", 200, &format!("data: {RUNNING}\n\ndata: {DONE}\n\n"));
    let ran = piped(&host, "logs -f a").await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    insta::assert_snapshot!(ran.out, @r"
    2026-01-02T02:59:00.000Z  started order
    2026-01-02T02:59:09.000Z  ended: Completed: 7
    ");
}

#[tokio::test(start_paused = true)]
async fn wait_ends_with_success_failure_or_timeout() {
    let done =
        FakeHost::new().on("GET instances/a?", 202, RUNNING).on("GET instances/a?", 200, DONE);
    let ran = piped(&done, "wait a").await;
    assert_eq!((ran.exit, ran.out), (Exit::Ok, format!("{DONE}\n")));
    assert!(done.asked().starts_with("GET instances/a?wait=30000ms&"), "{}", done.asked());

    let failed = FakeHost::new().on("GET instances/a?", 200, FAILED);
    assert_eq!(piped(&failed, "wait a").await.exit, Exit::Ended);

    let slow = FakeHost::new().on("GET instances/a?", 202, RUNNING);
    let ran = piped(&slow, "wait a --timeout 10s").await;
    assert_eq!(ran.exit, Exit::Timeout);
    assert_eq!(
        ran.err,
        "error: `a` is still Running after 10s\n  `everstep why a` says what it waits for\n"
    );
}

#[tokio::test]
async fn nobody_waits_for_a_hub_that_nobody_runs() {
    let host = FakeHost::offline().on("GET instances/a?", 202, RUNNING).on(
        "GET instances/a/history",
        200,
        "[]",
    );
    let ran = piped(&host, "wait a").await;
    assert_eq!(ran.exit, Exit::Unreachable);
    assert_eq!(
        ran.err,
        "error: `a` is Running, and no host runs that would let it go on\n  start it with `everstep start`, then wait again\n"
    );
    assert_eq!(host.asked(), "GET instances/a?showInput=false&showDetails=true");
    let ran = piped(&host, "logs -f a").await;
    assert_eq!(ran.exit, Exit::Ok);
    assert_eq!(ran.err, "no host runs, so nothing more will happen; `everstep start` starts it\n");
}

#[tokio::test]
async fn a_change_that_needs_a_host_says_how_to_start_it() {
    let host = FakeHost::offline().on(
        "POST instances/a/terminate",
        503,
        "the hub is open for reading only",
    );
    let ran = piped(&host, "terminate a").await;
    assert_eq!(ran.exit, Exit::Unreachable);
    assert_eq!(
        ran.err,
        "error: the hub is open for reading only\n  start it with `everstep start`, then try again\n"
    );
}

#[tokio::test]
async fn run_starts_and_waits_where_asked() {
    let links = r#"{"id":"a","statusQueryGetUri":"x"}"#;
    let host = FakeHost::new().on("POST orchestrators/order", 202, links).on(
        "GET instances/a?",
        200,
        FAILED,
    );
    let ran = shown(&host, "run order --input {\"cents\":1} --id a").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "started order as a\n"));
    assert_eq!(piped(&host, "run order -o ids").await.out, "a\n");
    assert_eq!(piped(&host, "run order --wait").await.exit, Exit::Ended);
    assert_eq!(
        host.asked().lines().take(2).collect::<Vec<_>>(),
        ["POST orchestrators/order/a {\"cents\":1}", "POST orchestrators/order"]
    );
    assert_eq!(piped(&host, "run order --input Tokyo").await.exit, Exit::Usage);
    let taken = FakeHost::new().on(
        "POST orchestrators/",
        409,
        r#"{"Message":"An Orchestration instance with the status Running already exists."}"#,
    );
    let ran = piped(&taken, "run order --id a").await;
    assert_eq!(ran.exit, Exit::Refused);
    assert_eq!(
        ran.err,
        "error: An Orchestration instance with the status Running already exists.\n"
    );
}

#[tokio::test]
async fn raise_signal_restart_and_unpark_say_what_they_did() {
    let host = FakeHost::new()
        .on("POST instances/a/raiseEvent/Approve", 202, "")
        .on("POST entities/Counter/a%2Fb?op=add", 202, "")
        .on("POST instances/a/restart", 202, r#"{"id":"b"}"#)
        .on("POST instances/a/unpark", 202, "");
    assert_eq!(shown(&host, "raise a Approve --input true").await.out, "a: raised Approve\n");
    assert_eq!(
        shown(&host, "signal Counter/a/b add --input 5").await.out,
        "@counter@a/b: signaled add\n"
    );
    assert_eq!(shown(&host, "restart a").await.out, "a: restarted as b\n");
    assert_eq!(
        piped(&host, "unpark a").await.out,
        "{\"instanceId\":\"a\",\"done\":\"unparked\"}\n"
    );
    let unknown = r#"{"Message":"InstanceId does not match a valid orchestration instance."}"#;
    let nobody = FakeHost::new().on("POST instances/x/restart", 400, unknown);
    assert_eq!(piped(&nobody, "restart x").await.exit, Exit::NotFound);
    insta::assert_snapshot!(host.asked(), @r"
    POST instances/a/raiseEvent/Approve true
    POST entities/Counter/a%2Fb?op=add 5
    POST instances/a/restart?restartWithNewInstanceId=true
    POST instances/a/unpark
    ");
}

#[tokio::test]
async fn verbs_on_ids_do_each_and_end_with_the_first_fault() {
    let host = FakeHost::new()
        .on("POST instances/a/terminate", 202, "")
        .on("POST instances/b/terminate", 410, "")
        .on("POST instances/c/terminate", 202, "");
    let ran = run_words(
        &host,
        Screen::Terminal,
        &["terminate", "a", "b", "c", "--reason", "not wanted", "--no-recursive"],
    )
    .await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, "a: terminated\nc: terminated\n"));
    assert_eq!(ran.err, "error: the instance has ended\n");
    assert!(
        host.asked().starts_with("POST instances/a/terminate?reason=not%20wanted&recursive=false")
    );
}

#[tokio::test]
async fn nothing_is_destroyed_without_ids_a_filter_or_all() {
    let host = FakeHost::new();
    for verb in ["terminate", "purge", "suspend", "resume", "rewind"] {
        let ran = piped(&host, verb).await;
        assert_eq!(ran.exit, Exit::Usage, "{verb}");
        assert!(
            ran.err.starts_with(&format!("error: {verb} what?\n  name instances, or filter them")),
            "{}",
            ran.err
        );
    }
    let both = piped(&host, "purge a --name order").await;
    assert_eq!(both.err, "error: give either instance ids or filters, not both\n");
    let status = piped(&host, "purge --status running").await;
    assert_eq!(
        status.err,
        "error: an instance that is Running cannot be purged\n  --status may be: completed, failed, terminated, canceled\n"
    );
    let recursive = piped(&host, "terminate --name order --no-recursive").await;
    assert_eq!(recursive.exit, Exit::Usage);
    let force = piped(&host, "purge --name order --force").await;
    assert_eq!(force.exit, Exit::Usage);
    assert_eq!(host.asked(), "");
}

const COUNT: &str = r#"{"counts":[{"kind":"orchestration","name":"order","runtimeStatus":"Failed","count":12}],"exact":true}"#;

#[tokio::test]
async fn a_dry_run_tells_how_many_and_which() {
    let host =
        FakeHost::new().on("GET instances/counts", 200, COUNT).on("GET instances?", 200, TWO);
    insta::assert_snapshot!(shown(&host, "purge --name order --before 2026-01-01 --dry-run").await.out, @r"
    12 instances would be purged
      a
      b
      and 10 more
    ");
    insta::assert_snapshot!(host.asked(), @r"
    GET instances/counts?runtimeStatus=Completed%2CFailed%2CTerminated%2CCanceled&name=order&createdTimeTo=2026-01-01T00%3A00%3A00Z&kind=orchestration
    GET instances?runtimeStatus=Completed%2CFailed%2CTerminated%2CCanceled&name=order&createdTimeTo=2026-01-01T00%3A00%3A00Z&kind=orchestration&showInput=false&top=10
    ");
    let one = FakeHost::new().on("GET instances/a?", 200, RUNNING);
    assert_eq!(shown(&one, "purge a --dry-run").await.out, "a: Running, would not be purged\n");
    assert_eq!(shown(&one, "terminate a --dry-run").await.out, "a: Running, would be terminated\n");
}

#[tokio::test(start_paused = true)]
async fn many_are_a_job_whose_progress_is_followed_to_its_summary() {
    let job = |status: &str, done: u32| {
        format!(
            r#"{{"name":"bulk","instanceId":"job","runtimeStatus":"{status}","customStatus":{{"verb":"terminate","done":{done},"skipped":1,"failed":0}},"output":null}}"#
        )
    };
    let host = FakeHost::new()
        .on("GET instances/counts", 200, COUNT)
        .on("POST instances/bulk/terminate", 202, r#"{"id":"job"}"#)
        .on("GET instances/job", 202, &job("Running", 5))
        .on("GET instances/job", 200, &job("Completed", 11));
    let ran = piped(&host, "terminate --name order --yes --reason old").await;
    assert_eq!(
        (ran.exit, ran.out.as_str()),
        (Exit::Ok, "{\"verb\":\"terminate\",\"done\":11,\"skipped\":1,\"failed\":0}\n")
    );
    let asked = host.asked();
    assert!(asked.contains("POST instances/bulk/terminate?runtimeStatus=Pending%2CRunning%2CSuspended%2CContinuedAsNew&name=order&reason=old"), "{asked}");
    let ran = shown(&host, "terminate --all --yes").await;
    assert_eq!(ran.out, "11 terminated, 1 skipped because their status had changed\n");
    assert!(host.asked().contains("&all=true"));
}

#[tokio::test]
async fn many_are_not_destroyed_without_a_yes() {
    let host = FakeHost::new().on("GET instances/counts", 200, COUNT);
    let ran = piped(&host, "purge --name order").await;
    assert_eq!(ran.exit, Exit::Usage);
    assert_eq!(
        ran.err,
        "error: this would purge 12 instances, and nobody is there to ask\n  add --yes, or look first with --dry-run\n"
    );
    assert!(!host.asked().contains("bulk"));
}

#[tokio::test]
async fn sql_has_the_columns_of_its_query() {
    let body = r#"{"columns":["name","n"],"rows":[["order",3],["invoice",null]],"truncated":true}"#;
    let host = FakeHost::new().on("POST sql", 200, body);
    let ran = run_words(
        &host,
        Screen::Terminal,
        &["sql", "select name, count(*) n from instances", "--limit", "2"],
    )
    .await;
    insta::assert_snapshot!(ran.out, @r"
    name     n
    order    3
    invoice
    ");
    assert_eq!(ran.err, "there are more than 2 rows; see --limit\n");
    assert_eq!(
        host.asked(),
        r#"POST sql {"limit":2,"query":"select name, count(*) n from instances"}"#
    );
    assert_eq!(piped(&host, "sql x -o csv").await.out, "name,n\norder,3\ninvoice,\n");
    assert_eq!(
        piped(&host, "sql x").await.out,
        "{\"name\":\"order\",\"n\":3}\n{\"name\":\"invoice\",\"n\":null}\n"
    );
}

#[tokio::test]
async fn an_export_can_be_looked_into_like_a_hub() {
    let host = FakeHost::new()
        .on("GET instances/a/history", 200, HISTORY)
        .on("GET instances/a%3A1/history", 200, "[]")
        .on("GET instances/a/record", 200, r#"{"instanceId":"a","record":"CgE="}"#)
        .on("GET instances/a%3A1/record", 200, r#"{"instanceId":"a:1","record":null}"#)
        .on("GET instances/a?", 200, DONE)
        .on("GET instances/a%3A1?", 200, &FAILED.replace("\"a\"", "\"a:1\""))
        .on("GET instances?parent=a&", 200, r#"[{"instanceId":"a:1"}]"#)
        .on("GET instances?parent=a%3A1", 200, "[]");
    let exported = piped(&host, "export a").await;
    assert_eq!(exported.exit, Exit::Ok, "{exported:?}");
    assert!(exported.out.starts_with("{\n  \"format\": \"everstep.instance/1\",\n  \"exportedTime\": \"2026-01-02T03:00:00Z\",\n  \"instance\": {"), "{}", exported.out);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    std::fs::write(&file, &exported.out).unwrap();
    let file = file.to_str().unwrap();

    let nobody = FakeHost::new();
    assert_eq!(piped(&nobody, &format!("show --file {file}")).await.out, format!("{DONE}\n"));
    assert!(piped(&nobody, &format!("show a:1 --file {file}")).await.out.contains("no money"));
    assert_eq!(piped(&nobody, &format!("history --file {file}")).await.out.lines().count(), 7);
    assert!(
        piped(&nobody, &format!("trace --file {file}"))
            .await
            .out
            .contains("(a:1)  Failed: no money")
    );
    assert!(
        piped(&nobody, &format!("logs --file {file}")).await.out.contains("charge (#0) failed")
    );
    assert_eq!(nobody.asked(), "");
    let missing = piped(&nobody, &format!("show x --file {file}")).await;
    assert_eq!(
        (missing.exit, missing.err.as_str()),
        (Exit::NotFound, "error: the file has no instance `x`\n")
    );
}

fn exported(id: &str, status: &str, children: &str) -> String {
    format!(
        r#"{{"format":"everstep.instance/1","instance":{{"instanceId":"{id}","runtimeStatus":"{status}"}},"history":[],"record":"CgE=","children":[{children}]}}"#
    )
}

#[tokio::test]
async fn several_are_exported_a_line_each_and_what_runs_is_said() {
    let host = FakeHost::new()
        .on("GET instances/a/history", 200, "[]")
        .on("GET instances/a/record", 200, r#"{"instanceId":"a","record":null}"#)
        .on("GET instances/a?", 200, RUNNING)
        .on("GET instances?parent=a", 200, "[]");
    let ran = piped(&host, "export a a").await;
    assert_eq!(ran.out.lines().count(), 2);
    insta::assert_snapshot!(ran.err, @r"
    `a` runs, so this export is to be looked into; `everstep import` puts back what has ended
    `a` runs, so this export is to be looked into; `everstep import` puts back what has ended
    ");
}

#[tokio::test]
async fn import_sends_each_instance_once_and_says_what_became_of_it() {
    let answer = [
        r#"{"instanceId":"a","outcome":"imported"}"#,
        r#"{"instanceId":"a:1","outcome":"replaced"}"#,
        r#"{"instanceId":"b","outcome":"exists","message":"one of its id is here and Running; `replace=true` puts this one in its place"}"#,
        r#"{"instanceId":"c","outcome":"refused","message":"it has no `record`"}"#,
    ];
    let host = FakeHost::new().on("POST import", 200, &(answer.join("\n") + "\n"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.jsonl");
    let child = exported("a:1", "Failed", "");
    let indented = exported("a", "Completed", &child).replace(',', ",\n  ");
    let all = [indented, child, exported("b", "Completed", "")].join("\n");
    std::fs::write(&file, all).unwrap();
    let ran = shown(&host, &format!("import {}", file.display())).await;
    assert_eq!(ran.exit, Exit::Refused);
    insta::assert_snapshot!(ran.out, @r"
    a: imported
    a:1: replaced
    ");
    insta::assert_snapshot!(ran.err, @r"
    error: `c`: it has no `record`
    1 imported, 1 replaced, 2 not put back
    error: `b`: one of its id is here and Running; --replace puts this one in its place
    ");
    insta::assert_snapshot!(host.asked(), @r#"
    POST import?replace=false {"instance":{"instanceId":"a","runtimeStatus":"Completed"},"record":"CgE="}
    {"instance":{"instanceId":"a:1","runtimeStatus":"Failed"},"record":"CgE="}
    {"instance":{"instanceId":"b","runtimeStatus":"Completed"},"record":"CgE="}
    "#);
}

#[tokio::test]
async fn a_dry_run_of_an_import_only_looks() {
    let host =
        FakeHost::new().on("GET instances/a?", 200, DONE).on("GET instances/b?", 200, RUNNING);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.jsonl");
    let live = exported("d", "Running", "").replace(r#","record":"CgE=""#, "");
    let all = [
        exported("a", "Completed", ""),
        exported("b", "Failed", ""),
        exported("c", "Failed", ""),
        live,
    ];
    std::fs::write(&file, all.join("\n")).unwrap();
    let dry = async |flags: &str| {
        shown(&host, &format!("import {} --dry-run {flags}", file.display())).await.out
    };
    insta::assert_snapshot!(dry("").await, @r"
    a: would be refused: one of its id is here and Completed
    b: would be refused: one of its id is here and Running
    c: would be imported
    d: would be refused: it was Running when it was exported
    ");
    insta::assert_snapshot!(dry("--replace").await, @r"
    a: would replace the one that is here and Completed
    b: would be refused: one of its id is here and Running
    c: would be imported
    d: would be refused: it was Running when it was exported
    ");
    assert!(!host.asked().contains("POST"));
}

#[tokio::test]
async fn a_file_that_is_no_export_is_not_imported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    let import = async |text: &str| {
        std::fs::write(&file, text).unwrap();
        let ran = piped(&FakeHost::new(), &format!("import {}", file.display())).await;
        ran.err.replace(file.to_str().unwrap(), "FILE")
    };
    let remedy = "an export is written by `everstep export ID` and begins with {\"format\":\"everstep.instance/1\"";
    for (text, problem) in [
        ("{", "EOF while parsing an object at line 1 column 1"),
        (r#"{"instance":{"instanceId":"a","runtimeStatus":"Failed"}}"#, "it names no format"),
        (
            r#"{"format":"other/2","instance":{"instanceId":"a","runtimeStatus":"Failed"}}"#,
            "its format is `other/2`",
        ),
        ("{}", "missing field `instance` at line 1 column 2"),
    ] {
        let expected = format!("error: `FILE` is no export: {problem}\n  {remedy}\n");
        assert_eq!(import(text).await, expected);
    }
    assert_eq!(import("").await, "the file is empty\n");
    let ran = piped(&FakeHost::new(), "import nowhere.json").await;
    assert!(ran.err.starts_with("error: cannot read `nowhere.json`: "), "{}", ran.err);
}

#[tokio::test]
async fn a_file_that_is_no_export_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    std::fs::write(&file, r#"{"format":"other/2","instance":{}}"#).unwrap();
    let ran = piped(&FakeHost::new(), &format!("show --file {}", file.display())).await;
    assert_eq!(ran.exit, Exit::Error);
    assert!(
        ran.err.contains(
            "is no export: its format is `other/2`\n  an export is written by `everstep export ID`"
        ),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn backup_release_and_keys_ask_the_administration() {
    let host = FakeHost::new()
        .on(
            "POST /admin/host/backup",
            200,
            r#"{"destination":"copy","logBytes":10,"tablesBytes":20}"#,
        )
        .on("POST /admin/host/release", 202, "")
        .on(
            "GET /admin/host/systemkeys",
            200,
            r#"{"keys":[{"name":"durabletask_extension","value":"s"}],"links":[]}"#,
        )
        .on("POST /admin/host/keys/partner", 201, r#"{"name":"partner","value":"new"}"#)
        .on(
            "PUT /admin/functions/StartOrder/keys/partner",
            201,
            r#"{"name":"partner","value":"v"}"#,
        )
        .on("DELETE /admin/host/keys/partner", 204, "");
    let ran = run_words(&host, Screen::Pipe, &["backup", "/backups/shop"]).await;
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        (
            "{\"destination\":\"copy\",\"logBytes\":10,\"tablesBytes\":20}\n",
            "the hub is copied to /backups/shop\n"
        )
    );
    assert_eq!(piped(&host, "release").await.err, "released: earlier work goes on\n");
    assert_eq!(
        piped(&host, "keys list --system -o csv").await.out,
        "name,value\ndurabletask_extension,s\n"
    );
    assert_eq!(
        piped(&host, "keys set partner").await.out,
        "{\"name\":\"partner\",\"value\":\"new\"}\n"
    );
    assert_eq!(
        piped(&host, "keys set partner --function StartOrder --value v").await.exit,
        Exit::Ok
    );
    assert_eq!(shown(&host, "keys delete partner").await.out, "removed partner\n");
    insta::assert_snapshot!(host.asked(), @r#"
    POST /admin/host/backup {"destination":"/backups/shop"}
    POST /admin/host/release
    GET /admin/host/systemkeys
    POST /admin/host/keys/partner
    PUT /admin/functions/StartOrder/keys/partner {"name":"partner","value":"v"}
    DELETE /admin/host/keys/partner
    "#);
    let ran = piped(&host, "keys delete other").await;
    assert_eq!(
        ran.err,
        "error: there is no key `other`\n  `everstep keys list` shows them; see --function and --system\n"
    );
}

#[tokio::test]
async fn doctor_has_a_line_for_each_check() {
    let host = FakeHost::new().on("GET instances/counts", 200, COUNT).on(
        "GET /admin/host/status",
        200,
        "{}",
    );
    let app = tempfile::tempdir().unwrap();
    std::fs::write(app.path().join("host.json"), "{\"version\":\"2.0\"}").unwrap();
    std::fs::write(app.path().join("Cargo.toml"), "").unwrap();
    let line = format!("doctor --app {} --url http://localhost:1", app.path().display());
    let ran = shown(&host, &line).await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    for check in [
        "binary: everstep",
        "app: an app in Rust",
        "host.json: as it should be",
        "host: runs at http://localhost:1",
        "hub: 12 instances, of which 0 run and 12 failed",
    ] {
        assert!(ran.out.contains(&format!("ok    {check}")), "{check}: {}", ran.out);
    }
    let ids: Vec<serde_json::Value> = piped(&host, &line)
        .await
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(ids.iter().all(|check| check["result"] != "fail"));
}

#[tokio::test]
async fn func_s_verbs_print_what_func_prints() {
    let page = r#"[{"name":"order","instanceId":"a","runtimeStatus":"Completed","input":{"cents":1},"customStatus":null,"output":"ok","createdTime":"2026-01-02T02:57:00Z","lastUpdatedTime":"2026-01-02T02:58:00Z"}]"#;
    let host = FakeHost::new()
        .on("POST orchestrators/order", 202, r#"{"id":"a"}"#)
        .on_with("GET instances?", 200, page, vec![("x-ms-continuation-token", "t")])
        .on("GET instances/a/history", 200, r#"[{"EventType":"ExecutionStarted","EventId":-1}]"#)
        .on("GET instances/a?wait", 200, FAILED)
        .on("GET instances/a?", 200, FAILED)
        .on("POST instances/a/", 202, "")
        .on("DELETE instances?", 200, r#"{"instancesDeleted":3}"#);
    let printed = async |line: &str| {
        let ran = piped(&host, &format!("durable {line}")).await;
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""), "{line}");
        ran.out
    };
    assert_eq!(
        printed("start-new --function-name order --id a --input 5").await,
        "Started 'order' at 01/02/2026 03:00:00. Instance ID: 'a'.\n"
    );
    insta::assert_snapshot!(printed("get-instances --created-after 2026-01-01 --created-before 2026-02-01 --runtime-status Completed --top 3 --continuation-token s").await, @r#"
    [
      {
        "CompletedTime": "2026-01-02T02:58:00Z",
        "CompressedSize": 0,
        "CreatedTime": "2026-01-02T02:57:00Z",
        "Input": "{\"cents\":1}",
        "LastUpdatedTime": "2026-01-02T02:58:00Z",
        "Name": "order",
        "OrchestrationInstance": {
          "ExecutionId": null,
          "InstanceId": "a"
        },
        "OrchestrationStatus": 1,
        "Output": "\"ok\"",
        "ParentInstance": null,
        "Size": 0,
        "Status": null,
        "Tags": null,
        "Version": null
      }
    ]
    Continuation token for next set of results: 't'
    "#);
    let status = printed("get-runtime-status --id a --show-output true").await;
    assert!(
        status.contains("\"OrchestrationStatus\": 3")
            && status.contains("\"Output\": \"\\\"no money\\\"\""),
        "{status}"
    );
    assert!(printed("get-runtime-status --id a").await.contains("\"Output\": null"));
    assert_eq!(
        printed("get-history --id a").await,
        "[\n  {\n    \"EventType\": \"ExecutionStarted\",\n    \"EventId\": -1\n  }\n]\n"
    );
    assert_eq!(
        printed("raise-event --id a --event-name E --event-data 1").await,
        "Raised event 'E' to instance 'a'.\n"
    );
    assert!(printed("raise-event --id a").await.starts_with("Raised event 'Event_"));
    assert_eq!(printed("terminate --id a --reason old").await, "Successfully terminated 'a'\n");
    assert_eq!(
        printed("rewind --id a --reason again").await,
        "Status before rewind: Failed\nStatus after rewind: Failed\n"
    );
    assert_eq!(
        printed("purge-history --created-after 2026-01-01 --runtime-status completed").await,
        "Purged orchestration history for all instances created between '01/01/2026 00:00:00' and '12/31/9999 23:59:59'\n\
         Instances deleted: 3\nRows deleted: 3\n"
    );
}

#[tokio::test]
async fn a_hub_that_runs_is_emptied_and_one_that_does_not_is_removed() {
    let host = FakeHost::new().on("DELETE instances?", 200, r#"{"instancesDeleted":3}"#);
    let line = "durable delete-task-hub --task-hub-name Scratch";
    let ran = piped(&host, &format!("{line} --url http://localhost:1")).await;
    assert_eq!(ran.out, "Task hub 'Scratch' successfully deleted.\n", "{ran:?}");
    assert_eq!(ran.err, "a host runs this hub: its instances are removed, its folder stays\n");
    assert_eq!(
        host.asked(),
        "DELETE instances?createdTimeFrom=0001-01-01T00%3A00%3A00Z&force=true"
    );

    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("scratch");
    std::fs::create_dir_all(&folder).unwrap();
    let line = format!("{line} --data {}", data.path().display());
    let ran = piped(&host, &line).await;
    assert_eq!(ran.exit, Exit::Error);
    assert!(ran.err.ends_with("scratch` is no task hub: it has no file LOCK\n"), "{}", ran.err);
    assert!(folder.exists(), "what is no hub is not removed");

    std::fs::write(folder.join("LOCK"), "").unwrap();
    assert_eq!(piped(&host, &line).await.out, "Task hub 'Scratch' successfully deleted.\n");
    assert!(!folder.exists());
}

#[tokio::test]
async fn func_s_verbs_end_with_1_on_every_failure() {
    let host = FakeHost::new();
    let ran = piped(&host, "durable get-runtime-status --id x").await;
    assert_eq!(
        (ran.exit, ran.out.as_str(), ran.err.as_str()),
        (Exit::Error, "Could not find an orchestration instance with id 'x'\n", "")
    );
    assert_eq!(piped(&host, "durable terminate --id x").await.exit, Exit::Error);
    assert_eq!(piped(&host, "durable get-instances --runtime-status done").await.exit, Exit::Error);
    let ran = piped(&host, "durable get-history --id x --connection-string-setting Other").await;
    assert!(ran.err.starts_with("--connection-string-setting Other is not used"), "{}", ran.err);
}

#[test]
fn every_spelling_of_func_is_understood() {
    use clap::Parser as _;
    let parse = |line: &str| Cli::try_parse_from(line.split_whitespace());
    for line in [
        "everstep start --port 7072 --address 0.0.0.0 --cors * --cors-credentials -t 20 --useHttps --cert c --password p --language-worker x --functions A B",
        "everstep start --no-build --dotnet-isolated-debug --runtime r --user-log-level Debug --enable-json-output --json-output-file f --enableAuth --verbose --script-root d --offline",
        "everstep host start -p 7072 --prefix d",
        "everstep init app --worker-runtime python -l x -m V2 --source-control --docker --docker-only --no-bundle -c GA --force --csx --target-framework net8 --skip-npm-install --no-docs --managed-dependencies --configuration-profile p",
        "everstep new -l python -t HttpTrigger -n Hello -f f -a anonymous --csx",
        "everstep function new --language x --template y --name z --file f --authlevel admin",
        "everstep function create rust shop",
        "everstep durable get-instances --created-after 2026-01-01T00:00:00Z --connection-string-setting S --task-hub-name H --script-root d",
        "everstep durable get-runtime-status --id a --show-input true --show-output false",
        "everstep durable delete-task-hub --connection-string-setting S --task-hub-name H",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    for line in [
        "everstep durable start-new",
        "everstep durable terminate",
        "everstep show",
        "everstep ls --status done",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
    let Command::Durable(durable) = parse("everstep durable get-instances").unwrap().command else {
        panic!()
    };
    assert!(matches!(durable.verb, Durable::GetInstances { top: 10, .. }));
}

/// Every verb with its path.
fn verbs() -> Vec<(String, clap::Command)> {
    fn walk(path: &str, command: &clap::Command, into: &mut Vec<(String, clap::Command)>) {
        for verb in command.get_subcommands() {
            let path = format!("{path} {}", verb.get_name());
            walk(&path, verb, into);
            into.push((path, verb.clone()));
        }
    }
    let mut found = Vec::new();
    let mut command = <Cli as clap::CommandFactory>::command();
    command.build();
    walk("everstep", &command, &mut found);
    found.retain(|(path, _)| !path.ends_with(" help"));
    found
}

#[test]
fn the_arguments_are_well_formed() {
    <Cli as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn every_long_help_has_an_example_that_is_understood() {
    for (path, mut verb) in verbs() {
        if verb.has_subcommands() && path != "everstep durable" {
            continue;
        }
        let help = verb.render_long_help().to_string();
        let example =
            help.split("Example:\n").nth(1).unwrap_or_else(|| panic!("{path} has no example"));
        assert!(example.contains("everstep "), "{path}: {example}");
    }
}

#[test]
fn the_page_about_the_command_line_has_every_verb_format_and_exit_code() {
    let page = include_str!("../../../../docs/cli.md");
    for (path, verb) in verbs() {
        let is_hidden = verb.is_hide_set();
        assert!(is_hidden || page.contains(&format!("`{path}")), "docs/cli.md lacks `{path}`");
    }
    for format in ["table", "json", "jsonl", "csv", "ids"] {
        assert!(page.contains(&format!("`{format}`")), "docs/cli.md lacks `{format}`");
    }
    for line in Exit::TABLE.lines().skip(1) {
        let (code, text) = line.trim().split_once("  ").unwrap();
        assert!(page.contains(&format!("| {code} | {text} |")), "docs/cli.md lacks: {code} {text}");
    }
}

#[tokio::test]
async fn over_a_connection_the_key_and_the_hub_are_sent_along() {
    let host = FakeHost::new().on("GET instances/a?", 200, DONE);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keys = seen.clone();
    let router = host.router().layer(axum::middleware::map_request(
        move |request: axum::extract::Request| {
            let key = request.headers().get("x-functions-key").cloned();
            *keys.lock().unwrap() = key;
            async move { request }
        },
    ));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let api = Api::at(&url, Some("secret".to_owned()), Some("Hub".to_owned())).unwrap();
    let answer =
        api.get(Call::instance(Method::GET, "a", "").query("showInput", "false")).await.unwrap();
    assert_eq!(answer.body, DONE);
    assert_eq!(host.asked(), "GET instances/a?showInput=false&taskHub=Hub");
    assert_eq!(seen.lock().unwrap().as_ref().unwrap(), "secret");
    serving.abort();
    assert!(serving.await.is_err());

    let fault = api.get(Call::instance(Method::GET, "a", "")).await;
    assert!(fault.is_err() || host.asked().lines().count() == 2);
}

#[tokio::test]
async fn a_host_that_is_not_there_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let api = Api::at(&url, None, None).unwrap();
    let fault = api.get(Call::durable(Method::GET, "instances")).await.unwrap_err();
    assert_eq!(fault.exit, Exit::Unreachable);
    assert!(fault.text.starts_with(&format!("no host answers at {url}: ")), "{fault}");
    assert_eq!(
        fault.remedy.unwrap(),
        "start it with `everstep start`, or give another address with --url"
    );
}
