//! Starts: new ids, ids in use, replaced executions, starts that wait for their time.

use crate::script::run;

#[test]
fn a_new_instance_is_pending_until_its_first_turn() {
    let script = "start Checkout 5 version 2 tag team=a; turn -> complete";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout 5 version 2 {"team": "a"} | Pending
    2 Turn, Completed | Completed
    "#);
}

#[test]
fn a_start_for_a_live_instance_is_refused() {
    let script = "\
         start Checkout; start Checkout; turn ->; start Checkout; turn suspend; \
         start Checkout";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 `order` already exists: Pending
    3 Turn | Running
    4 `order` already exists: Running
    5 (not asked) Turn, Suspended | Suspended
    6 `order` already exists: Suspended
    ");
}

#[test]
fn an_instance_that_has_ended_is_replaced() {
    let script = "\
         start Checkout 1; turn -> complete; start Checkout 2; turn -> fail no; \
         start Checkout 3; turn terminate; start Checkout 4";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout 1 | Pending
    2 Turn, Completed | Completed
    3 Started Checkout 2 | Pending
    4 Turn, Failed Error: no | Failed
    5 Started Checkout 3 | Pending
    6 Terminated "why not" | Terminated
    7 Started Checkout 4 | Pending
    "#);
}

#[test]
fn a_start_that_may_replace_nothing_needs_a_new_id() {
    let script = "start Checkout; turn -> complete; start Checkout reuse never";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, Completed | Completed
    3 `order` already exists: Completed
    ");
}

#[test]
fn a_start_may_name_the_statuses_that_it_replaces() {
    let script = "\
         start Checkout; turn -> complete; start Checkout reuse Failed; \
         start Checkout reuse Completed";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, Completed | Completed
    3 `order` already exists: Completed
    4 Started Checkout | Pending
    ");
}

#[test]
fn a_start_may_replace_a_running_instance_whose_late_messages_are_dropped() {
    let script = "\
         start Checkout 1; turn -> call Reserve#0, timer#1 +60s; start Checkout 2 reuse any; \
         turn -> call Reserve#0; turn Reserve#0 completed a of 1, timer#1 fires of 1; \
         turn Reserve#0 completed b -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout 1 | Pending
    2 Turn, TaskScheduled Reserve#0, TimerCreated #1 +60s | Running
        open: Reserve#0, timer#1 +60s
    3 Started Checkout 2 | Pending
        open: Reserve#0 of execution 1
    4 Turn, TaskScheduled Reserve#0 | Running
        open: Reserve#0 of execution 1, Reserve#0
    5 (not asked) no event | Running
        open: Reserve#0
        dropped: TaskEnded #0 ok a (execution 1 is over)
        dropped: TimerFired #1 (execution 1 is over)
    6 Turn, TaskEnded #0 ok b, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_replaced_execution_gives_its_locks_back_and_tells_its_parent() {
    let script = "\
         start Parent as parent; turn parent -> child Checkout#0 as order; \
         turn -> lock#0 @a@x; turn @a@x; turn ->; start Checkout reuse any; turn @a@x; \
         turn parent -> complete";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Parent | Pending
    2 parent Turn, ChildCreated Checkout#0 as order | Running
        open: order#0
        to order: Start Checkout for #0 of parent
        Started Checkout | Pending
    3 Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    4 @a@x done
        open: locked by order#0
        to order: LockGranted #0
    5 Turn, LockGranted #0 | Running
        open: lock#0 held
    6 Started Checkout | Pending
        open: nothing
        to @a@x: unlock for order#0
        to parent: ChildEnded #0 failed Terminated: the instance was replaced by a new start under its id
    7 @a@x done
        open: nothing
    8 parent Turn, ChildEnded #0 failed Terminated: the instance was replaced by a new start under its id, Completed | Completed
        open: nothing
    "#);
}

#[test]
fn nothing_but_the_number_is_taken_over_from_a_replaced_instance() {
    let script = "\
         start Checkout; turn raise Go key k -> status busy; turn suspend; \
         turn raise Go later; start Checkout reuse any; turn raise Go key k -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, EventRaised Go | Running
        open: status busy
    3 (not asked) Turn, Suspended | Suspended
    4 (not asked) no event | Suspended
        open: status busy, [raise Go later]
    5 Started Checkout | Pending
        open: nothing
    6 Turn, EventRaised Go, Completed | Completed
    ");
}

#[test]
fn a_scheduled_start_waits_for_its_time() {
    let script = "start Checkout at +60s; turn; wait 59s; turn; wait 1s; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout at +60s | Pending
    2 nothing
    3 it is +59s
    4 nothing
    5 it is +60s
    6 Turn, Completed | Completed
    ");
}

#[test]
fn a_start_scheduled_in_the_past_begins_at_once() {
    let script = "wait 60s; start Checkout at +60s; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 it is +60s
    2 Started Checkout | Pending
    3 Turn, Completed | Completed
    ");
}

#[test]
fn events_for_a_start_that_waits_are_kept() {
    let script =
        "start Checkout at +60s; turn raise Go 1; turn raise Go 2; wait 60s; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout at +60s | Pending
    2 (not asked) no event | Pending
        open: [raise Go 1]
    3 (not asked) no event | Pending
        open: [raise Go 1], [raise Go 2]
    4 it is +60s
    5 Turn, EventRaised Go 1, EventRaised Go 2, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_start_that_waits_can_be_terminated() {
    let script = "start Checkout at +60s; turn terminate";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout at +60s | Pending
    2 Terminated "why not" | Terminated
    "#);
}

#[test]
fn a_resumed_instance_still_waits_for_the_time_of_its_start() {
    let script = "start Checkout at +60s; turn suspend; turn resume; wait 60s; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout at +60s | Pending
    2 (not asked) Suspended | Suspended
    3 (not asked) Resumed | Pending
    4 it is +60s
    5 Turn, Completed | Completed
    ");
}

#[test]
fn a_start_that_came_due_while_suspended_begins_when_resumed() {
    let script = "start Checkout at +60s; turn suspend; wait 60s; turn; turn resume -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout at +60s | Pending
    2 (not asked) Suspended | Suspended
    3 it is +60s
    4 nothing
        dropped: the start is due (it changes nothing)
    5 Resumed, Turn, Completed | Completed
    ");
}
