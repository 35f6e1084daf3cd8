import azure.durable_functions as df


def flow(context: df.DurableOrchestrationContext):
    one = yield context.call_activity("Say", "Ann")
    two = yield context.call_activity("Odd", one)
    return [one, two, context.get_input()]


main = df.Orchestrator.create(flow)
