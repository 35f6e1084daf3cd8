//! Rewinds: what a failed execution forgets, keeps and runs again.

use crate::script::run;

#[test]
fn only_a_failed_instance_is_rewound() {
    let script = "start Checkout; turn ->; rewind; turn terminate; rewind";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn | Running
    3 NotFailed(Running)
    4 Turn, Terminated "why not" | Terminated
    5 NotFailed(Terminated)
    "#);
}

#[test]
fn a_failed_activity_runs_again_and_a_completed_one_does_not() {
    let script = "\
         start Checkout; turn -> call A#0, call B#1; turn A#0 completed 1 ->; \
         turn B#1 failed no -> fail no; rewind; turn ->; turn B#1 completed 2 -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0, TaskScheduled B#1 | Running
        open: A#0, B#1
    3 Turn, TaskEnded #0 ok 1 | Running
        open: B#1
    4 Turn, TaskEnded #1 failed Error: no, Failed Error: no | Failed
        open: nothing
    5 Started Checkout, Turn, TaskScheduled A#0, TaskScheduled B#1, Turn, TaskEnded #0 ok 1, Turn, Rewound | Running
        open: B#1
    6 Turn | Running
    7 Turn, TaskEnded #1 ok 2, Completed | Completed
        open: nothing
    ");
}

#[test]
fn an_execution_that_failed_by_itself_gets_a_turn() {
    let script = "\
         start Checkout; turn -> call A#0; turn A#0 completed 1 -> fail a bug; rewind; \
         turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 Turn, TaskEnded #0 ok 1, Failed Error: a bug | Failed
        open: nothing
    4 Started Checkout, Turn, TaskScheduled A#0, Turn, TaskEnded #0 ok 1, Rewound | Running
    5 Turn, Completed | Completed
    ");
}

#[test]
fn a_failure_that_the_code_handled_stays() {
    let script = "\
         start Checkout; turn -> call A#0; turn A#0 failed no -> call B#1; \
         turn B#1 failed no again -> fail no again; rewind; turn ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 Turn, TaskEnded #0 failed Error: no, TaskScheduled B#1 | Running
        open: B#1
    4 Turn, TaskEnded #1 failed Error: no again, Failed Error: no again | Failed
        open: nothing
    5 Started Checkout, Turn, TaskScheduled A#0, Turn, TaskEnded #0 failed Error: no, TaskScheduled B#1, Turn, Rewound | Running
        open: B#1
    6 Turn | Running
    ");
}

#[test]
fn all_attempts_of_a_failed_call_are_forgotten() {
    let script = "\
         start Checkout; turn -> call A#0; \
         turn A#0 failed one -> timer#1 +5s attempt 2 of 0; wait 5s; \
         turn -> call A#2 attempt 2 of 0; turn A#2 failed two -> fail two; rewind; turn ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TaskScheduled A#0 | Running
        open: A#0
    3 Turn, TaskEnded #0 failed Error: one, TimerCreated #1 +5s | Running
        open: timer#1 +5s before attempt 2 of #0
    4 it is +5s
    5 Turn, TimerFired #1, TaskScheduled A#2 | Running
        open: A#2 attempt 2
    6 Turn, TaskEnded #2 failed Error: two, Failed Error: two | Failed
        open: nothing
    7 Started Checkout, Turn, TaskScheduled A#0, Turn, Turn, Turn, Rewound | Running
        open: A#0
    8 Turn | Running
    ");
}

#[test]
fn a_failed_child_is_rewound_too() {
    let script = "\
         start Checkout; turn -> child Pay#0 as pay; turn pay -> call A#0; \
         turn pay A#0 failed no -> fail no; turn -> fail no pay; rewind; turn; rewind pay; \
         turn pay ->; turn pay A#0 completed -> complete 1; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay | Running
        open: pay#0
        to pay: Start Pay for #0 of order
        Started Pay | Pending
    3 pay Turn, TaskScheduled A#0 | Running
        open: A#0
    4 pay Turn, TaskEnded #0 failed Error: no, Failed Error: no | Failed
        open: nothing
        to order: ChildEnded #0 failed Error: no
    5 Turn, ChildEnded #0 failed Error: no, Failed Error: no pay | Failed
        open: nothing
    6 Started Checkout, Turn, ChildCreated Pay#0 as pay, Turn, Rewound | Running
        open: pay#0
        to pay: rewind
    7 Turn | Running
    8 pay Started Pay, Turn, TaskScheduled A#0, Turn, Rewound | Running
        open: A#0
    9 pay Turn | Running
    10 pay Turn, TaskEnded #0 ok, Completed 1 | Completed
        open: nothing
        to order: ChildEnded #0 ok 1
    11 Turn, ChildEnded #0 ok 1, Completed | Completed
        open: nothing
    ");
}

#[test]
fn a_child_that_answered_while_its_parent_had_failed_answers_again() {
    let script = "\
         start Checkout; turn -> child Pay#0 as pay, call A#1; \
         turn A#1 failed no -> fail no; turn pay -> complete 5; turn; rewind; turn pay; \
         turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay, TaskScheduled A#1 | Running
        open: A#1, pay#0
        to pay: Start Pay for #0 of order
        Started Pay | Pending
    3 Turn, TaskEnded #1 failed Error: no, Failed Error: no | Failed
        open: nothing
    4 pay Turn, Completed 5 | Completed
        to order: ChildEnded #0 ok 5
    5 nothing
        dropped: ChildEnded #0 ok 5 (the instance has ended)
    6 Started Checkout, Turn, ChildCreated Pay#0 as pay, TaskScheduled A#1, Turn, Rewound | Running
        open: A#1, pay#0
        to pay: rewind
    7 pay (not asked) no event | Completed
        to order: ChildEnded #0 ok 5
        dropped: rewind (the instance has ended)
    8 Turn, ChildEnded #0 ok 5, Completed | Completed
        open: A#1
    ");
}

#[test]
fn a_running_child_goes_on_when_its_parent_is_rewound() {
    let script = "\
         start Checkout; turn -> child Pay#0 as pay, call A#1; turn pay ->; \
         turn A#1 failed no -> fail no; rewind; turn pay; turn pay raise Go -> complete 5; \
         turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, ChildCreated Pay#0 as pay, TaskScheduled A#1 | Running
        open: A#1, pay#0
        to pay: Start Pay for #0 of order
        Started Pay | Pending
    3 pay Turn | Running
    4 Turn, TaskEnded #1 failed Error: no, Failed Error: no | Failed
        open: nothing
    5 Started Checkout, Turn, ChildCreated Pay#0 as pay, TaskScheduled A#1, Turn, Rewound | Running
        open: A#1, pay#0
        to pay: rewind
    6 pay nothing
        dropped: rewind (it changes nothing)
    7 pay Turn, EventRaised Go, Completed 5 | Completed
        to order: ChildEnded #0 ok 5
    8 Turn, ChildEnded #0 ok 5, Completed | Completed
        open: A#1
    ");
}

#[test]
fn a_call_of_an_entity_that_failed_is_made_again() {
    let script = "\
         start Checkout; turn -> ask @a@x burn#0; turn @a@x -> failed no fuel; \
         turn -> fail no fuel; rewind; turn @a@x -> ok 1; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, OperationCalled @a@x burn#0 | Running
        open: @a@x burn#0
        to @a@x: call burn
    3 @a@x burn: failed Error: no fuel; done
        to order: OperationEnded #0 failed Error: no fuel
    4 Turn, OperationEnded #0 failed Error: no fuel, Failed Error: no fuel | Failed
        open: nothing
    5 Started Checkout, Turn, OperationCalled @a@x burn#0, Turn, Rewound | Running
        open: @a@x burn#0
        to @a@x: call burn
    6 @a@x burn: ok 1; done
        to order: OperationEnded #0 ok 1
    7 Turn, OperationEnded #0 ok 1, Completed | Completed
        open: nothing
    ");
}

/// Its answer came when nobody listened, and the entity does not keep answers. See docs/decisions/0008.
#[test]
fn a_call_of_an_entity_that_was_open_at_the_failure_is_made_a_second_time() {
    let script = "\
         start Checkout; turn -> ask @a@x burn#0, call A#1; turn A#1 failed no -> fail no; \
         turn @a@x -> ok 1; turn; rewind; turn @a@x -> ok 2; turn A#1 completed -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, OperationCalled @a@x burn#0, TaskScheduled A#1 | Running
        open: A#1, @a@x burn#0
        to @a@x: call burn
    3 Turn, TaskEnded #1 failed Error: no, Failed Error: no | Failed
        open: nothing
    4 @a@x burn: ok 1; done
        to order: OperationEnded #0 ok 1
    5 nothing
        dropped: OperationEnded #0 ok 1 (the instance has ended)
    6 Started Checkout, Turn, OperationCalled @a@x burn#0, TaskScheduled A#1, Turn, Rewound | Running
        open: A#1, @a@x burn#0
        to @a@x: call burn
    7 @a@x burn: ok 2; done
        to order: OperationEnded #0 ok 2
    8 Turn, OperationEnded #0 ok 2, TaskEnded #1 ok, Completed | Completed
        open: nothing
    ");
}

#[test]
fn timers_of_the_part_that_stays_are_set_again() {
    let script = "\
         start Checkout; turn -> timer#0 +60s, call A#1; turn A#1 failed no -> fail no; \
         rewind; wait 60s; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, TimerCreated #0 +60s, TaskScheduled A#1 | Running
        open: A#1, timer#0 +60s
    3 Turn, TaskEnded #1 failed Error: no, Failed Error: no | Failed
        open: nothing
    4 Started Checkout, Turn, TimerCreated #0 +60s, TaskScheduled A#1, Turn, Rewound | Running
        open: A#1, timer#0 +60s
    5 it is +60s
    6 Turn, TimerFired #0, Completed | Completed
        open: A#1
    ");
}

#[test]
fn events_stay_in_a_rewound_history() {
    let script = "\
         start Checkout; turn raise Go 1 -> call A#0; \
         turn A#0 failed no, raise Go 2 key k -> fail no; rewind; turn raise Go 3 key k ->";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, EventRaised Go 1, TaskScheduled A#0 | Running
        open: A#0
    3 Turn, TaskEnded #0 failed Error: no, EventRaised Go 2, Failed Error: no | Failed
        open: nothing
    4 Started Checkout, Turn, EventRaised Go 1, TaskScheduled A#0, Turn, EventRaised Go 2, Rewound | Running
        open: A#0
    5 Turn | Running
        dropped: raise Go 3 (its key is known)
    ");
}

#[test]
fn a_critical_section_that_was_open_runs_again_from_its_beginning() {
    let script = "\
         start Checkout; turn -> lock#0 @a@x; turn @a@x; turn -> call A#1; \
         turn A#1 failed no -> fail no; turn @a@x; rewind; turn -> lock#0 @a@x; turn @a@x; \
         turn ->";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    3 @a@x done
        open: locked by order#0
        to order: LockGranted #0
    4 Turn, LockGranted #0, TaskScheduled A#1 | Running
        open: A#1, lock#0 held
    5 Turn, TaskEnded #1 failed Error: no, Failed Error: no | Failed
        open: nothing
        to @a@x: unlock for order#0
    6 @a@x done
        open: nothing
    7 Started Checkout, Turn, Turn, Turn, Rewound | Running
    8 Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    9 @a@x done
        open: locked by order#0
        to order: LockGranted #0
    10 Turn, LockGranted #0 | Running
        open: lock#0 held
    "#);
}

#[test]
fn a_rewound_execution_ends_like_any_other() {
    let script = "\
         start Parent as parent; turn parent -> child Checkout#0 as order; turn -> fail no; \
         turn parent -> fail no; rewind parent; rewind; turn -> complete 5; \
         turn parent -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Parent | Pending
    2 parent Turn, ChildCreated Checkout#0 as order | Running
        open: order#0
        to order: Start Checkout for #0 of parent
        Started Checkout | Pending
    3 Turn, Failed Error: no | Failed
        to parent: ChildEnded #0 failed Error: no
    4 parent Turn, ChildEnded #0 failed Error: no, Failed Error: no | Failed
        open: nothing
    5 parent Started Parent, Turn, ChildCreated Checkout#0 as order, Turn, Rewound | Running
        open: order#0
        to order: rewind
    6 Started Checkout, Turn, Rewound | Running
    7 Turn, Completed 5 | Completed
        to parent: ChildEnded #0 ok 5
    8 parent Turn, ChildEnded #0 ok 5, Completed | Completed
        open: nothing
    ");
}
