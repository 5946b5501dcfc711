// A real `belvedere serve` in a folder of its own, and what a back end would do with it.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export const TESTDATA = join(ROOT, "../shared/testdata");

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until `ask` gives something true. */
export async function until(what, ask, timeoutMs = 10_000, everyMs = 20) {
  const giveUpAt = Date.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > giveUpAt) throw new Error(`waited ${timeoutMs} ms for ${what}`);
    await sleep(everyMs);
  }
}

function program() {
  const target = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
  const found = [process.env.BELVEDERE_BIN, join(target, "release/belvedere"), join(target, "debug/belvedere")].find(
    (path) => path && existsSync(path),
  );
  if (!found) throw new Error("there is no belvedere to test: build it, or name it in BELVEDERE_BIN");
  return found;
}

export class Service {
  static async start({ models, warmHosts, flags = [] } = {}) {
    const data = mkdtempSync(join(tmpdir(), "belvedere-e2e-"));
    const args = ["serve", "--data", data, "--listen-http", "127.0.0.1:0", "--listen-https", "127.0.0.1:0"];
    if (models) args.push("--models", models);
    if (warmHosts !== undefined) args.push("--warm-hosts", String(warmHosts));
    args.push(...flags);
    const child = spawn(program(), args, { stdio: ["ignore", "ignore", "pipe"] });
    const service = new Service(data, child);
    child.stderr.on("data", (chunk) => (service.log += chunk));
    const ready = join(data, "ready.json");
    try {
      await until("the service to start", () => {
        if (child.exitCode !== null) throw new Error(`the service ended with ${child.exitCode}:\n${service.log}`);
        return existsSync(ready) && readFileSync(ready, "utf8").trim() !== "";
      });
    } catch (error) {
      await service.stop();
      throw error;
    }
    service.ready = JSON.parse(readFileSync(ready, "utf8"));
    service.http = service.ready.http.replace(/\/$/, "");
    const account = JSON.parse(readFileSync(join(data, "account.json"), "utf8"));
    service.account = account.accountId;
    service.key = account.accountKey;
    const response = await fetch(`${service.http}/Accounts/${account.accountId}/token?api-version=2019-02-28-preview`, {
      headers: { Authorization: `Bearer ${account.accountId}:${account.accountKey}` },
    });
    if (!response.ok) throw new Error(`no token: ${response.status} ${await response.text()}`);
    service.token = (await response.json()).AccessToken;
    return service;
  }

  constructor(data, child) {
    this.data = data;
    this.child = child;
    this.log = "";
  }

  get #headers() {
    return { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" };
  }

  path(session) {
    return `${this.http}/accounts/${this.account}/sessions/${session}`;
  }

  /** Creates a session and waits until it is Ready. */
  async session(id, minutes = 10) {
    const response = await fetch(`${this.path(id)}?api-version=2021-01-01`, {
      method: "PUT",
      headers: this.#headers,
      body: JSON.stringify({ maxLeaseTimeMinutes: minutes, size: "Standard" }),
    });
    if (response.status !== 201) throw new Error(`no session: ${response.status} ${await response.text()}`);
    let body = await response.json();
    await until(`session ${id} to be Ready`, async () => {
      if (body.status === "Starting") {
        body = await (await fetch(`${this.path(id)}?api-version=2021-01-01`, { headers: this.#headers })).json();
      }
      if (body.status === "Error") throw new Error(`session ${id}: ${JSON.stringify(body.error)}`);
      return body.status === "Ready";
    }, 10_000, 5);
    return id;
  }

  async end(session) {
    await fetch(`${this.path(session)}/:stop?api-version=2021-01-01`, { method: "POST", headers: this.#headers });
  }

  viewer(session, { model, token = this.token } = {}) {
    const query = new URLSearchParams({ account: this.account, session });
    if (model) query.set("model", model);
    return `${this.http}/viewer/?${query}#token=${token}`;
  }

  /** The host's own picture, as PNG. */
  async still(session, camera, width, height) {
    const query = new URLSearchParams({ width, height });
    if (camera) {
      query.set("eye", camera.eye.join(","));
      query.set("orientation", camera.orientation.join(","));
      query.set("fovY", camera.fovY);
    }
    const response = await fetch(`${this.path(session)}/still?${query}`, { headers: this.#headers });
    if (!response.ok) throw new Error(`no still: ${response.status} ${await response.text()}`);
    return Buffer.from(await response.arrayBuffer());
  }

  /** Process ids of the hosts. */
  hosts() {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          // The fourth field is the parent; the second may hold spaces but ends with the last parenthesis.
          const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
          const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
          const [, command] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
          return parent === this.child.pid && command === "host";
        } catch {
          return false;
        }
      })
      .map(Number);
  }

  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const gone = new Promise((resolve) => this.child.once("exit", resolve));
      this.child.kill("SIGINT");
      const slow = setTimeout(() => this.child.kill("SIGKILL"), 5_000);
      await gone;
      clearTimeout(slow);
    }
    rmSync(this.data, { recursive: true, force: true });
  }
}
