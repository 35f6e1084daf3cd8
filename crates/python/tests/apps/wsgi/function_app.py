"""A WSGI application as the only function."""

import azure.functions as func


def web(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("207 Multi-Status", [("Content-Type", "text/plain"), ("X-App", "wsgi")])
    head = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {environ['QUERY_STRING']} "
    return [head.encode(), body]


app = func.WsgiFunctionApp(app=web, http_auth_level=func.AuthLevel.ANONYMOUS)
