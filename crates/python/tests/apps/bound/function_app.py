"""Functions that queues, blobs, events and times start, and what they leave."""

import json
import logging

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
STORAGE = "AzureWebJobsStorage"


@app.route(route="drop/{id}", methods=["POST"])
@app.queue_output(arg_name="message", queue_name="orders", connection=STORAGE)
@app.queue_output(arg_name="unset", queue_name="orders", connection=STORAGE)
@app.blob_output(arg_name="blob", path="drops/{id}.txt", connection=STORAGE)
def drop(req: func.HttpRequest, message: func.Out[str], unset: func.Out[str],
         blob: func.Out[bytes]) -> func.HttpResponse:
    message.set(json.dumps({"id": req.route_params["id"]}))
    blob.set(req.get_body())
    return func.HttpResponse(status_code=202)


@app.queue_trigger(arg_name="message", queue_name="orders", connection=STORAGE)
@app.durable_client_input(client_name="client")
async def take(message: func.QueueMessage, client):
    order = message.get_json()
    await client.start_new("tell", f"queue-{order['id']}", [message.dequeue_count, order])


@app.blob_trigger(arg_name="blob", path="drops/{name}.txt", connection=STORAGE)
@app.durable_client_input(client_name="client")
async def arrive(blob: func.InputStream, client):
    name = blob.name.rsplit("/", 1)[-1].removesuffix(".txt")
    await client.start_new("tell", f"blob-{name}", [blob.name, blob.read().decode()])


@app.event_grid_trigger(arg_name="event")
@app.durable_client_input(client_name="client")
async def hear(event: func.EventGridEvent, client):
    await client.start_new("tell", f"event-{event.id}", [event.event_type, event.get_json()])


@app.timer_trigger(schedule="0 0 1 1 *", arg_name="mytimer", run_on_startup=True)
@app.durable_client_input(client_name="client")
async def tick(mytimer: func.TimerRequest, client):
    logging.info("past due: %s", mytimer.past_due)
    await client.start_new("tell", "timer", mytimer.past_due)


@app.orchestration_trigger(context_name="context")
def tell(context: df.DurableOrchestrationContext):
    return context.get_input()
