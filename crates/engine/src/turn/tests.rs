//! Turns: what enters them, what is held, what is dropped, and what ends an execution from outside.

use everstep_model::{Iid, InstanceId, Timestamp, Wait};

use crate::{Decided, Instance, Limits, begin, finish, script::run};

#[test]
fn the_result_of_an_activity_brings_the_next_turn() {
    let script =
        "start Checkout; turn -> call Reserve#0 5; turn Reserve#0 completed 7 -> complete 7";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled Reserve#0 5 | Running
        open: Reserve#0
    3 Turn, TaskEnded #0 ok 7, Completed 7 | Completed
        open: nothing
    ");
}

#[test]
fn a_failed_activity_is_told_with_its_causes() {
    let script = "\
         start Checkout; turn -> call Reserve#0; \
         turn Reserve#0 failed no stock <- no connection <- no net -> fail no stock";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled Reserve#0 | Running
        open: Reserve#0
    3 Turn, TaskEnded #0 failed Error: no stock <- Error: no connection <- Error: no net, Failed Error: no stock | Failed
        open: nothing
    ");
}

#[test]
fn a_result_that_comes_twice_counts_once() {
    let script = "\
         start Checkout; turn -> call A#0, call B#1; \
         turn A#0 completed 1, A#0 completed 2 ->; turn A#0 completed 3; \
         turn B#1 completed 4 -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0, TaskScheduled B#1 | Running
        open: A#0, B#1
    3 Turn, TaskEnded #0 ok 1 | Running
        open: B#1
        dropped: TaskEnded #0 ok 2 (nobody waits for it)
    4 nothing
        dropped: TaskEnded #0 ok 3 (nobody waits for it)
    5 Turn, TaskEnded #1 ok 4, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_result_for_a_call_that_was_never_made_is_dropped() {
    let script = "start Checkout; turn -> call A#0; turn B#7 completed 1";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 nothing
        dropped: TaskEnded #7 ok 1 (nobody waits for it)
    ");
}

#[test]
fn a_reply_to_an_ended_execution_closes_its_call_and_is_dropped() {
    let script = "\
         start Checkout; turn -> call Reserve#0, again 2; \
         turn Reserve#0 completed 5 of 1 ->; turn raise Go -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled Reserve#0 | Running
        open: Reserve#0
        next Started Checkout 2 | Running
        open: Reserve#0 of execution 1
    3 Turn | Running
        open: nothing
        dropped: TaskEnded #0 ok 5 (execution 1 is over)
    4 Turn, EventRaised Go, Completed | Completed
    ");
}

#[test]
fn a_late_reply_alone_brings_no_turn() {
    let script = "\
         start Checkout; turn -> call Reserve#0, again 2; turn ->; \
         turn Reserve#0 completed 5 of 1";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled Reserve#0 | Running
        open: Reserve#0
        next Started Checkout 2 | Running
        open: Reserve#0 of execution 1
    3 Turn | Running
    4 (not asked) no event | Running
        open: nothing
        dropped: TaskEnded #0 ok 5 (execution 1 is over)
    ");
}

#[test]
fn a_call_that_was_not_awaited_still_ends_after_its_execution() {
    let script = "\
         start Checkout; turn -> call Log#0, complete; turn Log#0 completed; \
         turn Log#0 completed";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled Log#0, Completed | Completed
        open: Log#0
    3 (not asked) no event | Completed
        open: nothing
        dropped: TaskEnded #0 ok (the instance has ended)
    4 nothing
        dropped: TaskEnded #0 ok (the instance has ended)
    ");
}

#[test]
fn messages_to_an_ended_instance_are_dropped() {
    let script = "\
         start Checkout; turn -> complete; \
         turn raise Go, suspend, resume, terminate, timer#0 fires, A#0 completed";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, Completed | Completed
    3 nothing
        dropped: raise Go (the instance has ended)
        dropped: suspend (the instance has ended)
        dropped: resume (the instance has ended)
        dropped: terminate (the instance has ended)
        dropped: TimerFired #0 (the instance has ended)
        dropped: TaskEnded #0 ok (the instance has ended)
    ");
}

#[test]
fn several_messages_enter_one_turn_in_the_order_of_arrival() {
    let script = "\
         start Checkout; turn -> call A#0, call B#1; \
         turn B#1 completed 1, raise Go 2, A#0 completed 3 -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0, TaskScheduled B#1 | Running
        open: A#0, B#1
    3 Turn, TaskEnded #1 ok 1, EventRaised Go 2, TaskEnded #0 ok 3, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_timer_fires() {
    let script = "start Checkout; turn -> timer#0 +60s; wait 59s; turn; wait 1s; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TimerCreated #0 +60s | Running
        open: timer#0 +60s
    3 it is +59s
    4 nothing
    5 it is +60s
    6 Turn, TimerFired #0, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_timer_fires_once() {
    let script = "start Checkout; turn -> timer#0 +60s, call A#1; wait 60s; turn ->; repeat; turn";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TimerCreated #0 +60s, TaskScheduled A#1 | Running
        open: A#1, timer#0 +60s
    3 it is +60s
    4 Turn, TimerFired #0 | Running
        open: A#1
    5 the same messages again
    6 nothing
        dropped: TimerFired #0 (nobody waits for it)
    ");
}

#[test]
fn a_timer_of_the_past_fires_at_once() {
    let script = "wait 60s; start Checkout; turn -> timer#0 +5s; wait 0s; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 it is +60s
    2 Started Checkout | Pending
    3 Turn, TimerCreated #0 +5s | Running
        open: timer#0 +5s
    4 it is +60s
    5 Turn, TimerFired #0, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_canceled_timer_that_still_fires_is_dropped() {
    let script =
        "start Checkout; turn -> timer#0 +60s; turn raise Go -> cancel 0; turn timer#0 fires";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TimerCreated #0 +60s | Running
        open: timer#0 +60s
    3 Turn, EventRaised Go, TimerCanceled #0 | Running
        open: nothing
    4 nothing
        dropped: TimerFired #0 (nobody waits for it)
    ");
}

#[test]
fn a_timer_of_an_ended_execution_is_dropped() {
    let script = "\
         start Checkout; turn -> timer#0 +60s; wait 60s; turn raise Go -> again; \
         turn timer#0 fires of 1 ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TimerCreated #0 +60s | Running
        open: timer#0 +60s
    3 it is +60s
    4 Turn, TimerFired #0, EventRaised Go | Running
        open: nothing
        next Started Checkout | Running
    5 Turn | Running
        dropped: TimerFired #0 (execution 1 is over)
    ");
}

#[test]
fn an_event_is_recorded_before_anybody_waits_for_it() {
    let script = "start Checkout; turn raise Go 1 ->; turn raise Stop -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, EventRaised Go 1 | Running
    3 Turn, EventRaised Stop, Completed | Completed
    ");
}

#[test]
fn events_are_recorded_in_the_order_of_arrival_with_their_spelling() {
    let script = "\
         start Checkout; turn ->; turn raise go 1, raise Go 2, raise GO 3 ->; \
         turn raise Go 4 ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
    3 Turn, EventRaised go 1, EventRaised Go 2, EventRaised GO 3 | Running
    4 Turn, EventRaised Go 4 | Running
    ");
}

#[test]
fn a_raise_with_a_known_key_is_dropped() {
    let script = "\
         start Checkout; turn ->; turn raise Go 1 key k, raise Go 2 key k ->; \
         turn raise Go 3 key k; turn raise Go 4 key other ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
    3 Turn, EventRaised Go 1 | Running
        dropped: raise Go 2 (its key is known)
    4 nothing
        dropped: raise Go 3 (its key is known)
    5 Turn, EventRaised Go 4 | Running
    ");
}

#[test]
fn keys_are_remembered_over_continue_as_new() {
    let script = "start Checkout; turn raise Go 1 key k -> again; turn raise Go 1 key k ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, EventRaised Go 1 | Running
        next Started Checkout | Running
    3 Turn | Running
        dropped: raise Go 1 (its key is known)
    ");
}

#[test]
fn a_held_raise_uses_up_its_key_and_enters_once() {
    let script = "\
         start Checkout; turn ->; hold raise Go 1 key k, raise Go 2 key k; \
         turn raise Go 3 key k ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
    3 put aside: no event | Running
        open: [raise Go 1]
    4 Turn, EventRaised Go 1 | Running
        open: nothing
        dropped: raise Go 3 (its key is known)
    ");
}

#[test]
fn raises_of_one_key_are_held_once_while_suspended() {
    let script = "\
         start Checkout; turn ->; turn suspend; turn raise Go 1 key k, raise Go 2 key k; \
         turn raise Go 3 key k; turn resume ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
    3 (not asked) Turn, Suspended | Suspended
    4 (not asked) no event | Suspended
        open: [raise Go 1]
        dropped: raise Go 2 (its key is known)
    5 nothing
        dropped: raise Go 3 (its key is known)
    6 Turn, Resumed, EventRaised Go 1 | Running
        open: nothing
    ");
}

#[test]
fn a_raise_that_did_not_take_effect_does_not_use_up_its_key() {
    let script = "\
         start Checkout; turn -> call A#0; hold A#0 failed no; turn -> fail no; \
         turn raise Go 1 key k; rewind; turn raise Go 2 key k ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 put aside: no event | Running
        open: A#0, [TaskEnded #0 failed Error: no]
    4 Turn, TaskEnded #0 failed Error: no, Failed Error: no | Failed
        open: nothing
    5 nothing
        dropped: raise Go 1 (the instance has ended)
    6 Started Checkout, Turn, TaskScheduled A#0, Turn, Rewound | Running
        open: A#0
    7 Turn, EventRaised Go 2 | Running
    ");
}

#[test]
fn a_raise_that_an_ended_instance_had_held_gives_its_key_back() {
    let script = "\
         start Checkout; turn -> call A#0; \
         turn A#0 failed no while raise Go 1 key k -> fail no; turn raise Go 2 key k; \
         rewind; turn raise Go 3 key k ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 put aside: no event | Running
        open: A#0, [TaskEnded #0 failed Error: no]
        then put aside: no event | Running
        open: A#0, [TaskEnded #0 failed Error: no], [raise Go 1]
        then Turn, TaskEnded #0 failed Error: no, Failed Error: no | Failed
        open: [raise Go 1]
    4 (not asked) no event | Failed
        open: nothing
        dropped: raise Go 1 (the instance has ended)
        dropped: raise Go 2 (the instance has ended)
    5 Started Checkout, Turn, TaskScheduled A#0, Turn, Rewound | Running
        open: A#0
    6 Turn, EventRaised Go 3 | Running
    ");
}

#[test]
fn a_rewind_gives_the_key_of_a_held_raise_back() {
    let script = "\
         start Checkout; turn -> call A#0; \
         turn A#0 failed no while raise Go 1 key k -> fail no; rewind; \
         turn raise Go 2 key k ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 put aside: no event | Running
        open: A#0, [TaskEnded #0 failed Error: no]
        then put aside: no event | Running
        open: A#0, [TaskEnded #0 failed Error: no], [raise Go 1]
        then Turn, TaskEnded #0 failed Error: no, Failed Error: no | Failed
        open: [raise Go 1]
    4 Started Checkout, Turn, TaskScheduled A#0, Turn, Rewound | Running
        open: A#0
    5 Turn, EventRaised Go 2 | Running
    ");
}

#[test]
fn a_raise_held_while_its_instance_works_enters_the_next_turn() {
    let script = "\
         start Checkout; turn -> call A#0; \
         turn A#0 completed 1 while raise Go 1 -> call B#1; turn ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 put aside: no event | Running
        open: A#0, [TaskEnded #0 ok 1]
        then put aside: no event | Running
        open: A#0, [TaskEnded #0 ok 1], [raise Go 1]
        then Turn, TaskEnded #0 ok 1, TaskScheduled B#1 | Running
        open: B#1, [raise Go 1]
    4 Turn, EventRaised Go 1 | Running
        open: B#1
    ");
}

#[test]
fn a_termination_that_comes_while_the_worker_has_the_turn_takes_its_messages_back() {
    let script = "start Checkout; turn -> call A#0; hold A#0 completed 1; turn terminate";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 put aside: no event | Running
        open: A#0, [TaskEnded #0 ok 1]
    4 Turn, Terminated "why not" | Terminated
        open: nothing
        dropped: TaskEnded #0 ok 1 (the instance ends here)
    "#);
}

#[test]
fn a_suspended_instance_holds_all_messages_for_its_code() {
    let script = "\
         start Checkout; turn -> call A#0, timer#1 +60s; turn suspend; turn A#0 completed 1; \
         wait 60s; turn; turn raise Go; turn resume -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0, TimerCreated #1 +60s | Running
        open: A#0, timer#1 +60s
    3 (not asked) Turn, Suspended | Suspended
    4 (not asked) no event | Suspended
        open: A#0, timer#1 +60s, [TaskEnded #0 ok 1]
    5 it is +60s
    6 (not asked) no event | Suspended
        open: A#0, timer#1 +60s, [TaskEnded #0 ok 1], [TimerFired #1]
    7 (not asked) no event | Suspended
        open: A#0, timer#1 +60s, [TaskEnded #0 ok 1], [TimerFired #1], [raise Go]
    8 Turn, Resumed, TaskEnded #0 ok 1, TimerFired #1, EventRaised Go, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_second_suspend_and_a_second_resume_are_absorbed() {
    let script = "\
         start Checkout; turn ->; turn suspend, suspend; turn suspend; \
         turn resume, resume ->; turn resume";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
    3 (not asked) Turn, Suspended | Suspended
        dropped: suspend (it changes nothing)
    4 nothing
        dropped: suspend (it changes nothing)
    5 Turn, Resumed | Running
        dropped: resume (it changes nothing)
    6 nothing
        dropped: resume (it changes nothing)
    ");
}

#[test]
fn a_message_behind_a_suspend_in_one_turn_waits() {
    let script = "start Checkout; turn ->; turn raise Go 1, suspend; turn resume ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
    3 (not asked) Turn, Suspended | Suspended
        open: [raise Go 1]
    4 Turn, Resumed, EventRaised Go 1 | Running
        open: nothing
    ");
}

#[test]
fn an_instance_suspended_before_its_first_turn_is_pending_again_when_resumed() {
    let script = "start Checkout; turn suspend; turn raise Go; turn resume -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 (not asked) Suspended | Suspended
    3 (not asked) no event | Suspended
        open: [raise Go]
    4 Resumed, Turn, EventRaised Go, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_result_that_comes_twice_while_suspended_enters_once() {
    let script = "\
         start Checkout; turn -> call A#0; turn suspend; \
         turn A#0 completed 1, A#0 completed 2; turn A#0 completed 3; turn resume -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 (not asked) Turn, Suspended | Suspended
    4 (not asked) no event | Suspended
        open: A#0, [TaskEnded #0 ok 1], [TaskEnded #0 ok 2]
    5 (not asked) no event | Suspended
        open: A#0, [TaskEnded #0 ok 1], [TaskEnded #0 ok 2], [TaskEnded #0 ok 3]
    6 Turn, Resumed, TaskEnded #0 ok 1, Completed | Completed
        open: nothing
        dropped: TaskEnded #0 ok 2 (nobody waits for it)
        dropped: TaskEnded #0 ok 3 (nobody waits for it)
    ");
}

#[test]
fn terminate_ends_an_instance_at_once() {
    let script =
        "start Checkout; turn -> call A#0, timer#1 +60s; turn terminate; turn A#0 completed";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0, TimerCreated #1 +60s | Running
        open: A#0, timer#1 +60s
    3 Turn, Terminated "why not" | Terminated
        open: nothing
    4 nothing
        dropped: TaskEnded #0 ok (the instance has ended)
    "#);
}

#[test]
fn terminate_beats_everything_else_in_its_turn() {
    let script =
        "start Checkout; turn -> call A#0; turn A#0 completed 1, raise Go, terminate, suspend";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 Turn, Terminated "why not" | Terminated
        open: nothing
        dropped: TaskEnded #0 ok 1 (the instance ends here)
        dropped: raise Go (the instance ends here)
        dropped: suspend (the instance ends here)
    "#);
}

#[test]
fn terminate_ends_a_suspended_instance_and_drops_what_it_held() {
    let script = "start Checkout; turn ->; turn suspend; turn raise Go; turn terminate";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn | Running
    3 (not asked) Turn, Suspended | Suspended
    4 (not asked) no event | Suspended
        open: [raise Go]
    5 Turn, Terminated "why not" | Terminated
        open: nothing
        dropped: raise Go (the instance ends here)
    "#);
}

#[test]
fn terminate_ends_a_pending_instance() {
    let script = "start Checkout; turn terminate; turn";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Terminated "why not" | Terminated
    3 nothing
    "#);
}

#[test]
fn terminate_takes_the_children_along() {
    let script = "\
         start Checkout; turn -> child Pay#0 as pay; turn pay -> call A#0; turn terminate; \
         turn pay; turn";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay | Running
        open: pay#0
        to pay: Start Pay for #0 of order
        Started Pay | Pending
    3 pay Turn, TaskScheduled A#0 | Running
        open: A#0
    4 Turn, Terminated "why not" | Terminated
        open: nothing
        to pay: terminate
    5 pay Turn, Terminated "why not" | Terminated
        open: nothing
        to order: ChildEnded #0 failed Terminated: why not
    6 nothing
        dropped: ChildEnded #0 failed Terminated: why not (the instance has ended)
    "#);
}

#[test]
fn terminate_alone_leaves_the_children() {
    let script = "\
         start Checkout; turn -> child Pay#0 as pay; turn pay -> call A#0; \
         turn terminate alone; turn pay A#0 completed -> complete; turn";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay | Running
        open: pay#0
        to pay: Start Pay for #0 of order
        Started Pay | Pending
    3 pay Turn, TaskScheduled A#0 | Running
        open: A#0
    4 Turn, Terminated "why not" | Terminated
        open: nothing
    5 pay Turn, TaskEnded #0 ok, Completed | Completed
        open: nothing
        to order: ChildEnded #0 ok
    6 nothing
        dropped: ChildEnded #0 ok (the instance has ended)
    "#);
}

#[test]
fn terminate_leaves_detached_children() {
    let script = "start Checkout; turn -> detach Pay#0 as pay; turn terminate";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay | Running
        to pay: Start Pay for nothing of order
        Started Pay | Pending
    3 Turn, Terminated "why not" | Terminated
    "#);
}

#[test]
fn a_terminated_child_fails_the_call_of_its_parent() {
    let script = "start Checkout; turn -> child Pay#0 as pay; turn pay terminate; turn -> complete";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay | Running
        open: pay#0
        to pay: Start Pay for #0 of order
        Started Pay | Pending
    3 pay Terminated "why not" | Terminated
        to order: ChildEnded #0 failed Terminated: why not
    4 Turn, ChildEnded #0 failed Terminated: why not, Completed | Completed
        open: nothing
    "#);
}

#[test]
fn a_parked_instance_holds_its_messages_and_stays_running() {
    let script = "\
         start Checkout; turn -> call A#0; park A#0 completed 1 -> the code differs; \
         turn raise Go; turn unpark -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 no event | Running
        open: A#0, parked: the code differs, [TaskEnded #0 ok 1]
    4 (not asked) no event | Running
        open: A#0, parked: the code differs, [TaskEnded #0 ok 1], [raise Go]
    5 Turn, TaskEnded #0 ok 1, EventRaised Go, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_parked_instance_can_park_again() {
    let script = "\
         start Checkout; turn -> call A#0; park A#0 completed 1 -> the code differs; \
         park unpark -> the code still differs; turn unpark -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 no event | Running
        open: A#0, parked: the code differs, [TaskEnded #0 ok 1]
    4 no event | Running
        open: A#0, parked: the code still differs, [TaskEnded #0 ok 1]
    5 Turn, TaskEnded #0 ok 1, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_parked_instance_can_be_terminated() {
    let script = "\
         start Checkout; turn -> call A#0; park A#0 completed 1 -> the code differs; \
         turn terminate";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 no event | Running
        open: A#0, parked: the code differs, [TaskEnded #0 ok 1]
    4 Turn, Terminated "why not" | Terminated
        open: nothing
        dropped: TaskEnded #0 ok 1 (the instance ends here)
    "#);
}

#[test]
fn an_instance_that_is_not_parked_absorbs_an_unpark() {
    let script = "start Checkout; turn ->; turn unpark";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
    3 nothing
        dropped: unpark (it changes nothing)
    ");
}

#[test]
fn resume_does_not_ask_the_worker_of_a_parked_instance() {
    let script = "\
         start Checkout; turn -> call A#0; park A#0 completed 1 -> the code differs; \
         turn suspend; turn resume; turn unpark -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 no event | Running
        open: A#0, parked: the code differs, [TaskEnded #0 ok 1]
    4 (not asked) Turn, Suspended | Suspended
    5 (not asked) Turn, Resumed | Running
    6 Turn, TaskEnded #0 ok 1, Completed | Completed
        open: nothing
    ");
}

#[test]
fn unpark_does_not_ask_the_worker_of_a_suspended_instance() {
    let script = "\
         start Checkout; turn -> call A#0; park A#0 completed 1 -> the code differs; \
         turn suspend; turn unpark; turn resume -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 no event | Running
        open: A#0, parked: the code differs, [TaskEnded #0 ok 1]
    4 (not asked) Turn, Suspended | Suspended
    5 (not asked) no event | Suspended
        open: A#0, [TaskEnded #0 ok 1]
    6 Turn, Resumed, TaskEnded #0 ok 1, Completed | Completed
        open: nothing
    ");
}

#[test]
fn messages_that_the_worker_has_no_time_for_keep_their_order() {
    let script = "\
         start Checkout; turn ->; hold raise Go 1, raise Go 2; hold raise Go 3; \
         turn raise Go 4 -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
    3 put aside: no event | Running
        open: [raise Go 1], [raise Go 2]
    4 put aside: no event | Running
        open: [raise Go 1], [raise Go 2], [raise Go 3]
    5 Turn, EventRaised Go 1, EventRaised Go 2, EventRaised Go 3, EventRaised Go 4, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_lock_grant_that_comes_twice_changes_nothing() {
    let script = "start Checkout; turn -> lock#0 @a@x; turn @a@x; turn ->; repeat; turn";
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
    5 the same messages again
    6 nothing
        dropped: LockGranted #0 (nobody waits for it)
    "#);
}

#[test]
fn a_lock_grant_for_an_ended_execution_is_given_back() {
    let script = "start Checkout; turn -> lock#0 @a@x; turn @a@x; turn terminate; turn; turn @a@x";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    3 @a@x done
        open: locked by order#0
        to order: LockGranted #0
    4 Turn, Terminated "why not" | Terminated
        open: nothing
        to @a@x: unlock for order#0
        to @a@x: unlock for order#0
        dropped: LockGranted #0 (the instance ends here)
    5 nothing
    6 @a@x done
        open: nothing
    "#);
}

#[test]
fn the_last_256_keys_are_remembered() {
    let raises = |keys: std::ops::Range<u32>| {
        keys.map(|key| format!("raise Go {key} key {key}")).collect::<Vec<_>>().join(", ")
    };
    let script = format!(
        "start Checkout; turn {} ->; turn {}, {} ->",
        raises(0..257),
        raises(1..2),
        raises(0..1)
    );
    let transcript = run(&script);
    let last = transcript.split("3 Turn").last().unwrap();
    insta::assert_snapshot!(last.trim(), @r"
    , EventRaised Go 0 | Running
        dropped: raise Go 1 (its key is known)
    ");
}

#[test]
fn a_wait_that_is_known_is_not_recorded_again() {
    let id = InstanceId::from_stored("order");
    let mut instance = Instance::new(Iid(1), id, Timestamp::EPOCH);
    let told = |instance: &Instance, name: &str| {
        let wait = Some(Wait::Event(name.to_owned()));
        let decided = Decided { wait, ..Decided::default() };
        let turn = begin(instance, Timestamp::EPOCH, Vec::new());
        finish(instance, &Limits::default(), turn, decided, &mut || unreachable!()).commit
    };
    let first = told(&instance, "Go");
    assert_eq!(first.row.wait, Some(Wait::Event("Go".to_owned())));
    instance.apply(&first);
    assert_eq!(told(&instance, "Go").row.wait, None);
    assert_eq!(told(&instance, "Stop").row.wait, Some(Wait::Event("Stop".to_owned())));
}
