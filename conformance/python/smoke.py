"""The life of a session with Microsoft's Python SDK: a program as a user would write it, run with several azure-core.

By hand: REQUESTS_CA_BUNDLE=…/tls/ca.pem ARR_URL=https://localhost:8443 ARR_ACCOUNT_ID=… ARR_ACCOUNT_KEY=… python smoke.py
"""

import os
import sys
import uuid

import azure.core
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.mixedreality.remoterendering import RemoteRenderingClient, RenderingSessionSize

client = RemoteRenderingClient(
    endpoint=os.environ["ARR_URL"],
    account_id=os.environ["ARR_ACCOUNT_ID"],
    account_domain="localhost",  # must not be empty; of no use with the next line
    authentication_endpoint_url=os.environ["ARR_URL"],  # otherwise https://sts.<account_domain>
    credential=AzureKeyCredential(os.environ["ARR_ACCOUNT_KEY"]),
    polling_interval=0.1)

name = "smoke-" + uuid.uuid4().hex
ready = client.begin_rendering_session(name, RenderingSessionSize.STANDARD, 5).result()
assert (ready.id, ready.status, ready.size) == (name, "Ready", "Standard"), ready
assert ready.hostname and ready.handshake_port and ready.arr_inspector_port
assert client.update_rendering_session(name, lease_time_minutes=6).lease_time_minutes == 6
for bad in (lambda: client.update_rendering_session(name, lease_time_minutes=6),
            lambda: client.begin_rendering_session("neg", "Standard", -4)):
    try:
        bad()
        sys.exit("expected an error")
    except HttpResponseError as error:
        print(error.status_code, error.error.code, "|", error.error.message)
assert name in [session.id for session in client.list_rendering_sessions()]
client.stop_rendering_session(name)
assert client.get_rendering_session(name).status == "Stopped"
print("ok with azure-core", azure.core.__version__)
