//! Entities: operations, state, delayed signals, locks.

use crate::script::run;

#[test]
fn a_call_is_answered_and_changes_the_state() {
    let script = "\
         start Checkout; turn -> ask @a@x add#0 5; turn @a@x -> ok 5, state 5; \
         turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, OperationCalled @a@x add#0 5 | Running
        open: @a@x add#0
        to @a@x: call add 5
    3 @a@x add: ok 5; done
        open: state 5
        to order: OperationEnded #0 ok 5
    4 Turn, OperationEnded #0 ok 5, Completed | Completed
        open: nothing
    ");
}

#[test]
fn an_answer_of_an_entity_comes_once() {
    let script = "\
         start Checkout; turn -> ask @a@x add#0 5, call A#1; turn @a@x -> ok 5, state 5; \
         turn ->; repeat; turn";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, OperationCalled @a@x add#0 5, TaskScheduled A#1 | Running
        open: A#1, @a@x add#0
        to @a@x: call add 5
    3 @a@x add: ok 5; done
        open: state 5
        to order: OperationEnded #0 ok 5
    4 Turn, OperationEnded #0 ok 5 | Running
        open: A#1
    5 the same messages again
    6 nothing
        dropped: OperationEnded #0 ok 5 (nobody waits for it)
    ");
}

#[test]
fn a_signal_is_not_answered() {
    let script = "start Checkout; turn -> tell @a@x add#0 5, complete; turn @a@x -> ok 5, state 5";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, OperationSignaled @a@x add#0 5, Completed | Completed
        to @a@x: signal add 5
    3 @a@x add: ok 5; done
        open: state 5
    ");
}

#[test]
fn operations_of_a_batch_run_in_the_order_of_arrival() {
    let script = "turn @a@x signal add 1, signal add 2, signal get -> ok, ok, ok 3, state 3";
    insta::assert_snapshot!(run(script), @r"
    1 @a@x add: ok, add: ok, get: ok 3; done
        open: state 3
    ");
}

#[test]
fn a_failed_operation_is_told_to_its_caller_and_the_batch_goes_on() {
    let script = "\
         start Checkout; turn -> tell @a@x add#0 1, ask @a@x burn#1, tell @a@x add#2 2; \
         turn @a@x -> ok, failed no fuel <- no money, ok, state 3; turn -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn, OperationSignaled @a@x add#0 1, OperationCalled @a@x burn#1, OperationSignaled @a@x add#2 2 | Running
        open: @a@x burn#1
        to @a@x: signal add 1
        to @a@x: call burn
        to @a@x: signal add 2
    3 @a@x add: ok, burn: failed Error: no fuel <- Error: no money, add: ok; done
        open: state 3
        to order: OperationEnded #1 failed Error: no fuel <- Error: no money
    4 Turn, OperationEnded #1 failed Error: no fuel <- Error: no money, Completed | Completed
        open: nothing
    ");
}

#[test]
fn operations_that_were_not_run_stay_in_their_order() {
    let script = "\
         turn @a@x signal add 1, signal add 2 at +60s, signal add 3, signal add 4 -> ok, state 1; \
         turn @a@x -> ok, ok, state 8";
    insta::assert_snapshot!(run(script), @r"
    1 @a@x add: ok; done
        open: state 1, [signal add 3], [signal add 4], [signal add 2]
    2 @a@x add: ok, add: ok; done
        open: state 8, [signal add 2]
    ");
}

#[test]
fn operations_that_were_not_run_stay_before_a_lock_request_behind_them() {
    let script = "\
         start Checkout; turn -> tell @a@x add#0 1, lock#1 @a@x; turn @a@x; turn @a@x -> ok; \
         turn @a@x";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, OperationSignaled @a@x add#0 1, LockRequested #1 ["@a@x"] | Running
        open: lock#1 asked for
        to @a@x: signal add 1
        to @a@x: lock for order#1, number 0
    3 @a@x done
        open: [signal add 1], [lock for order#1, number 0]
    4 @a@x add: ok; done
        open: [lock for order#1, number 0]
    5 @a@x done
        open: locked by order#1
        to order: LockGranted #1
    "#);
}

#[test]
fn a_delayed_signal_waits_for_its_time() {
    let script = "\
         turn @a@x signal add 1 at +60s; wait 59s; turn @a@x; wait 1s; \
         turn @a@x -> ok, state 1";
    insta::assert_snapshot!(run(script), @r"
    1 @a@x done
        open: [signal add 1]
    2 it is +59s
    3 @a@x nothing
    4 it is +60s
    5 @a@x add: ok; done
        open: state 1
    ");
}

#[test]
fn a_signal_with_a_known_key_is_dropped() {
    let script = "\
         turn @a@x signal add 1 key k, signal add 2 key k -> ok, state 1; \
         turn @a@x signal add 3 key k; hold @a@x signal add 4 key m; \
         turn @a@x signal add 5 key m -> ok, state 5";
    insta::assert_snapshot!(run(script), @r"
    1 @a@x add: ok; done
        open: state 1
    2 @a@x nothing
    3 @a@x put aside: done
        open: state 1, [signal add 4]
    4 @a@x add: ok; done
        open: state 5
    ");
}

#[test]
fn an_entity_signals_and_starts_orchestrations() {
    let script = "\
         turn @a@x signal add -> ok, signal @b@y write 5, begin Audit 6 as audit, begin Audit 7; \
         turn @b@y -> ok; turn audit -> complete";
    insta::assert_snapshot!(run(script), @r"
    1 @a@x add: ok; done
        to @b@y: signal write 5
        to audit: Start Audit 6
        Started Audit 6 | Pending
        to 03030303030303030303030303030303: Start Audit 7
        Started Audit 7 | Pending
    2 @b@y write: ok; done
    3 audit Turn, Completed | Completed
    ");
}

#[test]
fn a_deleted_state_leaves_an_entity_that_nobody_misses() {
    let script = "turn @a@x signal add -> ok, state 5; turn @a@x signal stop -> ok, delete";
    insta::assert_snapshot!(run(script), @r"
    1 @a@x add: ok; done
        open: state 5
    2 @a@x stop: ok; done
        open: nothing
    ");
}

#[test]
fn messages_that_are_not_for_entities_are_consumed() {
    let script = "turn @a@x raise Go, suspend, terminate; turn @a@x signal add -> ok";
    insta::assert_snapshot!(run(script), @r"
    1 @a@x nothing
    2 @a@x add: ok; done
    ");
}

#[test]
fn an_operation_sent_to_an_orchestration_is_dropped() {
    let script = "start Checkout; turn ->; turn signal add";
    insta::assert_snapshot!(run(script), @r"
    1 Started Checkout | Pending
    2 Turn | Running
    3 nothing
        dropped: signal add (it changes nothing)
    ");
}

#[test]
fn locks_are_taken_in_the_order_of_the_ids_whatever_the_order_asked() {
    let script = "\
         start Checkout; turn -> lock#0 @b@y @a@x @b@y; turn @a@x; turn @b@y; \
         turn -> unlock#1 0, complete; turn @a@x; turn @b@y";
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
    5 Turn, LockGranted #0, LockReleased #1 of #0, Completed | Completed
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
fn only_the_owner_s_operations_enter_a_locked_entity() {
    let script = "\
         start Checkout; turn -> lock#0 @a@x; turn @a@x; turn -> ask @a@x add#1 5; \
         turn @a@x signal other -> ok 5, state 5; turn -> unlock#2 0, complete; turn @a@x; \
         turn @a@x -> ok";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    3 @a@x done
        open: locked by order#0
        to order: LockGranted #0
    4 Turn, LockGranted #0, OperationCalled @a@x add#1 5 | Running
        open: @a@x add#1, lock#0 held
        to @a@x: call add 5
    5 @a@x add: ok 5; done
        open: state 5, locked by order#0, [signal other]
        to order: OperationEnded #1 ok 5
    6 Turn, OperationEnded #1 ok 5, LockReleased #2 of #0, Completed | Completed
        open: nothing
        to @a@x: unlock for order#0
    7 @a@x done
        open: state 5, [signal other]
    8 @a@x other: ok; done
        open: state 5
    "#);
}

#[test]
fn a_lock_request_lets_earlier_operations_run_and_holds_later_ones() {
    let script = "\
         turn @a@x signal a ->; start Checkout; turn -> lock#0 @a@x; \
         turn @a@x signal b -> ok; turn @a@x";
    insta::assert_snapshot!(run(script), @r#"
    1 @a@x done
        open: [signal a]
    2 Started Checkout | Pending
    3 Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    4 @a@x a: ok; done
        open: [lock for order#0, number 0], [signal b]
    5 @a@x done
        open: locked by order#0, [signal b]
        to order: LockGranted #0
    "#);
}

#[test]
fn a_second_lock_waits_for_the_release_of_the_first() {
    let script = "\
         start Checkout; turn -> lock#0 @a@x; turn @a@x; turn ->; start Checkout as other; \
         turn other -> lock#0 @a@x; turn @a@x; turn raise Go -> unlock#1 0; turn @a@x; \
         turn @a@x; turn other -> complete";
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
    5 Started Checkout | Pending
    6 other Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for other#0, number 0
    7 @a@x done
        open: locked by order#0, [lock for other#0, number 0]
    8 Turn, EventRaised Go, LockReleased #1 of #0 | Running
        open: nothing
        to @a@x: unlock for order#0
    9 @a@x done
        open: [lock for other#0, number 0]
    10 @a@x done
        open: locked by other#0
        to other: LockGranted #0
    11 other Turn, LockGranted #0, Completed | Completed
        open: nothing
        to @a@x: unlock for other#0
    "#);
}

#[test]
fn a_release_lets_in_who_waited_before_who_came_later() {
    let script = "\
         start Checkout; turn -> lock#0 @a@x; turn @a@x signal first; turn -> unlock#1 0; \
         turn @a@x signal second; turn @a@x -> ok, ok";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    3 @a@x done
        open: locked by order#0, [signal first]
        to order: LockGranted #0
    4 Turn, LockGranted #0, LockReleased #1 of #0 | Running
        open: nothing
        to @a@x: unlock for order#0
    5 @a@x done
        open: [signal first], [signal second]
    6 @a@x first: ok, second: ok; done
        open: nothing
    "#);
}

#[test]
fn a_request_whose_owner_is_gone_is_taken_out() {
    let script = "\
         start Checkout; turn -> lock#0 @a@x; turn @a@x; turn ->; start Checkout as other; \
         turn other -> lock#0 @a@x; turn @a@x; turn other terminate; turn @a@x; \
         turn raise Go -> complete; turn @a@x";
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
    5 Started Checkout | Pending
    6 other Turn, LockRequested #0 ["@a@x"] | Running
        open: lock#0 asked for
        to @a@x: lock for other#0, number 0
    7 @a@x done
        open: locked by order#0, [lock for other#0, number 0]
    8 other Turn, Terminated "why not" | Terminated
        open: nothing
        to @a@x: unlock for other#0
    9 @a@x done
        open: locked by order#0
    10 Turn, EventRaised Go, Completed | Completed
        open: nothing
        to @a@x: unlock for order#0
    11 @a@x done
        open: nothing
    "#);
}

#[test]
fn an_owner_that_ends_while_it_waits_for_the_second_lock_frees_the_first() {
    let script = "\
         start Checkout; turn -> lock#0 @a@x @b@y; turn @a@x; turn terminate; turn @a@x; \
         turn @b@y; turn; turn @b@y";
    insta::assert_snapshot!(run(script), @r#"
    1 Started Checkout | Pending
    2 Turn, LockRequested #0 ["@a@x", "@b@y"] | Running
        open: lock#0 asked for
        to @a@x: lock for order#0, number 0
    3 @a@x done
        open: locked by order#0
        to @b@y: lock for order#0, number 1
    4 Turn, Terminated "why not" | Terminated
        open: nothing
        to @a@x: unlock for order#0
        to @b@y: unlock for order#0
    5 @a@x done
        open: nothing
    6 @b@y done
        to @a@x: unlock for order#0
    7 nothing
    8 @b@y nothing
    "#);
}

#[test]
fn a_batch_has_a_bound_and_the_rest_waits_in_order() {
    let limits = crate::Limits { entity_batch: 2, ..crate::Limits::default() };
    let script = "turn @a@x signal a, signal b, signal c, signal d -> ok, ok; turn @a@x -> ok, ok";
    insta::assert_snapshot!(crate::script::run_with(limits, script), @r"
    1 @a@x a: ok, b: ok; done
        open: [signal c], [signal d]
    2 @a@x c: ok, d: ok; done
        open: nothing
    ");
}
