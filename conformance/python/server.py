"""A Belvedere server for a test: started on free ports with a data folder of its own, ended with the test."""

import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import tempfile
import time
import unittest.mock


class Server:
    """`with Server() as server:` gives `https`, `account`, `ca` of a running service."""

    def __init__(self, *arguments, management=False, simulated=False):
        """Further arguments of `belvedere serve`; with a management API, opened by `management_token`, if wanted; with
        simulated hosts, of which there can be more than the machine has room for, if wanted (without arguments)."""
        self.arguments = arguments
        self.simulated = simulated
        self.management_token = secrets.token_hex(32) if management else None

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="belvedere-test-")
        self.data = pathlib.Path(self.folder.name)
        self.log = open(self.data / "log.txt", "w+b")
        if self.management_token:
            file = self.data / "management-token"
            file.write_text(self.management_token + "\n")
            self.arguments += ("--management-token-file", file)
        if self.simulated:
            command = [os.environ["BELVEDERE_CONTROL_PLANE"], self.data]
        else:
            command = [os.environ["BELVEDERE_BIN"], "serve", "--data", self.data,
                       "--listen-http", "127.0.0.1:0", "--listen-https", "127.0.0.1:0", *self.arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        ready = self.data / "ready.json"
        deadline = time.monotonic() + 30
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError("the server did not start:\n" + self.output())
            time.sleep(0.02)
        self.ready = json.loads(ready.read_text())
        self.account = json.loads((self.data / "account.json").read_text())
        self.https = self.ready["https"]
        self.ca = str(self.data / "tls" / "ca.pem")
        return self

    def account_command(self, *arguments):
        """What `belvedere account …` prints about this server's accounts, read as JSON."""
        done = subprocess.run(
            [os.environ["BELVEDERE_BIN"], "account", "--data", self.data, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, timeout=30)
        return json.loads(done.stdout)

    def output(self):
        """What the server printed so far."""
        self.log.flush()
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def __exit__(self, *_exception):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=15)
        output = self.output()
        self.log.close()
        self.folder.cleanup()
        assert code == 0, f"the server ended with {code}:\n{output}"


def token_of(server, account):
    """An access token by the SDK's own client of the token service."""
    from azure.core.credentials import AzureKeyCredential
    from azure.mixedreality.authentication import MixedRealityStsClient

    client = MixedRealityStsClient(
        account_id=account["accountId"], account_domain="localhost", custom_endpoint_url=server.https,
        credential=AzureKeyCredential(account["accountKey"]), connection_verify=server.ca)
    return client.get_token()


def names_of_this_machine():
    """Until it is stopped, `sts.<domain>` and `remoterendering.<domain>` are 127.0.0.1 in this process, as entries in
    the system's hosts file would make them."""
    ask = socket.getaddrinfo

    def answer(host, *arguments, **settings):
        ours = isinstance(host, str) and host.startswith(("sts.", "remoterendering."))
        return ask("127.0.0.1" if ours else host, *arguments, **settings)

    return unittest.mock.patch("socket.getaddrinfo", answer)
