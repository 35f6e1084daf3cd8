"""Uploads to the log stand-in with Microsoft's own client. Settings come as variables; the first thing that is wrong ends it."""

import os

from azure.core.exceptions import HttpResponseError
from azure.identity import ManagedIdentityCredential
from azure.monitor.ingestion import LogsIngestionClient

rule, stream = os.environ["LOGS_RULE"], os.environ["LOGS_STREAM"]
client = LogsIngestionClient(
    os.environ["LOGS_URL"],
    ManagedIdentityCredential(),
    connection_verify=os.environ["LOGS_CERTIFICATE"],
    retry_backoff_factor=0,
)


def row(number, text):
    return {"TimeGenerated": "2026-11-21T01:02:03.456Z", "FileName": text, "FileSizeBytes": number, "Unknown": 1}


# More than one request takes; the client splits it.
client.upload(rule, stream, [row(number, "ї" * 1000) for number in range(1500)])

for wrong_rule, wrong_stream, logs, status in [
    (rule, stream, [{"FileSizeBytes": "many"}], 400),
    ("dcr-other", stream, [row(1, "x")], 404),
    (rule, "Custom-Other_CL", [row(1, "x")], 404),
]:
    try:
        client.upload(wrong_rule, wrong_stream, logs)
        raise AssertionError(f"{wrong_rule} {wrong_stream} was accepted")
    except HttpResponseError as error:
        assert error.status_code == status, error
print("logs: all as expected")
