"""Functions with the HTTP extension for streams."""

import asyncio
import os

import azure.functions as func
from azurefunctions.extensions.http.fastapi import PlainTextResponse, Request, StreamingResponse

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="slow/{name}", methods=["POST"])
async def slow(req: Request) -> StreamingResponse:
    """Sends the second part only when a file is there."""
    first = f"{req.path_params['name']} {req.headers['x-asked']} {(await req.body()).decode()}"
    path = req.query_params["file"]

    async def parts():
        yield first
        while not os.path.exists(path):
            await asyncio.sleep(0.01)
        yield " second"

    return StreamingResponse(parts(), 201, {"X-Kind": "stream"}, "text/event-stream")


@app.route(route="much")
async def much(req: Request) -> StreamingResponse:
    """More than fits into any buffer; a file tells how many parts were asked for."""
    async def parts():
        for number in range(2000):
            with open(req.query_params["file"], "w") as file:
                file.write("x" * number)
            yield bytes(10_000)

    return StreamingResponse(parts())


@app.route(route="endless")
async def endless(req: Request) -> StreamingResponse:
    """Leaves a file when nobody listens any more."""
    async def parts():
        try:
            while True:
                yield b"again"
                await asyncio.sleep(0.01)
        finally:
            open(req.query_params["file"], "w").close()

    return StreamingResponse(parts())


@app.route(route="breaks")
async def breaks(req: Request) -> StreamingResponse:
    async def parts():
        yield b"first"
        raise ValueError("in the middle")

    return StreamingResponse(parts())


@app.route(route="fails")
async def fails(req: Request) -> StreamingResponse:
    raise ValueError("before the first part")


@app.route(route="value")
def value(req: Request) -> dict:
    return {"sync": req.method}


@app.route(route="text")
def text(req: Request) -> PlainTextResponse:
    response = PlainTextResponse("as text")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@app.route(route="old")
def old(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(f"old {req.params['a']}")
