"""An ASGI application as the only function."""

import azure.functions as func


async def web(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    message = await receive()
    body = message.get("body", b"")
    path, query = scope["path"], scope["query_string"]
    await send({"type": "http.response.start", "status": 207,
                "headers": [(b"content-type", b"text/plain"), (b"x-app", b"asgi")]})
    text = b" ".join([scope["method"].encode(), path.encode(), query, body])
    for part in (text[:4], text[4:]):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


app = func.AsgiFunctionApp(app=web, http_auth_level=func.AuthLevel.ANONYMOUS)
