"""An order is paid for, waits a while for an approval, and is shipped."""

import logging
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="orders", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_order(req: func.HttpRequest, client):
    """Answers with the addresses at which the order can be asked for."""
    instance = await client.start_new("order", client_input=req.get_json())
    return client.create_check_status_response(req, instance)


@app.orchestration_trigger(context_name="context")
def order(context: df.DurableOrchestrationContext):
    """Orders of more than 100 are shipped when somebody raises the event `Approve` within a day."""
    wanted = context.get_input()
    retries = df.RetryOptions(first_retry_interval_in_milliseconds=1000, max_number_of_attempts=5)
    payment = {"order": context.instance_id, "cents": wanted["cents"]}
    receipt = yield context.call_activity_with_retry("charge", retries, payment)
    if wanted["cents"] > 10_000:
        context.set_custom_status("waits for the approval")
        approval = context.wait_for_external_event("Approve")
        late = context.create_timer(context.current_utc_datetime + timedelta(days=1))
        if (yield context.task_any([approval, late])) == late:
            return f"not shipped; {receipt} is to be paid back"
        late.cancel()
        if not is_yes(approval.result):
            return f"not shipped; {receipt} is to be paid back"
        context.set_custom_status(None)
    shipped = yield context.call_activity("ship", wanted["item"])
    return shipped


def is_yes(answer):
    """An event raised by the client of the SDK arrives as the text of its JSON, one over HTTP as the value."""
    return answer in (True, "true")


@app.activity_trigger(input_name="payment")
def charge(payment: dict):
    """Takes the money. What touches the world is an activity; this one would call a payment service."""
    return f"receipt {payment['order']} for {payment['cents']} cents"


@app.activity_trigger(input_name="item")
def ship(item: str):
    """Sends the item."""
    return f"{item} is on its way"


@app.timer_trigger(schedule="0 0 * * * *", arg_name="hour")
def each_hour(hour: func.TimerRequest):
    """Runs at the beginning of each hour."""
    if hour.past_due:
        logging.warning("an hour began while nobody was there")
