"""Microsoft's unmodified management SDK, azure-mgmt-mixedreality, against a Belvedere server, over TLS (item 95)."""

import os
import types
import unittest

from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError, HttpResponseError, ResourceExistsError, ResourceNotFoundError)
from azure.mgmt.mixedreality import MixedRealityClient
from azure.mgmt.mixedreality.models import (
    AccountKeyRegenerateRequest, CheckNameAvailabilityRequest, RemoteRenderingAccount, Serial)
from azure.mixedreality.remoterendering import RemoteRenderingClient

from server import Server

SUBSCRIPTION = "2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10"


def credential(token):
    """Whatever has `get_token` will do; a management token needs no Entra ID."""
    return types.SimpleNamespace(get_token=lambda *_scopes, **_settings: AccessToken(token, 2**31))


class AccountsByManagementSdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server(management=True))
        os.environ["REQUESTS_CA_BUNDLE"] = cls.server.ca
        cls.client = cls.client_with(cls.server.management_token)
        cls.accounts = cls.client.remote_rendering_accounts

    @classmethod
    def client_with(cls, token):
        return MixedRealityClient(credential(token), SUBSCRIPTION, base_url=cls.server.https)

    def make(self, name, group="group", **settings):
        return self.accounts.create(group, name, RemoteRenderingAccount(location="westeurope", **settings))

    def sessions(self, account, key):
        return list(RemoteRenderingClient(
            endpoint=self.server.https, account_id=account.account_id, account_domain=account.account_domain,
            authentication_endpoint_url=self.server.https, credential=AzureKeyCredential(key)).list_rendering_sessions())

    def test_an_account_comes_serves_and_goes(self):
        made = self.make("mine", tags={"a": "1"})
        self.assertEqual((made.name, made.location, made.tags), ("mine", "westeurope", {"a": "1"}))
        self.assertEqual(made.type, "Microsoft.MixedReality/remoteRenderingAccounts")
        self.assertTrue(made.id.endswith("/resourceGroups/group/providers/Microsoft.MixedReality/"
                                         "remoteRenderingAccounts/mine"))
        self.assertEqual(made.account_domain, self.server.account["accountDomain"])
        self.assertEqual(self.accounts.get("group", "mine").account_id, made.account_id)
        changed = self.accounts.update("group", "mine", RemoteRenderingAccount(location="westeurope", tags={"b": "2"}))
        self.assertEqual((changed.tags, changed.account_id), ({"b": "2"}, made.account_id))

        keys = self.accounts.list_keys("group", "mine")
        for key in (keys.primary_key, keys.secondary_key):
            self.assertEqual(self.sessions(made, key), [])
        new = self.accounts.regenerate_keys("group", "mine", AccountKeyRegenerateRequest(serial=Serial.SECONDARY))
        self.assertEqual(new.primary_key, keys.primary_key)
        self.assertNotEqual(new.secondary_key, keys.secondary_key)
        self.assertEqual(self.sessions(made, new.secondary_key), [])
        with self.assertRaises(ClientAuthenticationError):
            self.sessions(made, keys.secondary_key)

        self.accounts.delete("group", "mine")
        self.accounts.delete("group", "mine")
        with self.assertRaises(ResourceNotFoundError) as caught:
            self.accounts.get("group", "mine")
        self.assertEqual(caught.exception.error.code, "ResourceNotFound")
        with self.assertRaises(ClientAuthenticationError):
            self.sessions(made, keys.primary_key)

    def test_lists_go_over_pages(self):
        names = [f"many-{n:03}" for n in range(102)]
        for name in names:
            self.make(name, group="many")
        self.make("other", group="few")
        self.assertEqual([account.name for account in self.accounts.list_by_resource_group("many")], names)
        everywhere = [account.name for account in self.accounts.list_by_subscription()]
        self.assertTrue(set(everywhere) >= {"other", *names})
        self.assertEqual(list(self.accounts.list_by_resource_group("none")), [])

    def test_names_and_operations(self):
        def ask(name):
            return self.client.check_name_availability_local("westeurope", CheckNameAvailabilityRequest(
                name=name, type="Microsoft.MixedReality/remoteRenderingAccounts"))

        self.make("taken")
        self.assertTrue(ask("free").name_available)
        taken = ask("taken")
        self.assertEqual((taken.name_available, taken.reason), (False, "AlreadyExists"))
        with self.assertRaises(ResourceExistsError):
            self.make("taken", group="another")
        operations = [operation.name for operation in self.client.operations.list()]
        self.assertIn("Microsoft.MixedReality/RemoteRenderingAccounts/listkeys/action", operations)

    def test_only_the_token_opens_it(self):
        for token in ("x" * 64, self.server.account["accountKey"]):
            with self.assertRaises(ClientAuthenticationError) as caught:
                list(self.client_with(token).remote_rendering_accounts.list_by_subscription())
            self.assertEqual(caught.exception.error.code, "InvalidAuthenticationToken")


class NoManagement(unittest.TestCase):
    def test_it_is_off_by_default(self):
        with Server() as server:
            os.environ["REQUESTS_CA_BUNDLE"] = server.ca
            client = MixedRealityClient(credential("x" * 64), SUBSCRIPTION, base_url=server.https)
            with self.assertRaises(HttpResponseError) as caught:
                list(client.remote_rendering_accounts.list_by_subscription())
            self.assertEqual(caught.exception.status_code, 404)


if __name__ == "__main__":
    unittest.main()
