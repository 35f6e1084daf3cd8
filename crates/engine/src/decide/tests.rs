//! Decisions: actions, sub-orchestrations, custom status, continue-as-new, and what a decision must not contain.

use crate::script::run;

#[test]
fn each_action_is_one_event_in_the_order_of_the_actions() {
    let script = "\
         start Checkout; \
         turn -> call A#0 1, timer#1 +5s, child Pay#2 as pay, send Go#3 2 to pay, tell @a@x add#4 3, complete 4";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 1, TimerCreated #1 +5s, ChildCreated Pay#2 as pay, EventSent Go#3 to pay 2, OperationSignaled @a@x add#4 3, Completed 4 | Completed
        open: A#0
        to pay: Start Pay for #2 of order
        Started Pay | Pending
        to pay: raise Go 2
        to @a@x: signal add 3
    ");
}

#[test]
fn ids_may_have_gaps() {
    let script = "start Checkout; turn -> call A#3, call B#9; turn A#3 completed -> call C#10";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#3, TaskScheduled B#9 | Running
        open: A#3, B#9
    3 Turn, TaskEnded #3 ok, TaskScheduled C#10 | Running
        open: B#9, C#10
    ");
}

#[test]
fn ids_that_do_not_rise_fail_the_execution() {
    let script = "start Checkout; turn -> call A#1, call B#1";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, Failed RuleViolation: the worker gave ids that do not rise above 0: [EventId(1), EventId(1)] | Failed
    ");
}

#[test]
fn an_id_of_an_earlier_turn_fails_the_execution() {
    let script = "start Checkout; turn -> call A#0, call B#1; turn A#0 completed -> call C#1";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0, TaskScheduled B#1 | Running
        open: A#0, B#1
    3 Turn, TaskEnded #0 ok, Failed RuleViolation: the worker gave ids that do not rise above 2: [EventId(1)] | Failed
        open: B#1
    ");
}

#[test]
fn a_timer_that_is_set_and_canceled_in_one_turn_is_not_open() {
    let script = "start Checkout; turn -> timer#0 +60s, cancel 0";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TimerCreated #0 +60s, TimerCanceled #0 | Running
    ");
}

#[test]
fn the_child_s_id_comes_from_the_execution_and_the_call() {
    let script = "start Checkout; turn -> child Pay#4 9; turn e1:4 -> complete 8; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#4 as e1:4 9 | Running
        open: e1:4#4
        to e1:4: Start Pay 9 for #4 of order
        Started Pay 9 | Pending
    3 e1:4 Turn, Completed 8 | Completed
        to order: ChildEnded #4 ok 8
    4 Turn, ChildEnded #4 ok 8, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_failed_child_fails_the_call_with_its_causes() {
    let script = "\
         start Checkout; turn -> child Pay#0 as pay; turn pay -> fail no money <- no job; \
         turn -> fail no pay";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay | Running
        open: pay#0
        to pay: Start Pay for #0 of order
        Started Pay | Pending
    3 pay Turn, Failed Error: no money <- Error: no job | Failed
        to order: ChildEnded #0 failed Error: no money <- Error: no job
    4 Turn, ChildEnded #0 failed Error: no money <- Error: no job, Failed Error: no pay | Failed
        open: nothing
    ");
}

#[test]
fn a_child_that_continues_as_new_keeps_its_parent_and_says_nothing() {
    let script = "\
         start Checkout; turn -> child Pay#0 as pay; turn pay -> again 2; turn; \
         turn pay -> complete 3; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay | Running
        open: pay#0
        to pay: Start Pay for #0 of order
        Started Pay | Pending
    3 pay Turn | Running
        next Started Pay 2 | Running
    4 nothing
    5 pay Turn, Completed 3 | Completed
        to order: ChildEnded #0 ok 3
    6 Turn, ChildEnded #0 ok 3, Completed | Completed
        open: nothing
    ");
}

#[test]
fn an_answer_of_a_child_comes_once() {
    let script = "\
         start Checkout; turn -> child Pay#0 as pay, call A#1; turn pay -> complete 3; \
         turn ->; repeat; turn";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay, TaskScheduled A#1 | Running
        open: A#1, pay#0
        to pay: Start Pay for #0 of order
        Started Pay | Pending
    3 pay Turn, Completed 3 | Completed
        to order: ChildEnded #0 ok 3
    4 Turn, ChildEnded #0 ok 3 | Running
        open: A#1
    5 the same messages again
    6 nothing
        dropped: ChildEnded #0 ok 3 (nobody waits for it)
    ");
}

#[test]
fn an_answer_of_a_child_for_an_ended_execution_is_dropped() {
    let script = "\
         start Checkout; turn -> child Pay#0 as pay; turn raise Go -> again; \
         turn pay -> complete 3; turn -> child Pay#0 as other; repeat; turn";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay | Running
        open: pay#0
        to pay: Start Pay for #0 of order
        Started Pay | Pending
    3 Turn, EventRaised Go | Running
        next Started Checkout | Running
        open: nothing
    4 pay Turn, Completed 3 | Completed
        to order: ChildEnded #0 ok 3
    5 Turn, ChildCreated Pay#0 as other | Running
        open: other#0
        to other: Start Pay for #0 of order
        Started Pay | Pending
        dropped: ChildEnded #0 ok 3 (nobody waits for it)
    6 the same messages again
    7 nothing
        dropped: ChildEnded #0 ok 3 (nobody waits for it)
    ");
}

#[test]
fn a_child_whose_id_is_in_use_fails_the_call() {
    let script = "\
         start Pay as pay; turn pay ->; start Checkout; turn -> child Pay#0 as pay; \
         turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Pay | Pending
    2 pay Turn | Running
    3 Started Checkout | Pending
    4 Turn, ChildCreated Pay#0 as pay | Running
        open: pay#0
        to pay: Start Pay for #0 of order
        `pay` already exists: Running
        to order: ChildEnded #0 failed InstanceAlreadyExists: an instance with the id `pay` is already running; give the sub-orchestration an id of its own
    5 Turn, ChildEnded #0 failed InstanceAlreadyExists: an instance with the id `pay` is already running; give the sub-orchestration an id of its own, Completed | Completed
        open: nothing
    ");
}

#[test]
fn an_instance_cannot_start_itself_or_its_parent() {
    let script = "\
         start Checkout; turn -> child Pay#0 as pay; \
         turn pay -> child Loop#0 as pay, child Loop#1 as order, child Loop#2 as ORDER, child Loop#3 as @a@b; \
         turn pay -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay | Running
        open: pay#0
        to pay: Start Pay for #0 of order
        Started Pay | Pending
    3 pay Turn, ChildCreated Loop#0 as pay, ChildCreated Loop#1 as order, ChildCreated Loop#2 as ORDER, ChildCreated Loop#3 as @a@b | Running
        open: pay#0, order#1, ORDER#2, @a@b#3
        to pay: ChildEnded #0 failed RuleViolation: `pay` is the caller itself or its parent; give the child an id of its own
        to pay: ChildEnded #1 failed RuleViolation: `order` is the caller itself or its parent; give the child an id of its own
        to pay: ChildEnded #2 failed RuleViolation: `ORDER` is the caller itself or its parent; give the child an id of its own
        to pay: ChildEnded #3 failed RuleViolation: `@a@b` is an entity's id; give the child an id without a leading `@`
    4 pay Turn, ChildEnded #0 failed RuleViolation: `pay` is the caller itself or its parent; give the child an id of its own, ChildEnded #1 failed RuleViolation: `order` is the caller itself or its parent; give the child an id of its own, ChildEnded #2 failed RuleViolation: `ORDER` is the caller itself or its parent; give the child an id of its own, ChildEnded #3 failed RuleViolation: `@a@b` is an entity's id; give the child an id without a leading `@`, Completed | Completed
        open: nothing
        to order: ChildEnded #0 ok
    ");
}

#[test]
fn nobody_waits_for_a_detached_child() {
    let script = "start Checkout; turn -> detach Pay#0 as pay, complete; turn pay -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay, Completed | Completed
        to pay: Start Pay for nothing of order
        Started Pay | Pending
    3 pay Turn, Completed | Completed
    ");
}

#[test]
fn children_get_the_tags_of_their_parent() {
    let script = "\
         start Checkout tag team=a; turn -> child Pay#0 as pay tag step=pay; \
         turn pay -> child Book#0 as book tag team=b";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout {"team": "a"} | Pending
    2 Turn, ChildCreated Pay#0 as pay | Running
        open: pay#0
        to pay: Start Pay for #0 of order
        Started Pay {"step": "pay", "team": "a"} | Pending
    3 pay Turn, ChildCreated Book#0 as book | Running
        open: book#0
        to book: Start Book for #0 of pay
        Started Book {"step": "pay", "team": "b"} | Pending
    "#);
}

#[test]
fn a_child_may_have_a_version_of_its_own() {
    let script =
        "start Checkout version 1; turn -> child Pay#0 as pay version 7, child Ship#1 as ship";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout version 1 | Pending
    2 Turn, ChildCreated Pay#0 as pay, ChildCreated Ship#1 as ship | Running
        open: pay#0, ship#1
        to pay: Start Pay for #0 of order
        Started Pay version 7 | Pending
        to ship: Start Ship for #1 of order
        Started Ship | Pending
    ");
}

#[test]
fn an_event_is_sent_to_another_instance() {
    let script = "\
         start Wait as other; turn other ->; start Checkout; \
         turn -> send Go#0 5 to other, complete; turn other -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Wait | Pending
    2 other Turn | Running
    3 Started Checkout | Pending
    4 Turn, EventSent Go#0 to other 5, Completed | Completed
        to other: raise Go 5
    5 other Turn, EventRaised Go 5, Completed | Completed
    ");
}

#[test]
fn an_event_for_nobody_is_dropped() {
    let script = "start Checkout; turn -> send Go#0 5 to nobody, complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, EventSent Go#0 to nobody 5, Completed | Completed
        to nobody: raise Go 5
        dropped: there is no `nobody`
    ");
}

#[test]
fn a_custom_status_stays_until_another_is_given() {
    let script = "\
         start Checkout; turn -> status busy; turn raise Go ->; \
         turn raise Go -> status done, complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
        open: status busy
    3 Turn, EventRaised Go | Running
    4 Turn, EventRaised Go, Completed | Completed
        open: status done
    ");
}

#[test]
fn a_custom_status_is_kept_by_the_next_generation() {
    let script = "start Checkout; turn -> status busy, again 2";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
        open: status busy
        next Started Checkout 2 | Running
    ");
}

#[test]
fn a_custom_status_of_16_kb_in_utf_16_is_taken() {
    let script = "start Checkout; turn -> status x*8192";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
        open: status <8192 bytes>
    ");
}

#[test]
fn a_larger_custom_status_fails_the_execution() {
    let script = "start Checkout; turn -> status é*8193";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, Failed LimitExceeded: The UTF-16 size of the JSON-serialized payload must not exceed 16 KB. The current payload size is 17 KB. | Failed
    ");
}

#[test]
fn a_wait_is_remembered_until_another_is_told() {
    let script = "\
         start Checkout; turn -> waits Go; turn raise Stop ->; turn raise Go -> waits Stop; \
         turn raise Stop -> complete";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn | Running
        open: waits for Event("Go")
    3 Turn, EventRaised Stop | Running
    4 Turn, EventRaised Go | Running
        open: waits for Event("Stop")
    5 Turn, EventRaised Stop, Completed | Completed
        open: nothing
    "#);
}

#[test]
fn continue_as_new_begins_an_empty_history_that_wants_a_turn() {
    let script = "\
         start Checkout 1 version 2 tag a=b; turn -> call A#0, timer#1 +60s, again 2; \
         turn -> call A#0; turn A#0 completed -> complete";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout 1 version 2 {"a": "b"} | Pending
    2 Turn, TaskScheduled A#0, TimerCreated #1 +60s | Running
        open: A#0, timer#1 +60s
        next Started Checkout 2 version 2 {"a": "b"} | Running
        open: A#0 of execution 1
    3 Turn, TaskScheduled A#0 | Running
        open: A#0 of execution 1, A#0
    4 Turn, TaskEnded #0 ok, Completed | Completed
        open: A#0 of execution 1
    "#);
}

#[test]
fn continue_as_new_may_change_the_version() {
    let script = "start Checkout version 2; turn -> again version 3";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout version 2 | Pending
    2 Turn | Running
        next Started Checkout version 3 | Running
    ");
}

#[test]
fn carried_events_stand_in_the_next_history() {
    let script =
        "start Checkout; turn raise Go 1, raise Go 2 -> again 5 carry Go=2; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, EventRaised Go 1, EventRaised Go 2 | Running
        next Started Checkout 5, EventRaised Go 2 | Running
    3 Turn, Completed | Completed
    ");
}

#[test]
fn events_that_are_not_carried_are_gone() {
    let script = "start Checkout; turn raise Go 1 -> again; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, EventRaised Go 1 | Running
        next Started Checkout | Running
    3 Turn, Completed | Completed
    ");
}

#[test]
fn a_message_that_is_held_over_continue_as_new_enters_the_next_generation() {
    let script = "\
         start Checkout; turn raise Go 1 ->; hold raise Go 2; turn -> again; \
         turn raise Go 3 -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, EventRaised Go 1 | Running
    3 put aside: no event | Running
        open: [raise Go 2]
    4 Turn, EventRaised Go 2 | Running
        open: nothing
        next Started Checkout | Running
    5 Turn, EventRaised Go 3, Completed | Completed
    ");
}

#[test]
fn an_orchestration_that_ends_gives_its_locks_back() {
    let script = "\
         start Checkout; turn -> lock#0 @a@x @b@y; turn @a@x; turn @b@y; turn -> complete; \
         turn @a@x; turn @b@y";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, LockRequested #0 ["@a@x", "@b@y"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    3 @a@x done
        open: locked by order#0
        to @b@y: lock for order#0, number 1
    4 @b@y done
        open: locked by order#0
        to order: LockGranted #0
    5 Turn, LockGranted #0, Completed | Completed
        open: nothing
        to @a@x: unlock for order#0
        to @b@y: unlock for order#0
    6 @a@x done
        open: nothing
    7 @b@y done
        open: nothing
    "#);
}

#[test]
fn an_orchestration_that_fails_gives_its_locks_back() {
    let script = "start Checkout; turn -> lock#0 @a@x; turn @a@x; turn -> fail no; turn @a@x";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    3 @a@x done
        open: locked by order#0
        to order: LockGranted #0
    4 Turn, LockGranted #0, Failed Error: no | Failed
        open: nothing
        to @a@x: unlock for order#0
    5 @a@x done
        open: nothing
    "#);
}

#[test]
fn an_orchestration_that_continues_as_new_gives_its_locks_back() {
    let script = "start Checkout; turn -> lock#0 @a@x; turn @a@x; turn -> again; turn @a@x";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    3 @a@x done
        open: locked by order#0
        to order: LockGranted #0
    4 Turn, LockGranted #0 | Running
        open: lock#0 held
        to @a@x: unlock for order#0
        next Started Checkout | Running
        open: nothing
    5 @a@x done
        open: nothing
    "#);
}

#[test]
fn a_terminated_orchestration_gives_its_locks_back() {
    let script =
        "start Checkout; turn -> lock#0 @a@x; turn @a@x; turn ->; turn terminate; turn @a@x";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    3 @a@x done
        open: locked by order#0
        to order: LockGranted #0
    4 Turn, LockGranted #0 | Running
        open: lock#0 held
    5 Turn, Terminated "why not" | Terminated
        open: nothing
        to @a@x: unlock for order#0
    6 @a@x done
        open: nothing
    "#);
}

#[test]
fn a_lock_of_no_entities_is_granted_at_once() {
    let script = "start Checkout; turn -> lock#0; turn -> unlock#1 0, complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, LockRequested #0 [] | Running
        open: lock#0 asked for
        to order: LockGranted #0
    3 Turn, LockGranted #0, LockReleased #1 of #0, Completed | Completed
        open: nothing
    ");
}

#[test]
fn the_timer_of_a_retry_remembers_what_it_tries_again() {
    let script = "\
         start Checkout; turn -> call A#0; \
         turn A#0 failed one -> timer#1 +5s attempt 2 of 0; wait 5s; \
         turn -> call A#2 attempt 2 of 0; turn A#2 completed -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 Turn, TaskEnded #0 failed Error: one, TimerCreated #1 +5s | Running
        open: timer#1 +5s before attempt 2 of #0
    4 it is +5s
    5 Turn, TimerFired #1, TaskScheduled A#2 | Running
        open: A#2 attempt 2
    6 Turn, TaskEnded #2 ok, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_decision_that_breaks_a_rule_is_not_taken_but_its_turn_is_recorded() {
    let script = "start Checkout; turn -> call A#0; turn A#0 completed 1 -> call B#0";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 Turn, TaskEnded #0 ok 1, Failed RuleViolation: the worker gave ids that do not rise above 1: [EventId(0)] | Failed
        open: nothing
    ");
}

#[test]
fn a_value_larger_than_the_hub_allows_fails_the_execution() {
    let limits = crate::Limits { value_bytes: 10, ..crate::Limits::default() };
    let script = "start Checkout; turn -> call A#0 x*10; turn raise Go -> complete x*11";
    insta::assert_snapshot!(crate::script::run_with(limits, script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 xxxxxxxxxx | Running
        open: A#0
    3 Turn, EventRaised Go, Failed LimitExceeded: a value of 11 bytes is larger than the hub allows (10); store it elsewhere and pass a reference, or raise the limit | Failed
    ");
}

#[test]
fn made_ids_depend_on_the_execution_and_the_call_alone() {
    let execution = everstep_model::ExecutionId::new("e1");
    let call = everstep_model::EventId(4);
    assert_eq!(super::child_id(&execution, call).as_str(), "e1:4");
    assert_eq!(super::request_id(&execution, call).simple(), "beca550c30e51a15724ab6de72c758b4");
}
