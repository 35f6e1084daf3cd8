"""The app that the benchmarks run."""

import azure.durable_functions as df

app = df.DFApp()


@app.activity_trigger(input_name="n")
def nothing(n: int):
    return n


@app.orchestration_trigger(context_name="context")
def steps(context: df.DurableOrchestrationContext):
    """Activities one after the other."""
    for n in range(context.get_input()):
        yield context.call_activity("nothing", n)
    return "done"


@app.orchestration_trigger(context_name="context")
def fans(context: df.DurableOrchestrationContext):
    """Activities all at once."""
    calls = [context.call_activity("nothing", n) for n in range(context.get_input())]
    return len((yield context.task_all(calls)))


@app.orchestration_trigger(context_name="context")
def waits(context: df.DurableOrchestrationContext):
    """A history of some length, and then an event."""
    for n in range(context.get_input()):
        yield context.call_activity("nothing", n)
    yield context.wait_for_external_event("Go")
    yield context.call_activity("nothing", 0)
    return "done"
