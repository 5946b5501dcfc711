"""What the SDK's own tests need to run against a Belvedere server rather than against Microsoft's recordings.

In place of the SDK repository's `devtools_testutils` (which records and plays back; it is no package) and `conftest.py`.
"""

import os
import sys
import types

import pytest
import pytest_asyncio
from azure.core.credentials import AzureKeyCredential
from azure.mixedreality.remoterendering import RemoteRenderingClient
from azure.mixedreality.remoterendering.aio import RemoteRenderingClient as AsyncRemoteRenderingClient

from server import names_of_this_machine

tools = types.ModuleType("devtools_testutils")
tools.AzureRecordedTestCase = type("AzureRecordedTestCase", (), {"is_live": True})
sys.modules[tools.__name__] = tools


@pytest.fixture(scope="session", autouse=True)
def names():
    with names_of_this_machine():
        yield


@pytest.fixture
def recorded_test():
    """Nothing is recorded."""


@pytest.fixture(scope="session")
def account_info():
    domain = os.environ["ARR_DOMAIN"]
    return {
        "service_endpoint": f"https://remoterendering.{domain}",
        "account_domain": domain,
        "account_id": os.environ["ARR_ACCOUNT_ID"],
        "key_credential": AzureKeyCredential(os.environ["ARR_ACCOUNT_KEY"]),
        "id_placeholder": "rr-test-id",
        # For conversions; those that are turned down before they begin need the names.
        "storage_account_name": "none", "storage_endpoint_suffix": "example", "blob_container_name": "none",
        "sas_token": "none",
    }


def settings(account_info):
    return {
        "endpoint": account_info["service_endpoint"], "account_id": account_info["account_id"],
        "account_domain": account_info["account_domain"], "credential": account_info["key_credential"],
        "polling_interval": 0.2,
    }


@pytest.fixture
def arr_client(account_info):
    with RemoteRenderingClient(**settings(account_info)) as client:
        yield client


@pytest_asyncio.fixture
async def async_arr_client(account_info):
    async with AsyncRemoteRenderingClient(**settings(account_info)) as client:
        yield client
