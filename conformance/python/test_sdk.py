"""Microsoft's unmodified Python SDK against a Belvedere server, over TLS.

Run by `cargo xtask test`; by hand: BELVEDERE_BIN=target/debug/belvedere target/venv/bin/python -m unittest -v
"""

import datetime
import os
import time
import unittest
import uuid

from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError, HttpResponseError, ResourceExistsError, ResourceNotFoundError)
from azure.mixedreality.remoterendering import RemoteRenderingClient, RenderingSessionSize

from server import Server, names_of_this_machine, token_of


def statuses(response):
    """Of all tries, the successful or last one included."""
    history = response.context.get("history", [])
    return [entry.http_response.status_code for entry in history if entry.http_response is not None]


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
        self.assertIsInstance(error, ClientAuthenticationError)
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
        for unknown in (
                lambda: self.client.get_rendering_session("never-was"),
                lambda: self.client.update_rendering_session("never-was", lease_time_minutes=9),
                lambda: self.client.stop_rendering_session("never-was"),
                lambda: self.client.get_rendering_session("a b/c%?#é")):
            self.assertIsInstance(self.refused(unknown), ResourceNotFoundError)
        odd = self.refused(lambda: self.client.begin_rendering_session("a b/c%?#é", "Standard", 4))
        self.assertEqual((odd.status_code, odd.error.code), (400, "BadRequest"))

    def test_another_account_is_closed(self):
        other = self.server.account_command("create", "other")
        client = RemoteRenderingClient(
            endpoint=self.server.https, account_id=self.server.account["accountId"],
            account_domain="localhost", credential=token_of(self.server, other))
        error = self.refused(lambda: client.get_rendering_session("x"))
        self.assertEqual((error.status_code, error.error.code), (403, "Forbidden"))

    def test_names_as_in_azure(self):
        """`https://sts.<account domain>` and `https://remoterendering.<domain>`, one listener behind both."""
        domain = self.server.account["accountDomain"]
        client = RemoteRenderingClient(
            endpoint=f"https://remoterendering.{domain}", account_id=self.server.account["accountId"],
            account_domain=domain, credential=AzureKeyCredential(self.server.account["accountKey"]))
        with names_of_this_machine():
            self.assertIsInstance(list(client.list_rendering_sessions()), list)
            self.assertIsInstance(self.refused(lambda: client.get_rendering_session("x")), ResourceNotFoundError)

    def test_a_poller_says_what_becomes_of_its_session(self):
        name = "sdk-" + uuid.uuid4().hex
        self.client.begin_rendering_session(name, "Standard", 5)
        self.client.stop_rendering_session(name)
        by_id = self.client.get_rendering_session_poller(session_id=name)
        self.assertTrue(by_id.done())
        self.assertEqual(by_id.result().status, "Stopped")
        over = self.refused(lambda: self.client.update_rendering_session(name, lease_time_minutes=9))
        self.assertEqual((over.status_code, over.error.code), (422, "UnprocessableEntity"))

    def test_the_same_id_with_other_settings_is_a_conflict(self):
        name = "sdk-" + uuid.uuid4().hex
        self.client.begin_rendering_session(name, "Standard", 5).result()
        other = self.refused(lambda: self.client.begin_rendering_session(name, "Standard", 7))
        self.assertIsInstance(other, ResourceExistsError)
        self.assertEqual((other.status_code, other.error.code), (409, "Conflict"))
        self.client.stop_rendering_session(name)


class PagesBySdk(unittest.TestCase):
    """Lists that are longer than a page, which the SDK goes through by itself (items 60, 61)."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server(simulated=True))
        os.environ["REQUESTS_CA_BUNDLE"] = cls.server.ca

    def test_lists_go_over_pages(self):
        client = RemoteRenderingClient(
            endpoint=self.server.https, account_id=self.server.account["accountId"], account_domain="localhost",
            credential=token_of(self.server, self.server.account), polling_interval=0.1)
        names = [f"page-{n:03}" for n in range(202)]
        pollers = [client.begin_rendering_session(name, "Standard", 5) for name in names]
        self.assertEqual({poller.result().status for poller in pollers}, {"Ready"})
        pages = [[session.id for session in page] for page in client.list_rendering_sessions().by_page()]
        self.assertEqual([len(page) for page in pages], [100, 100, 2])
        self.assertEqual(sum(pages, []), names)
        self.assertEqual([session.id for session in client.list_rendering_sessions()], names)


class LimitsBySdk(unittest.TestCase):
    """Sixty requests a minute, ten of them at once: who asks more often waits, and need not know it."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server("--requests-per-minute", "60"))
        os.environ["REQUESTS_CA_BUNDLE"] = cls.server.ca
        cls.token = token_of(cls.server, cls.server.account)

    def client(self, **settings):
        return RemoteRenderingClient(
            endpoint=self.server.https, account_id=self.server.account["accountId"],
            account_domain="localhost", credential=self.token, **settings)

    def test_who_asks_too_often_is_told_when_to_come_again_and_comes(self):
        impatient = self.client(retry_total=0)
        with self.assertRaises(HttpResponseError) as caught:
            for _ in range(30):
                list(impatient.list_rendering_sessions())
        self.assertEqual(caught.exception.status_code, 429)
        self.assertEqual(caught.exception.response.headers["Retry-After"], "1")

        seen = []
        patient = self.client(raw_response_hook=lambda response: seen.append(response))
        started = time.monotonic()
        self.assertEqual(list(patient.list_rendering_sessions()), [])
        self.assertEqual(statuses(seen[-1])[:1], [429], "the first try was one too many")
        self.assertGreater(time.monotonic() - started, 0.9, "the SDK waited as it was told")


if __name__ == "__main__":
    unittest.main()
