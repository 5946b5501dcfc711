// A Belvedere server for a test: started on free ports with a data folder of its own, ended with the test.

import { execFile, spawn } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const binary = process.env.BELVEDERE_BIN;

/**
 * Starts one. Both get its data folder: `files` gives texts to be laid into it before, by name, `arguments_` further
 * arguments of `belvedere serve`.
 */
export async function startServer({ files = async () => ({}), arguments_ = () => [] } = {}) {
  if (!binary) throw new Error("BELVEDERE_BIN must name the program to test");
  const data = await mkdtemp(join(tmpdir(), "belvedere-test-"));
  for (const [name, text] of Object.entries(await files(data))) await writeFile(join(data, name), text, { mode: 0o600 });
  const log = openSync(join(data, "log.txt"), "a");
  const child = spawn(
    binary,
    ["serve", "--data", data, "--listen-http", "127.0.0.1:0", "--listen-https", "127.0.0.1:0", ...arguments_(data)],
    { stdio: ["ignore", log, log] },
  );
  closeSync(log);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const deadline = Date.now() + 30_000;
  while (!existsSync(join(data, "ready.json"))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error(`the server did not start:\n${await readFile(join(data, "log.txt"), "utf8")}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const json = async (name) => JSON.parse(await readFile(join(data, name), "utf8"));
  return {
    ready: await json("ready.json"),
    account: await json("account.json"),
    ca: await readFile(join(data, "tls", "ca.pem"), "utf8"),
    async stop() {
      child.kill("SIGINT");
      const code = await ended;
      const output = await readFile(join(data, "log.txt"), "utf8");
      await rm(data, { recursive: true });
      if (code !== 0) throw new Error(`the server ended with ${code}:\n${output}`);
    },
  };
}

/** Makes an account in a data folder that a server will have. */
export async function createAccount(data, name) {
  const { stdout } = await promisify(execFile)(binary, ["account", "--data", data, "create", name]);
  return JSON.parse(stdout);
}
