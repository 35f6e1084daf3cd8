"""Random programs, each drawn from a seed: every task has to answer what was asked under its number."""

import os
import random
from datetime import timedelta

import azure.durable_functions as df

bp = df.Blueprint()

EVENTS = 4
FAILS = object()
ANYTHING = object()


@bp.activity_trigger(input_name="token")
def tells(token: str):
    return token


@bp.activity_trigger(input_name="plan")
def tells_late(plan: dict):
    """Fails as often as the plan says, then tells."""
    path = os.path.join(plan["folder"], plan["token"].replace("/", "-"))
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) <= plan["fails"]:
        raise RuntimeError(plan["token"])
    return plan["token"]


@bp.orchestration_trigger(context_name="context")
def child_tells(context: df.DurableOrchestrationContext):
    return (yield context.call_activity("tells", context.get_input()))


@bp.orchestration_trigger(context_name="context")
def child_fails(context: df.DurableOrchestrationContext):
    yield context.call_activity("tells", "before")
    raise RuntimeError(context.get_input())


@bp.entity_trigger(context_name="context")
def teller(context: df.DurableEntityContext):
    context.set_state((context.get_state(lambda: 0)) + 1)
    context.set_result(context.get_input())


class Walk:
    """One program on its way."""

    def __init__(self, context):
        self.context = context
        self.input = context.get_input()
        self.draw = random.Random(self.input["seed"])
        self.tokens = 0
        self.events = self.input["events"]
        self.left = []
        self.wrong = []

    def token(self):
        self.tokens += 1
        return f"{self.context.instance_id}/{self.input['seed']}/{self.tokens}"

    def task(self, may_fail=True):
        """A task, and what it has to give."""
        context, token = self.context, self.token()
        kinds = ["call", "call", "call", "child", "timer", "entity"]
        if may_fail:
            kinds += ["retry", "retry", "child retry"]
        if self.events < EVENTS:
            kinds.append("event")
        kind = self.draw.choice(kinds)
        options = df.RetryOptions(self.draw.randint(1, 20), self.draw.randint(1, 3))
        if kind == "call":
            return context.call_activity("tells", token), token
        if kind == "child":
            return context.call_sub_orchestrator("child_tells", token), token
        if kind == "timer":
            late = timedelta(milliseconds=self.draw.randint(-10, 20))
            return context.create_timer(context.current_utc_datetime + late), ANYTHING
        if kind == "entity":
            entity = df.EntityId("teller", str(self.draw.randint(0, 2)))
            return context.call_entity(entity, "tell", token), token
        if kind == "retry":
            # Attempts may be made twice where a process ends, so what comes of a failing one is open.
            plan = {"folder": self.input["folder"], "token": token, "fails": self.draw.randint(0, 3)}
            given = context.call_activity_with_retry("tells_late", options, plan)
            return given, token if plan["fails"] == 0 else (token, FAILS)
        if kind == "child retry":
            return context.call_sub_orchestrator_with_retry("child_fails", options, token), (FAILS, token)
        self.events += 1
        return context.wait_for_external_event(f"E{self.events}"), f"E{self.events}"

    def check(self, expected, result):
        """A failure says the token, too; with two possibilities either will do."""
        if expected is ANYTHING:
            return
        token = expected if isinstance(expected, str) else \
            next(one for one in expected if isinstance(one, str))
        can_fail = not isinstance(expected, str)
        fits = (can_fail and token in str(result)) if isinstance(result, Exception) \
            else result == token
        if not fits:
            self.wrong.append([token, str(result)])

    def alone(self, task, expected):
        try:
            result = yield task
        except Exception as error:
            result = error
        self.check(expected, result)

    def all_of(self):
        tasks = [self.task(may_fail=False) for _ in range(self.draw.randint(2, 5))]
        first = [self.task(may_fail=False) for _ in range(2)]
        both = self.context.task_any([task for task, _ in first])
        results = yield self.context.task_all([task for task, _ in tasks] + [both])
        for (_, expected), result in zip(tasks, results):
            self.check(expected, result)
        self.left += first

    def one_by_one(self):
        tasks = [self.task() for _ in range(self.draw.randint(2, 5))]
        while tasks:
            done = yield self.context.task_any([task for task, _ in tasks])
            for pair in tasks:
                if pair[0] is done:
                    self.check(pair[1], done.result)
            tasks = [pair for pair in tasks if pair[0] is not done]
            chance = self.draw.random()
            if chance < 0.3:
                yield from self.alone(*self.task())
            elif chance < 0.5:
                self.context.signal_entity(df.EntityId("teller", "0"), "tell", "unheard")
            elif chance < 0.6:
                self.left += tasks
                return

    def given_up(self):
        far = self.context.create_timer(self.context.current_utc_datetime + timedelta(hours=1))
        task, expected = self.task()
        done = yield self.context.task_any([far, task])
        far.cancel()
        self.check(expected, done.result)

    def steps(self):
        for _ in range(self.draw.randint(2, 5)):
            step = self.draw.choice([self.all_of, self.one_by_one, self.one_by_one, self.given_up, None])
            if step is None:
                yield from self.alone(*self.task())
            else:
                yield from step()
        for task, expected in self.left:
            yield from self.alone(task, expected)


@bp.orchestration_trigger(context_name="context")
def walks(context: df.DurableOrchestrationContext):
    walk = Walk(context)
    yield from walk.steps()
    left = walk.input["executions"] - 1
    if left and not walk.wrong:
        context.continue_as_new(dict(walk.input, seed=walk.input["seed"] + 1000, events=walk.events,
                                     executions=left))
        return None
    return walk.wrong
