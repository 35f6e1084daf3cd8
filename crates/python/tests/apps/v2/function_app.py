"""The app that the tests run: one orchestrator for each thing that the SDK can do."""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import datetime, timedelta

import azure.durable_functions as df
import azure.functions as func

from shared import patterns, walks
from shared.orders import act_dict, bp

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(bp)
app.register_functions(patterns.bp)
app.register_functions(walks.bp)


class Order:
    """A class of the app that goes in and out of activities."""

    def __init__(self, number, total):
        self.number = number
        self.total = total

    @staticmethod
    def to_json(order):
        return {"number": order.number, "total": order.total}

    @staticmethod
    def from_json(data):
        return Order(data["number"], data["total"])


# Starters


@app.route(route="start/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client):
    body = req.get_body()
    payload = json.loads(body) if body else None
    instance = await client.start_new(req.route_params["name"], req.params.get("id"), payload)
    return client.create_check_status_response(req, instance)


@app.route(route="raise/{id}/{event}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def raise_event(req: func.HttpRequest, client):
    data = json.loads(req.get_body() or b"null")
    await client.raise_event(req.route_params["id"], req.route_params["event"], data)
    return func.HttpResponse(status_code=202)


@app.route(route="client/{call}/{id?}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def client_call(req: func.HttpRequest, client):
    """Any call of the client, with what it answered or raised."""
    arguments = json.loads(req.get_body() or b"[]")
    call, instance = req.route_params["call"], req.route_params.get("id")
    try:
        if call in ("read_entity_state", "signal_entity"):
            result = await getattr(client, call)(df.EntityId("counter", instance), *arguments)
        elif call == "wait":
            return await client.wait_for_completion_or_create_check_status_response(
                req, instance, int(req.params.get("timeout", 10000)), 100)
        else:
            first = [instance] if instance else []
            named = {}
            if isinstance(arguments, dict):
                named, arguments = filters(arguments), []
            result = await getattr(client, call)(*first, *arguments, **named)
        answer = {"result": shown(result)}
    except Exception as error:
        answer = {"error": type(error).__name__, "text": str(error)}
    return func.HttpResponse(json.dumps(answer), mimetype="application/json")


def filters(given):
    """What the client's calls for many instances want."""
    named = {name: datetime.fromisoformat(given[name])
             for name in ("created_time_from", "created_time_to") if name in given}
    if "runtime_status" in given:
        named["runtime_status"] = [df.OrchestrationRuntimeStatus(one)
                                   for one in given["runtime_status"]]
    if "instance_id_prefix" in given:
        named["instance_id_prefix"] = given["instance_id_prefix"]
    return named


def shown(value):
    if isinstance(value, list):
        return [shown(one) for one in value]
    if hasattr(value, "runtime_status"):
        return value.to_json() if value else None
    if hasattr(value, "entity_exists"):
        return {"exists": value.entity_exists, "state": value.entity_state}
    if hasattr(value, "instances_deleted"):
        return {"deleted": value.instances_deleted}
    return value


@app.route(route="echo/{who}", methods=["GET", "POST"])
def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    print("printed by", context.function_name)
    logging.info("logged by %s", context.function_name)
    answer = {"who": req.route_params["who"], "q": req.params.get("q"),
              "body": req.get_body().decode(), "url": req.url, "function": context.function_name}
    response = func.HttpResponse(json.dumps(answer), status_code=201, mimetype="application/json",
                                 headers={"X-One": "1"})
    response.headers.add("Set-Cookie", "a=1; Path=/")
    return response


@app.route(route="plain")
def plain(req: func.HttpRequest) -> str:
    return "as text"


@app.route(route="nothing")
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None


@app.route(route="boom")
def boom(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("http boom")


@app.timer_trigger(schedule="0 0 1 1 *", arg_name="mytimer")
def tick(mytimer: func.TimerRequest) -> None:
    logging.info("tick %s", mytimer.past_due)


# Activities


@app.activity_trigger(input_name="order")
def double(order: Order):
    return Order(order.number, order.total * 2)


@app.activity_trigger(input_name="n")
async def square(n: int):
    return n * n


@app.activity_trigger(input_name="text")
def fail(text: str):
    raise ValueError(text)


@app.activity_trigger(input_name="plan")
def fails_until(plan: dict):
    """Fails as often as the plan says; how often it ran stands in a file."""
    path = plan["file"]
    count = len(open(path).read()) if os.path.exists(path) else 0
    with open(path, "a") as file:
        file.write("x")
    if count < plan["times"]:
        raise RuntimeError(f"attempt {count + 1}")
    return count + 1


@app.activity_trigger(input_name="plan")
def dies(plan: dict):
    """Takes its process down the first times."""
    path = plan["file"]
    count = len(open(path).read()) if os.path.exists(path) else 0
    with open(path, "a") as file:
        file.write("x")
    if count < plan["times"]:
        os._exit(9)
    return count + 1


@app.activity_trigger(input_name="seconds")
def nap(seconds: float):
    time.sleep(seconds)
    return seconds


@app.activity_trigger(input_name="x")
def unserialisable(x):
    return object()


@app.activity_trigger(input_name="plan")
def slow(plan: dict):
    """Notes each run in a file, then takes its time."""
    with open(plan["file"], "a") as file:
        file.write("x")
    time.sleep(plan["seconds"])
    return len(open(plan["file"]).read())


@app.activity_trigger(input_name="path")
def waits_for(path: str):
    """Waits until there is such a file."""
    with open(path + ".began", "a") as file:
        file.write("x")
    while not os.path.exists(path):
        time.sleep(0.01)
    return len(open(path + ".began").read())


@app.activity_trigger(input_name="x")
def process(x):
    return os.getpid()


@app.activity_trigger(input_name="path")
def dies_beside(path: str):
    """Takes its process down once another call has begun in it."""
    if os.path.exists(path):
        return "lived"
    while not os.path.exists(path + ".other.began"):
        time.sleep(0.01)
    with open(path, "w"):
        pass
    os._exit(7)


# Orchestrators


@app.orchestration_trigger(context_name="context")
def chain(context: df.DurableOrchestrationContext):
    context.set_custom_status({"step": 0})
    one = yield context.call_activity("hello", "Tokyo")
    two = yield context.call_activity(act_dict, {"x": [1, 2]})
    three = yield context.call_activity("double", Order(7, 21))
    context.set_custom_status({"step": 3})
    return [one, two, three.total, context.get_input()]


@app.orchestration_trigger(context_name="context")
def fan_out(context: df.DurableOrchestrationContext):
    count = context.get_input() or 5
    results = yield context.task_all([context.call_activity("square", n) for n in range(count)])
    return sum(results)


@app.orchestration_trigger(context_name="ctx", orchestration="Named Orch")
def named(ctx: df.DurableOrchestrationContext):
    return "named"
    yield


@app.orchestration_trigger(context_name="context")
def no_yield(context: df.DurableOrchestrationContext):
    return {"input": context.get_input(), "replaying": context.is_replaying}


@app.orchestration_trigger(context_name="context")
def nested(context: df.DurableOrchestrationContext):
    a = context.call_activity("hello", "a")
    b = context.call_activity("hello", "b")
    never = context.wait_for_external_event("Never")
    any_ab = context.task_any([a, never])
    all_all = yield context.task_all([any_ab, b])
    won = yield context.task_any([a, b])
    again = yield a
    rest = yield context.task_all([a, b])
    empty = yield context.task_all([])
    return [all_all[1], won.result, again, rest, empty]


@app.orchestration_trigger(context_name="context")
def relisted(context: df.DurableOrchestrationContext):
    """A task that is part of a list and is waited for alone before."""
    first = context.call_activity("hello", "first")
    second = context.call_activity("hello", "second")
    both = context.task_all([first, second])
    yield first
    result = yield both
    last = yield context.call_activity("hello", "last")
    return [result, last]


@app.orchestration_trigger(context_name="context")
def retries(context: df.DurableOrchestrationContext):
    plan = context.get_input()
    options = df.RetryOptions(plan.get("interval", 50), plan.get("attempts", 3))
    try:
        result = yield context.call_activity_with_retry("fails_until", options, plan)
    except Exception as error:
        result = str(error)
    after = yield context.call_activity("hello", "after")
    return [result, after]


@app.orchestration_trigger(context_name="context")
def retries_mixed(context: df.DurableOrchestrationContext):
    """Two retries beside plain calls: their hidden numbers fall between those of the others."""
    folder = context.get_input()
    options = df.RetryOptions(20, 3)
    tasks = [context.call_activity_with_retry(
        "fails_until", options, {"file": f"{folder}/{n}", "times": n}) for n in range(5)]
    plain = [context.call_activity("square", n) for n in range(3)]
    open_tasks, results = tasks + plain, []
    while open_tasks:
        done = yield context.task_any(open_tasks)
        open_tasks.remove(done)
        more = yield context.call_activity("square", len(open_tasks))
        failed = isinstance(done.result, Exception)
        results.append([failed, None if failed else done.result, more])
    return [len(results), sum(1 for failed, _, _ in results if failed),
            sorted(more for _, _, more in results)]


@app.orchestration_trigger(context_name="context")
def catches(context: df.DurableOrchestrationContext):
    texts = []
    calls = [context.call_activity("fail", "boom!"), context.call_activity("nobody", 1),
             context.call_sub_orchestrator("throws", "sub boom"),
             context.call_sub_orchestrator("no_such_orchestrator", 1),
             context.call_activity("unserialisable", 1)]
    for call in calls:
        try:
            yield call
        except Exception as error:
            texts.append(str(error))
    return texts


@app.orchestration_trigger(context_name="context")
def fails_early(context: df.DurableOrchestrationContext):
    slow = context.create_timer(context.current_utc_datetime + timedelta(seconds=1))
    try:
        yield context.task_all([context.call_activity("fail", "early"), slow])
    except Exception:
        pass
    yield slow
    return (yield context.call_activity("hello", "rest"))


@app.orchestration_trigger(context_name="context")
def throws(context: df.DurableOrchestrationContext):
    yield context.call_activity("hello", "before")
    raise Exception(context.get_input())


@app.orchestration_trigger(context_name="context")
def throws_nothing(context: df.DurableOrchestrationContext):
    yield context.call_activity("hello", "before")
    raise ValueError()


@app.orchestration_trigger(context_name="context")
def bad_output(context: df.DurableOrchestrationContext):
    yield context.call_activity("hello", "before")
    return object()


@app.orchestration_trigger(context_name="context")
def bad_yield(context: df.DurableOrchestrationContext):
    yield 5


@app.orchestration_trigger(context_name="context")
def timers(context: df.DurableOrchestrationContext):
    now = context.current_utc_datetime
    yield context.create_timer(now - timedelta(hours=1))
    far = context.create_timer(now + timedelta(days=10))
    soon = context.create_timer(now + timedelta(milliseconds=200))
    winner = yield context.task_any([far, soon])
    far.cancel()
    return winner == soon


@app.orchestration_trigger(context_name="context")
def approval(context: df.DurableOrchestrationContext):
    deadline = context.create_timer(context.current_utc_datetime + timedelta(minutes=10))
    event = context.wait_for_external_event("Approve")
    winner = yield context.task_any([deadline, event])
    if winner == event:
        deadline.cancel()
        return event.result
    return "late"


@app.orchestration_trigger(context_name="context")
def two_events(context: df.DurableOrchestrationContext):
    yield context.wait_for_external_event("Go")
    one = yield context.wait_for_external_event("E")
    two = yield context.wait_for_external_event("e")
    return [one, two]


@app.orchestration_trigger(context_name="context")
def twice_any(context: df.DurableOrchestrationContext):
    first = context.wait_for_external_event("E")
    second = context.wait_for_external_event("E")
    done = yield context.task_any([first, second])
    rest = yield context.task_all([first, second])
    return [done.result, rest]


@app.orchestration_trigger(context_name="context")
def entities(context: df.DurableOrchestrationContext):
    key = context.get_input()
    counter = df.EntityId("counter", key)
    context.signal_entity(counter, "add", 5)
    value = yield context.call_entity(counter, "get")
    added = yield context.call_entity(counter, "add", 0)
    try:
        yield context.call_entity(counter, "boom")
        error = None
    except Exception as caught:
        error = str(caught)
    missing = None
    try:
        yield context.call_entity(df.EntityId("nobody", key), "get")
    except Exception as caught:
        missing = str(caught)
    return [value, added, error, missing]


@app.entity_trigger(context_name="context")
def counter(context: df.DurableEntityContext):
    state = context.get_state(lambda: 0)
    operation = context.operation_name
    if operation == "add":
        value = context.get_input()
        state += value if value is not None else 100
        context.set_state(state)
        context.set_result(state)
    elif operation == "get":
        context.set_result(state)
    elif operation == "boom":
        raise ValueError("entity boom")
    elif operation == "process":
        context.set_result(os.getpid())
    elif operation == "delete":
        context.destruct_on_exit()
    else:
        context.set_result(["unknown", operation])


@app.orchestration_trigger(context_name="context")
def eternal(context: df.DurableOrchestrationContext):
    state = context.get_input()
    if state["left"] == 0:
        kept = yield context.wait_for_external_event("Kept")
        return [state["done"], kept]
    context.signal_entity(df.EntityId("counter", state["key"]), "add", 1)
    if state["left"] % 2:
        yield context.call_activity("hello", "again")
    context.continue_as_new({"left": state["left"] - 1, "done": state["done"] + 1,
                             "key": state["key"]})


@app.orchestration_trigger(context_name="context")
def clocks(context: df.DurableOrchestrationContext):
    seen = [str(context.new_uuid()), str(context.new_guid()), context.current_utc_datetime.isoformat()]
    yield context.call_activity("nap", 0.3)
    seen += [str(context.new_uuid()), context.current_utc_datetime.isoformat(), context.is_replaying]
    yield context.wait_for_external_event("Go")
    return seen + [context.is_replaying]


@app.orchestration_trigger(context_name="context")
def http_call(context: df.DurableOrchestrationContext):
    response = yield context.call_http("GET", context.get_input())
    return [response["statusCode"], response["content"]]


@app.orchestration_trigger(context_name="context")
def survives(context: df.DurableOrchestrationContext):
    plan = context.get_input()
    results = yield context.task_all([
        context.call_activity("dies", plan), context.call_activity("square", 3)])
    return results


@app.orchestration_trigger(context_name="context")
def steps(context: df.DurableOrchestrationContext):
    total = 0
    for n in range(context.get_input() or 20):
        total += yield context.call_activity("square", n)
    return total


@app.orchestration_trigger(context_name="context")
def naps(context: df.DurableOrchestrationContext):
    results = []
    for _ in range(5):
        results.append((yield context.call_activity("nap", 0.4)))
    return results


@app.orchestration_trigger(context_name="context")
def parents(context: df.DurableOrchestrationContext):
    child = yield context.call_sub_orchestrator("chain", {"z": 1}, f"{context.instance_id}-child")
    options = df.RetryOptions(20, 2)
    try:
        yield context.call_sub_orchestrator_with_retry("throws", options, "again")
        text = None
    except Exception as error:
        text = str(error).split("\n")[0]
    return [child[0], child[3], text]


@app.orchestration_trigger(context_name="context")
def one_call(context: df.DurableOrchestrationContext):
    """Calls the activity that the input names."""
    name, argument = context.get_input()
    return (yield context.call_activity(name, argument))


@app.orchestration_trigger(context_name="context")
def beside(context: df.DurableOrchestrationContext):
    """An activity that takes its process down beside one that waits in the same."""
    path = context.get_input()
    return (yield context.task_all([
        context.call_activity("waits_for", path + ".other"),
        context.call_activity("dies_beside", path)]))


@app.orchestration_trigger(context_name="context")
def thinks_long(context: df.DurableOrchestrationContext):
    """Sleeps in the orchestrator itself until a file says that it did often enough."""
    path = context.get_input()["file"]
    yield context.call_activity("hello", "first")
    count = len(open(path).read()) if os.path.exists(path) else 0
    if count < context.get_input()["times"]:
        with open(path, "a") as file:
            file.write("x")
        time.sleep(60)
    return "thought"


@app.orchestration_trigger(context_name="context")
def who_runs(context: df.DurableOrchestrationContext):
    """The processes of the orchestrator, of an activity and of an entity."""
    activity = yield context.call_activity("process", 0)
    entity = yield context.call_entity(df.EntityId("counter", context.instance_id), "process")
    return [os.getpid(), activity, entity]


@app.orchestration_trigger(context_name="context")
def counts(context: df.DurableOrchestrationContext):
    """Operations of one entity, each of its own kind."""
    counter = df.EntityId("counter", context.get_input())
    added = yield context.call_entity(counter, "add", 3)
    nothing = yield context.call_entity(counter, "add")
    zero = yield context.call_entity(counter, "add", 0)
    together = yield context.task_all([context.call_entity(counter, "add", 1) for _ in range(5)])
    odd = yield context.call_entity(counter, "what", "x")
    yield context.call_entity(counter, "delete")
    fresh = yield context.call_entity(counter, "get")
    return [added, nothing, zero, sorted(together), odd, fresh]


@app.orchestration_trigger(context_name="context")
def two_after(context: df.DurableOrchestrationContext):
    """Both events come while it waits for them together."""
    return (yield context.task_all([
        context.wait_for_external_event("A"), context.wait_for_external_event("B")]))


@app.orchestration_trigger(context_name="context")
def prints(context: df.DurableOrchestrationContext):
    """What it says before a step is not said again after it."""
    if not context.is_replaying:
        logging.info("once %s", context.instance_id)
    print("printed", context.instance_id)
    yield context.call_activity("hello", "x")
    yield context.wait_for_external_event("Go")
    return "said"
