import azure.durable_functions as df
import azure.functions as func


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    client = df.DurableOrchestrationClient(starter)
    instance = await client.start_new(req.route_params["name"], req.params.get("id"), {"v": 1})
    return client.create_check_status_response(req, instance)
