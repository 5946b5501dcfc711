"""Microsoft's unmodified Python SDK against a Belvedere server, over TLS.

Run by `cargo xtask test`; by hand: BELVEDERE_BIN=target/debug/belvedere target/venv/bin/python -m unittest -v
"""

import datetime
import os
import unittest
import uuid

from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.mixedreality.remoterendering import RemoteRenderingClient, RenderingSessionSize

from server import Server


class SessionsBySdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())
        os.environ["REQUESTS_CA_BUNDLE"] = cls.server.ca
        cls.client = cls.client_with(cls.server.account["accountKey"])

    @classmethod
    def client_with(cls, key):
        return RemoteRenderingClient(
            endpoint=cls.server.https,
            account_id=cls.server.account["accountId"],
            account_domain=cls.server.account["accountDomain"],
            authentication_endpoint_url=cls.server.https,
            credential=AzureKeyCredential(key),
            polling_interval=0.1)

    def refused(self, action):
        with self.assertRaises(HttpResponseError) as caught:
            action()
        return caught.exception

    def test_create_poll_list_extend_stop(self):
        name = "sdk-" + uuid.uuid4().hex
        poller = self.client.begin_rendering_session(name, RenderingSessionSize.STANDARD, 5)
        session = poller.result()
        self.assertEqual((session.id, session.status, session.size), (name, "Ready", "Standard"))
        self.assertTrue(session.hostname)
        ports = {session.handshake_port, session.arr_inspector_port}
        self.assertEqual(len(ports), 2)
        self.assertTrue(all(49152 <= port <= 65534 for port in ports), ports)
        self.assertGreater(session.teraflops, 0)
        self.assertEqual(session.elapsed_time_minutes, 0)
        age = datetime.datetime.now(datetime.timezone.utc) - session.created_on
        self.assertLess(abs(age.total_seconds()), 60)

        self.assertIn(name, [listed.id for listed in self.client.list_rendering_sessions()])
        extended = self.client.update_rendering_session(name, lease_time_minutes=6)
        self.assertEqual(extended.lease_time_minutes, 6)
        shorter = self.refused(lambda: self.client.update_rendering_session(name, lease_time_minutes=6))
        self.assertEqual((shorter.status_code, shorter.error.code), (422, "UnprocessableEntity"))

        self.client.stop_rendering_session(name)
        stopped = self.client.get_rendering_session(name)
        self.assertEqual((stopped.status, stopped.created_on), ("Stopped", session.created_on))
        self.assertIsNone(stopped.hostname)
        self.assertNotIn(name, [listed.id for listed in self.client.list_rendering_sessions()])

    def test_a_poller_goes_on_from_its_continuation_token(self):
        name = "sdk-" + uuid.uuid4().hex
        token = self.client.begin_rendering_session(name, "Standard", 5).continuation_token()
        again = self.client.get_rendering_session_poller(continuation_token=token)
        self.assertEqual(again.result().status, "Ready")
        self.client.stop_rendering_session(name)

    def test_the_secondary_key_works_and_a_wrong_key_does_not(self):
        second = self.client_with(self.server.account["secondaryKey"])
        self.assertIsInstance(list(second.list_rendering_sessions()), list)
        wrong = self.client_with("A" * 43 + "=")
        error = self.refused(lambda: list(wrong.list_rendering_sessions()))
        self.assertEqual(error.status_code, 401)
        self.assertIn("Unauthorized", str(error))

    def test_a_token_of_ones_own_making_is_refused(self):
        client = RemoteRenderingClient(
            endpoint=self.server.https, account_id=self.server.account["accountId"],
            account_domain="localhost", credential=AccessToken("eyJhbGciOiJub25lIn0.e30.", 2**31))
        self.assertEqual(self.refused(lambda: client.get_rendering_session("x")).status_code, 401)

    def test_errors_name_what_is_wrong(self):
        negative = self.refused(lambda: self.client.begin_rendering_session("neg", "Standard", -4))
        self.assertEqual((negative.status_code, negative.error.code), (400, "BadRequest"))
        self.assertIn("lease", negative.error.message.lower())
        self.assertIn("negative", negative.error.message.lower())
        tiny = self.refused(lambda: self.client.begin_rendering_session("tiny", "Tiny", 4))
        self.assertEqual(tiny.error.message, "Can't specify this VM size: Tiny")
        unknown = self.refused(lambda: self.client.get_rendering_session("never-was"))
        self.assertEqual(unknown.status_code, 404)

    def test_the_same_id_with_other_settings_is_a_conflict(self):
        name = "sdk-" + uuid.uuid4().hex
        self.client.begin_rendering_session(name, "Standard", 5).result()
        other = self.refused(lambda: self.client.begin_rendering_session(name, "Standard", 7))
        self.assertEqual((other.status_code, other.error.code), (409, "Conflict"))
        self.client.stop_rendering_session(name)


if __name__ == "__main__":
    unittest.main()
