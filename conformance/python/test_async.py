"""The asynchronous clients of Microsoft's unmodified Python SDK against a Belvedere server, over TLS (item 90)."""

import asyncio
import logging
import os
import unittest
import uuid

from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError, HttpResponseError, ResourceExistsError, ResourceNotFoundError)
from azure.mixedreality.remoterendering import RenderingSessionSize
from azure.mixedreality.remoterendering.aio import RemoteRenderingClient

from server import Server, names_of_this_machine, token_of

# The SDK never closes the connections of its client of the token service; asyncio tells at length.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)


async def listed(client):
    return [session.id async for session in await client.list_rendering_sessions()]


class SessionsByAsyncSdk(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())
        # aiohttp reads it once, when the first client makes it load: no other test of this process may be earlier.
        os.environ["SSL_CERT_FILE"] = cls.server.ca

    async def asyncSetUp(self):
        self.client = await self.enterAsyncContext(self.client_with(self.server.account["accountKey"]))

    def client_with(self, key, **settings):
        return RemoteRenderingClient(**{
            "endpoint": self.server.https,
            "account_id": self.server.account["accountId"],
            "account_domain": self.server.account["accountDomain"],
            "authentication_endpoint_url": self.server.https,
            "credential": AzureKeyCredential(key),
            "polling_interval": 0.1} | settings)

    async def refused(self, action):
        with self.assertRaises(HttpResponseError) as caught:
            await action
        return caught.exception

    async def test_create_poll_list_extend_stop(self):
        name = "sdk-" + uuid.uuid4().hex
        poller = await self.client.begin_rendering_session(name, RenderingSessionSize.STANDARD, 5)
        session = await poller.result()
        self.assertEqual((session.id, session.status, session.size), (name, "Ready", "Standard"))
        self.assertTrue(session.hostname and session.handshake_port and session.arr_inspector_port)
        self.assertIn(name, await listed(self.client))
        extended = await self.client.update_rendering_session(name, lease_time_minutes=6)
        self.assertEqual(extended.lease_time_minutes, 6)
        shorter = await self.refused(self.client.update_rendering_session(name, lease_time_minutes=6))
        self.assertEqual((shorter.status_code, shorter.error.code), (422, "UnprocessableEntity"))
        await self.client.stop_rendering_session(name)
        stopped = await self.client.get_rendering_session(name)
        self.assertEqual((stopped.status, stopped.created_on), ("Stopped", session.created_on))
        self.assertNotIn(name, await listed(self.client))

    async def test_a_poller_goes_on_from_its_continuation_token(self):
        name = "sdk-" + uuid.uuid4().hex
        poller = await self.client.begin_rendering_session(name, "Standard", 5)
        again = await self.client.get_rendering_session_poller(continuation_token=poller.continuation_token())
        self.assertEqual((await again.result()).status, "Ready")
        by_id = await self.client.get_rendering_session_poller(session_id=name)
        self.assertEqual((await by_id.result()).status, "Ready")
        await self.client.stop_rendering_session(name)

    async def test_sessions_at_the_same_time(self):
        names = ["sdk-" + uuid.uuid4().hex for _ in range(4)]
        pollers = await asyncio.gather(
            *(self.client.begin_rendering_session(name, "Standard", 5) for name in names))
        sessions = await asyncio.gather(*(poller.result() for poller in pollers))
        self.assertEqual([(session.id, session.status) for session in sessions], [(name, "Ready") for name in names])
        await asyncio.gather(*(self.client.stop_rendering_session(name) for name in names))

    async def test_lists_go_over_pages(self):
        with Server(simulated=True) as server:
            account = server.account
            async with RemoteRenderingClient(
                    endpoint=server.https, account_id=account["accountId"], account_domain="localhost",
                    credential=token_of(server, account), connection_verify=server.ca) as client:
                names = [f"page-{n:03}" for n in range(101)]
                for name in names:
                    await client.begin_rendering_session(name, "Standard", 5)
                self.assertEqual(await listed(client), names)

    async def test_keys_and_tokens(self):
        async with self.client_with(self.server.account["secondaryKey"]) as second:
            self.assertIsInstance(await listed(second), list)
        async with self.client_with("A" * 43 + "=") as wrong:
            error = await self.refused(listed(wrong))
            self.assertIsInstance(error, ClientAuthenticationError)
            self.assertIn("Unauthorized", str(error))
        forged = AccessToken("eyJhbGciOiJub25lIn0.e30.", 2**31)
        async with self.client_with("", credential=forged) as forger:
            self.assertEqual((await self.refused(listed(forger))).status_code, 401)

    async def test_errors_name_what_is_wrong(self):
        negative = await self.refused(self.client.begin_rendering_session("neg", "Standard", -4))
        self.assertEqual((negative.status_code, negative.error.code), (400, "BadRequest"))
        self.assertIn("lease", negative.error.message.lower())
        self.assertIn("negative", negative.error.message.lower())
        tiny = await self.refused(self.client.begin_rendering_session("tiny", "Tiny", 4))
        self.assertEqual(tiny.error.message, "Can't specify this VM size: Tiny")
        unknown = await self.refused(self.client.get_rendering_session("never-was"))
        self.assertIsInstance(unknown, ResourceNotFoundError)
        name = "sdk-" + uuid.uuid4().hex
        await self.client.begin_rendering_session(name, "Standard", 5)
        other = await self.refused(self.client.begin_rendering_session(name, "Standard", 7))
        self.assertIsInstance(other, ResourceExistsError)
        self.assertEqual(other.error.code, "Conflict")
        await self.client.stop_rendering_session(name)

    async def test_names_as_in_azure(self):
        domain = self.server.account["accountDomain"]
        with names_of_this_machine():
            async with RemoteRenderingClient(
                    endpoint=f"https://remoterendering.{domain}", account_id=self.server.account["accountId"],
                    account_domain=domain,
                    credential=AzureKeyCredential(self.server.account["accountKey"])) as client:
                self.assertIsInstance(await listed(client), list)


if __name__ == "__main__":
    unittest.main()
