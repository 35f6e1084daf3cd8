"""Orders without a host: the orchestrator is led by hand, with answers made up here."""

import unittest
from datetime import datetime
from unittest.mock import Mock

import function_app

ORDER = function_app.order.build().get_user_function().orchestrator_function


def begun(cents):
    """An order of a book, and what it asks of its context."""
    context = Mock(instance_id="7", current_utc_datetime=datetime(2026, 1, 1))
    context.get_input.return_value = {"item": "a book", "cents": cents}
    run = ORDER(context)
    next(run)
    return run, context


def ended(run, answer):
    """What the order gives once this is answered."""
    try:
        run.send(answer)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the order goes on")


class Orders(unittest.TestCase):
    def test_a_small_order_is_shipped_at_once(self):
        run, context = begun(1_200)
        run.send("receipt")
        context.call_activity.assert_called_once_with("ship", "a book")
        self.assertEqual(ended(run, "shipped"), "shipped")

    def test_a_large_order_waits_for_its_approval(self):
        run, context = begun(20_000)
        run.send("receipt")
        context.call_activity.assert_not_called()
        approval = context.wait_for_external_event.return_value
        approval.result = True
        run.send(approval)
        context.create_timer.return_value.cancel.assert_called_once_with()
        self.assertEqual(ended(run, "shipped"), "shipped")

    def test_a_large_order_that_nobody_approves_is_paid_back(self):
        run, context = begun(20_000)
        run.send("receipt")
        late = context.create_timer.return_value
        self.assertEqual(ended(run, late), "not shipped; receipt is to be paid back")
