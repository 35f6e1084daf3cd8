"""The patterns that need more than one of the orchestrators beside this file."""

import os
from datetime import timedelta, timezone

import azure.durable_functions as df
import azure.functions as func

bp = df.Blueprint()


@bp.activity_trigger(input_name="value")
def gives_back(value):
    return value


@bp.activity_trigger(input_name="path")
def looks(path: str):
    return os.path.exists(path)


@bp.orchestration_trigger(context_name="context")
def monitor(context: df.DurableOrchestrationContext):
    """Looks for a file again and again, each time as a new execution, until it is there or the time is up."""
    job = context.get_input()
    if (yield context.call_activity("looks", job["file"])):
        return ["there", job["looked"]]
    if job["looked"] == job["most"]:
        return ["given up", job["looked"]]
    yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=20))
    context.continue_as_new(dict(job, looked=job["looked"] + 1))


@bp.orchestration_trigger(context_name="context")
def asks(context: df.DurableOrchestrationContext):
    """Asks a person, and another one if the first does not answer in time."""
    first = context.wait_for_external_event("Decided")
    late = context.create_timer(context.current_utc_datetime + timedelta(milliseconds=context.get_input()))
    if (yield context.task_any([first, late])) == first:
        late.cancel()
        return ["first", first.result]
    context.set_custom_status("escalated")
    # The first may still answer.
    second = context.wait_for_external_event("Escalated")
    decided = yield context.task_any([first, second])
    return ["second" if decided == second else "first, late", decided.result]


@bp.orchestration_trigger(context_name="context")
def steady(context: df.DurableOrchestrationContext):
    """What is made from the history is the same in every replay: the status shows it as it was first."""
    seen = [str(context.new_uuid()), str(context.new_guid()), context.current_utc_datetime.isoformat()]
    yield context.call_activity("tells", "one")
    seen += [str(context.new_uuid()), context.current_utc_datetime.isoformat()]
    context.set_custom_status(seen)
    yield context.wait_for_external_event("Go")
    return seen


@bp.orchestration_trigger(context_name="context")
def west_of(context: df.DurableOrchestrationContext):
    """The SDK writes the digits of another zone as if they were of UTC: this one is long past."""
    west = context.current_utc_datetime.replace(tzinfo=timezone.utc).astimezone(timezone(timedelta(hours=-2)))
    yield context.create_timer(west + timedelta(hours=1))
    return "fired"


@bp.orchestration_trigger(context_name="context")
def statuses(context: df.DurableOrchestrationContext):
    """A status that is falsy is none."""
    context.set_custom_status({"at": "first"})
    yield context.wait_for_external_event("Go")
    context.set_custom_status("")
    yield context.wait_for_external_event("Go")


@bp.orchestration_trigger(context_name="context")
def versioned(context: df.DurableOrchestrationContext):
    return getattr(context, "version", None)


@bp.orchestration_trigger(context_name="context")
def posts(context: df.DurableOrchestrationContext):
    headers = {"Content-Type": "application/json", "X-Asked": "yes"}
    response = yield context.call_http("POST", context.get_input(), {"a": [1]}, headers)
    return response


@bp.route(route="accepts", methods=["POST"])
def accepts(req: func.HttpRequest) -> func.HttpResponse:
    """Answers at once that it will take some time."""
    said = req.get_body().decode() + " " + req.headers["x-asked"] + " " + req.headers["content-type"]
    return func.HttpResponse(said, status_code=202, headers={"Location": "http://127.0.0.1:1/", "Retry-After": "1"})
