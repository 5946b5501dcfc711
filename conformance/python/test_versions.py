"""`smoke.py` with the oldest azure-core that the SDK works with, the last that brings `six`, and the newest (item 87)."""

import os
import pathlib
import subprocess
import sys
import unittest

from server import Server

HERE = pathlib.Path(__file__).resolve().parent
# Made by `cargo xtask setup`: a folder for each further version, to be found before the environment's own.
VERSIONS = pathlib.Path(sys.prefix).parent / "azure-core"


class VersionsOfTheBase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())

    def smoke(self, path):
        account = self.server.account
        done = subprocess.run(
            [sys.executable, HERE / "smoke.py"], timeout=60, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {
                "PYTHONPATH": str(path), "REQUESTS_CA_BUNDLE": self.server.ca, "ARR_URL": self.server.https,
                "ARR_ACCOUNT_ID": account["accountId"], "ARR_ACCOUNT_KEY": account["accountKey"]})
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout.split()[-1]

    def test_the_oldest(self):
        self.assertEqual(self.smoke(VERSIONS / "1.24.0"), "1.24.0")

    def test_the_last_with_six(self):
        self.assertEqual(self.smoke(VERSIONS / "1.35.1"), "1.35.1")

    def test_the_newest(self):
        self.assertGreater(tuple(int(part) for part in self.smoke("").split(".")), (1, 40))


if __name__ == "__main__":
    unittest.main()
