"""The server against its own description: whatever is sent, no 5xx and no answer that api/openapi.json does not have.

By hand: pip install schemathesis; BELVEDERE_BIN=target/debug/belvedere python -m unittest -v
"""

import json
import os
import pathlib
import subprocess
import sys
import unittest
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

from server import Server  # noqa: E402

DOCUMENT = HERE.parent.parent / "api" / "openapi.json"
CHECKS = "status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth"
# Examples of each operation and round.
EXAMPLES = os.environ.get("BELVEDERE_FUZZ_EXAMPLES", "40")


class DescriptionByFuzzing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Fuzzing asks more often, and is refused more often, than a client should.
        unlimited = ["--requests-per-minute", "0", "--refusals-per-minute", "0"]
        cls.server = cls.enterClassContext(Server(*unlimited, management=True))

    def get(self, path, credential=None):
        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        request = urllib.request.Request(self.server.ready["http"] + path, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def token(self):
        account = self.server.account
        key = f"{account['accountId']}:{account['accountKey']}"
        return json.loads(self.get(f"/Accounts/{account['accountId']}/token", key))["AccessToken"]

    def fuzz(self, *arguments, document=DOCUMENT, config="", checks=CHECKS, token=None):
        settings = self.server.data / "schemathesis.toml"
        settings.write_text(config)
        return subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "--config-file", settings, "run", document,
             "--url", self.server.ready["http"], "--checks", checks, "--phases", "examples,coverage,fuzzing",
             "--max-examples", EXAMPLES, "--seed", "1", "--generation-database", "none", "--no-color",
             "--warnings", "off", "--header", f"Authorization: Bearer {token or self.token()}", *arguments],
            env=os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)},
            cwd=self.server.data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)

    def assert_described(self, done):
        self.assertEqual(done.returncode, 0, done.stdout[-20_000:])

    def parameters(self):
        """Values that get past the checks of account, version and id."""
        return (f'[parameters]\naccount_id = "{self.server.account["accountId"]}"\n"api-version" = "2021-01-01"\n'
                'session_id = ["a", "b"]\n')

    def answers(self):
        """Counts of answers so far, by area and class."""
        lines = [line for line in self.get("/metrics").splitlines() if line.startswith("belvedere_http_answers")]
        return {tuple(line.split('"')[1:4:2]): int(line.split()[-1]) for line in lines}

    def test_whatever_is_sent(self):
        self.assert_described(self.fuzz(
            "--exclude-tag", "conversions", "--exclude-tag", "management", checks=CHECKS + ",not_a_server_error"))

    def test_what_gets_past_the_first_checks(self):
        before = self.answers()
        # A host that has little memory, or a broken picture, may well say 500 or 503: these are described.
        self.assert_described(self.fuzz(
            "--exclude-tag", "conversions", "--exclude-tag", "management", config=self.parameters()))
        after = self.answers()
        self.assertGreater(after["sessions", "2xx"], before["sessions", "2xx"] + 10, "sessions were created and read")
        self.assertEqual(after["sessions", "5xx"], 0)

    def test_management(self):
        values = ('[parameters]\n"api-version" = "2021-03-01-preview"\nsubscription_id = "s"\n'
                  'group = ["g", "h"]\naccount_name = ["a", "b"]\n')
        for config in ["", values]:
            self.assert_described(self.fuzz(
                "--include-tag", "management", config=config, checks=CHECKS + ",not_a_server_error",
                token=self.server.management_token))
        self.assertGreater(self.answers()["management", "2xx"], 10, "accounts were made and read")

    def test_conversions_are_not_there_yet(self):
        # 501, as described, which one of the checks takes for a failure.
        self.assert_described(self.fuzz("--include-tag", "conversions", config=self.parameters()))

    def test_an_answer_that_is_left_out_is_found(self):
        document = json.loads(DOCUMENT.read_text())
        del document["paths"]["/accounts/{account_id}/sessions/{session_id}"]["put"]["responses"]["400"]
        incomplete = self.server.data / "incomplete.json"
        incomplete.write_text(json.dumps(document))
        done = self.fuzz("--include-operation-id", "CreateSession", document=incomplete, config=self.parameters())
        self.assertEqual(done.returncode, 1, done.stdout[-20_000:])
        self.assertIn("Undocumented status code", done.stdout)


if __name__ == "__main__":
    unittest.main()
