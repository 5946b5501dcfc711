// End-to-end tests of the console: a service of its own, and what a person does with it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Viewer } from "./browser.mjs";
import { covered } from "./picture.mjs";
import { ROOT, Service, sleep, until } from "./service.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** A console in a context of its own. `problems` are script errors and what its policy forbade; `strangers` are requests elsewhere. */
class Console {
  static async open(browser, url, { width = 1280, height = 800, scheme = "light", reducedMotion, signal } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, ...(reducedMotion ? { reducedMotion } : {}) });
    const self = new Console(await context.newPage(), url);
    await signal?.(context);
    await self.page.goto(url);
    return self;
  }

  constructor(page, url) {
    this.page = page;
    this.problems = [];
    this.strangers = [];
    const { origin } = new URL(url);
    page.on("pageerror", (error) => this.problems.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) this.problems.push(message.text());
    });
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol.startsWith("http") && url.origin !== origin) this.strangers.push(request.url());
    });
  }

  row(id) {
    return this.page.locator(`.row[data-id="${id}"]`);
  }

  /** Waits until the session is shown in this state. */
  async state(id, state, timeoutMs = 10_000) {
    await this.row(id).locator(".state", { hasText: state }).waitFor({ timeout: timeoutMs });
  }

  /** Everything that axe-core finds wrong, in a line each. */
  async wrong() {
    // Through the debugger, where the page's policy does not reach.
    await this.page.evaluate(AXE);
    const { violations } = await this.page.evaluate(() => window.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.target.join(" ")).slice(0, 3).join(", ")}`);
  }

  focused() {
    return this.page.evaluate(() => {
      const { activeElement: at } = document;
      return at === document.body ? "" : at?.getAttribute("aria-label") || at?.id || at?.getAttribute("name") || at?.textContent || "";
    });
  }

  async close() {
    assert.deepEqual(this.problems, []);
    await this.page.context().close();
  }
}

export async function consoleTests({ browser, test, skip, only = "", screenshot }) {
  if (!["", "console", "latency"].includes(only.split(":")[0]) && !screenshot) return;
  const service = await Service.start({ warmHosts: 2 });
  const link = `${service.http}/console/?account=${service.account}#token=${service.token}`;
  let tab;
  let strict;
  try {
    await test("console: signing in, with words for what is wrong", async () => {
      const own = await Console.open(browser, `${service.http}/`);
      const { page } = own;
      assert.equal(page.url(), `${service.http}/console/`);
      const problem = page.locator("#sign-in-problem");
      await page.getByRole("textbox", { name: "Account id" }).fill("me");
      await page.keyboard.press("Enter");
      assert.match(await problem.textContent(), /looks like/);
      await page.getByRole("textbox", { name: "Account id" }).fill(service.account);
      await page.getByLabel("Account key").fill("A".repeat(43) + "=");
      await page.keyboard.press("Enter");
      await until("the refusal", async () => /no such account with this key/.test(await problem.textContent()));
      assert.equal(await own.focused(), "key");
      await page.getByLabel("Account key").fill(service.key);
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "No session runs" }).waitFor();
      const kept = await page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }, document.cookie, location.href, document.documentElement.outerHTML]));
      assert.ok(!kept.includes(service.key), "the key is kept somewhere");
      await page.reload();
      await page.getByRole("heading", { name: "No session runs" }).waitFor();
      await page.locator("#account-button").click();
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
      assert.equal(await page.evaluate(() => sessionStorage.length), 0);
      await own.close();
    });

    await test("console: a link signs in and is gone from the address; one that does not work says so", async () => {
      tab = await Console.open(browser, link);
      await tab.page.getByRole("heading", { name: "No session runs" }).waitFor();
      assert.equal(tab.page.url(), `${service.http}/console/#sessions`);
      const bad = await Console.open(browser, link.replace(/#.*/, "#token=not.a.token"));
      await until("the refusal", async () => /not valid any more/.test(await bad.page.locator("#sign-in-problem").textContent()));
      assert.equal(await bad.page.getByRole("textbox", { name: "Account id" }).inputValue(), service.account);
      await bad.close();
    });
    tab ??= await Console.open(browser, link);
    const { page } = tab;

    await test("console: create, open in the viewer, extend, stop", async () => {
      await page.getByRole("button", { name: "New session" }).click();
      await page.getByText("Premium").click();
      await page.getByRole("button", { name: "30 min" }).click();
      await page.getByLabel("Id optional").fill("no id");
      await page.getByRole("button", { name: "Start" }).click();
      assert.match(await page.locator("#create .problem").textContent(), /letters, digits/);
      await page.getByLabel("Id optional").fill("by-hand");
      const began = performance.now();
      await page.getByRole("button", { name: "Start" }).click();
      await tab.state("by-hand", "Ready");
      const ready = performance.now() - began;
      assert.match(await tab.row("by-hand").textContent(), /Premium/);
      await until("time to tick", async () => /0:0[1-9] of 30 min.*(29:5\d|30:00) left/.test(await tab.row("by-hand").locator(".lease").textContent()));

      const opened = page.context().waitForEvent("page");
      await page.getByRole("link", { name: "Open by-hand in the viewer" }).click();
      const viewer = new Viewer(await opened);
      await viewer.live();
      await viewer.scene("builtin://demo");
      await viewer.rest();
      assert.ok(covered(await viewer.grab()) > 0.02, "the picture is empty");
      await viewer.page.close();

      await page.getByRole("button", { name: "Extend by-hand" }).click();
      await page.locator("#extend").getByRole("spinbutton").fill("30");
      await page.locator("#extend").getByRole("button", { name: "Extend" }).click();
      assert.match(await page.locator("#extend .problem").textContent(), /from 31 to 1440/);
      await page.locator("#extend").getByRole("button", { name: "1 h", exact: true }).click();
      assert.match(await page.locator("#extend-note").textContent(), /then ends at/);
      await page.locator("#extend").getByRole("button", { name: "Extend" }).click();
      await until("the longer lease", async () => /of 1 h 30 min/.test(await tab.row("by-hand").textContent()));

      await page.getByRole("button", { name: "New session" }).click();
      await page.getByLabel("Id optional").fill("by-hand");
      await page.getByRole("button", { name: "8 h" }).click();
      await page.getByRole("button", { name: "Start" }).click();
      await until("the conflict", async () => /with this id/.test(await page.locator("#create .problem").textContent()));
      await page.keyboard.press("Escape");

      await page.getByRole("button", { name: "Stop by-hand" }).click();
      await page.locator("#stop").getByRole("button", { name: "Stop" }).click();
      await tab.state("by-hand", "Stopped");
      assert.ok(await page.locator("#ended").getByText("by-hand").isVisible());
      return `Ready ${Math.round(ready)} ms after the click`;
    });

    await test("console: keys are enough, and the focus is where one looks for it", async () => {
      const { keyboard } = page;
      const walkTo = async (name, steps = 30) => {
        for (let i = 0; i < steps && (await tab.focused()) !== name; i += 1) await keyboard.press("Tab");
        assert.equal(await tab.focused(), name);
      };
      await page.reload();
      await page.getByRole("heading", { name: "No session runs" }).waitFor();
      await keyboard.press("Tab");
      assert.equal(await tab.focused(), "Skip to the content");
      await keyboard.press("Enter");
      await walkTo("create-first");
      await keyboard.press("Enter");
      await keyboard.press("ArrowRight");
      await page.getByLabel("Id optional").press("Tab");
      await page.getByLabel("Id optional").fill("by-key");
      await keyboard.press("Enter");
      await tab.state("by-key", "Ready");
      assert.match(await tab.row("by-key").textContent(), /Premium/);
      assert.equal(await tab.focused(), "Copy the id by-key");
      await walkTo("Extend by-key");
      await keyboard.press("Enter");
      await keyboard.press("Escape");
      assert.equal(await tab.focused(), "Extend by-key");
      await walkTo("Stop by-key");
      await keyboard.press("Enter");
      assert.equal(await tab.focused(), "Keep it");
      await keyboard.press("Tab");
      await keyboard.press("Enter");
      await tab.state("by-key", "Stopped");
      // The row is elsewhere now: the focus stays on the page, not on nothing.
      await until("a place for the focus", async () => (await tab.focused()) === "sessions-title");
      await until("its announcement", async () => /by-key was stopped/.test(await page.locator("#announce").textContent()));
    });

    await test("console: what others do is shown and said", async () => {
      await service.session("elsewhere");
      await tab.state("elsewhere", "Ready");
      await service.end("elsewhere");
      await tab.state("elsewhere", "Stopped");
      await until("its announcement", async () => /elsewhere was stopped/.test(await page.locator("#announce").textContent()));
      await service.session("victim");
      await tab.state("victim", "Ready");
      for (const host of service.hosts()) process.kill(host, "SIGKILL");
      await tab.state("victim", "Error", 15_000);
      const why = await tab.row("victim").locator(".error").textContent();
      assert.ok(why.length > 20, why);
      return `“${why}”`;
    });

    await test("console: nothing that axe-core finds wrong, by day and by night", async () => {
      await service.session("accessible");
      for (const scheme of ["light", "dark"]) {
        const out = await Console.open(browser, `${service.http}/console/`, { scheme, reducedMotion: "reduce" });
        assert.deepEqual(await out.wrong(), [], `sign in, ${scheme}`);
        await out.close();
        const own = await Console.open(browser, link, { scheme, reducedMotion: "reduce" });
        const look = async (what) => assert.deepEqual(await own.wrong(), [], `${what}, ${scheme}`);
        await own.state("accessible", "Ready");
        assert.deepEqual(await own.page.evaluate(() => document.getAnimations().length), 0, "motion for who wants none");
        await look("list");
        for (const name of ["New session", "Extend accessible", "Stop accessible"]) {
          await own.page.getByRole("button", { name }).click();
          await look(name);
          await own.page.keyboard.press("Escape");
        }
        await own.page.getByRole("link", { name: "Connect" }).click();
        await look("connect");
        await own.page.getByRole("link", { name: "Latency" }).click();
        await look("latency");
        await own.close();
      }
    });

    await test("console: a narrow window shows everything without scrolling sideways", async () => {
      const own = await Console.open(browser, link, { width: 360, height: 740 });
      await own.state("accessible", "Ready");
      const fits = () => own.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
      assert.ok(await fits(), "list");
      await own.page.getByRole("button", { name: "New session" }).click();
      assert.ok(await fits(), "dialog");
      await own.page.keyboard.press("Escape");
      await own.page.getByRole("link", { name: "Connect" }).click();
      assert.ok(await fits(), "connect");
      await own.page.getByRole("link", { name: "Latency" }).click();
      assert.ok(await fits(), "latency");
      await own.close();
      await service.end("accessible");
    });

    const python = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "venv/bin/python");
    const works = (program, ...args) => spawnSync(program, args).status === 0;
    await tab.page.getByRole("link", { name: "Connect" }).click();
    if (!works("bash", "-c", "curl --version")) skip("console: the code for curl works", "there is no bash or no curl");
    else {
      await test("console: the code for curl works", async () => {
        await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
        await page.getByRole("button", { name: "Copy the code" }).click();
        const code = await page.evaluate(() => navigator.clipboard.readText());
        const ran = spawnSync("bash", ["-e", "-o", "pipefail", "-c", code], { input: `${service.key}\n`, encoding: "utf8" });
        assert.equal(ran.status, 0, ran.stderr);
        assert.match(ran.stdout, /"id":"hello".*"sessions":\[.*"id":"hello"/s);
      });
    }
    if (!works(python, "-c", "import azure.mixedreality.remoterendering")) {
      skip("console: the code for Python works", "Microsoft's SDK is not installed below target/");
    } else {
      await test("console: the code for Python works", async () => {
        await page.getByRole("tab", { name: "curl" }).press("ArrowRight");
        const code = await page.locator("#code-text").textContent();
        assert.match(code, new RegExp(`account_id="${service.account}"`));
        // A session of this id may have ended by now, so the same code runs with another.
        const env = { ...process.env, BELVEDERE_DATA: service.data };
        const ran = spawnSync(python, ["-c", code.replaceAll('"hello"', '"hello-again"')], { encoding: "utf8", env });
        assert.equal(ran.status, 0, ran.stderr);
        assert.match(ran.stdout, /^Ready /);
      });
    }

    await test("console: without the service it says so, goes on, and comes back", async () => {
      await page.getByRole("link", { name: "Sessions" }).click();
      await page.context().setOffline(true);
      await page.getByText("The service cannot be reached.").waitFor();
      await page.context().setOffline(false);
      await until("the service again", async () => !(await page.locator("#notice").isVisible()));
    });

    strict = await Service.start({ warmHosts: 0, flags: ["--requests-per-minute", "60", "--cors-origins", service.http] });
    await test("console: it waits as long as the service wants it to", async () => {
      const own = await Console.open(browser, `${strict.http}/console/?account=${strict.account}#token=${strict.token}`);
      await own.page.getByRole("heading", { name: "No session runs" }).waitFor();
      await own.page.evaluate(() => {
        window.notices = [];
        const text = document.getElementById("notice-text");
        new MutationObserver(() => window.notices.push(text.textContent)).observe(text, { childList: true, characterData: true, subtree: true });
      });
      const asked = [];
      const refused = [];
      own.page.on("response", (response) => {
        if (response.url().includes("/sessions?")) (response.status() === 429 ? refused : asked).push(performance.now());
      });
      // Somebody else uses up what the account may.
      const empty = async () => {
        for (let status = 0; status !== 429; ) {
          status = (await fetch(`${strict.path("").slice(0, -1)}?api-version=2021-01-01`, { headers: { Authorization: `Bearer ${strict.token}` } })).status;
        }
      };
      await until("a refusal", async () => {
        await empty();
        return refused.length > 0;
      }, 15_000, 1);
      await until("an answer after the pause", () => asked.some((at) => at > refused[0] + 900), 15_000);
      assert.ok(!asked.some((at) => at > refused[0] && at < refused[0] + 900), "it did not wait");
      await until("no notice any more", async () => !(await own.page.locator("#notice").isVisible()));
      const notices = await own.page.evaluate(() => window.notices);
      assert.ok(notices.some((text) => text.includes("waits as long as it was told")), JSON.stringify(notices));
      await own.close();
    });

    await test("latency: the nearest of several is found, and what cannot be known is said", async () => {
      const slow = createServer((_request, response) => setTimeout(() => response.end("hello"), 60));
      await new Promise((resolve) => slow.listen(0, "127.0.0.1", resolve));
      const closed = "http://127.0.0.1:1";
      const far = `http://127.0.0.1:${slow.address().port}`;
      const own = await Console.open(browser, `${service.http}/console/latency.html`);
      try {
        await own.page.getByLabel("Endpoints").fill("ftp://nowhere");
        await own.page.getByRole("button", { name: "Measure" }).click();
        assert.match(await own.page.locator("#problem").textContent(), /ftp:\/\/nowhere/);
        await own.page.getByLabel("Endpoints").fill([far, strict.http, closed].join("\n"));
        await own.page.getByRole("button", { name: "Measure" }).click();
        await own.page.locator("#verdict").waitFor({ timeout: 20_000 });
        const rows = await own.page.locator("tbody tr").allTextContents();
        assert.match(await own.page.locator("#verdict").textContent(), new RegExp(`^${new URL(strict.http).host} is the nearest`));
        assert.match(rows[0], /cannot be read/);
        assert.ok(!/cannot be read|not like/.test(rows[1]), `it lists this origin: ${rows[1]}`);
        assert.match(rows[2], /no answer/);
        const [median, least] = await own.page.locator("tbody tr").first().locator("td:not(.plot)").allTextContents();
        assert.ok(parseFloat(least) >= 59 && parseFloat(median) < 300, `${median}, ${least}`);
        return `${median}, of which the server waits 60 ms`;
      } finally {
        // What the browser says of answers that it may not read.
        own.problems = own.problems.filter((text) => !text.includes("CORS policy"));
        await own.close();
        slow.closeAllConnections();
        slow.close();
      }
    });

    await test("console: ten thousand sessions, page by page", async () => {
      const N = 10_000;
      const started = Date.now() - 5 * 3600_000;
      const own = await Console.open(browser, "about:blank", {
        signal: (context) =>
          context.route("**/accounts/**", (route) => {
            const url = new URL(route.request().url());
            const from = Number(url.searchParams.get("continuationToken")?.slice(5) ?? -1) + 1;
            const sessions = Array.from({ length: Math.min(100, N - from) }, (_, i) => ({
              id: `load-${from + i}`,
              creationTime: new Date(started + (from + i) * 1500).toISOString(),
              elapsedTimeMinutes: Math.floor((Date.now() - started - (from + i) * 1500) / 60_000),
              maxLeaseTimeMinutes: 600,
              size: "Standard",
              status: (from + i) % 211 === 7 ? "Starting" : "Ready",
            }));
            url.searchParams.set("continuationToken", `load-${from + 99}`);
            return route.fulfill({ json: { sessions, ...(from + 100 < N ? { "@nextLink": url.href } : {}) } });
          }),
      });
      await own.page.addInitScript(() => {
        window.slowest = 0;
        new PerformanceObserver((list) => {
          for (const { duration } of list.getEntries()) window.slowest = Math.max(window.slowest, duration);
        }).observe({ type: "longtask" });
      });
      const began = performance.now();
      await own.page.goto(link);
      await until("all of them", async () => /of 10,000/.test(await own.page.locator("#place").textContent()), 30_000, 100);
      const took = performance.now() - began;
      assert.equal(await own.page.locator(".row").count(), 50);
      assert.match(await own.page.locator("#list .row").first().textContent(), /load-9999/);
      await own.page.getByRole("button", { name: "Older" }).click();
      assert.match(await own.page.locator("#place").textContent(), /^51–100 of/);
      await own.page.getByRole("searchbox").fill("load-77");
      assert.equal(await own.page.locator("#place").textContent(), "1–50 of 111");
      await own.page.getByRole("button", { name: /^Starting/ }).click();
      assert.ok((await own.page.locator("#list .row").count()) < 5);
      const slowest = await own.page.evaluate(() => window.slowest);
      assert.ok(slowest < 500, `the page stood still for ${slowest} ms`);
      await own.close();
      return `all read after ${Math.round(took)} ms, never busy for longer than ${Math.round(slowest)} ms`;
    });

    await test("console: nobody else is asked, and the policy is kept", async () => {
      assert.deepEqual(tab.strangers, []);
      assert.deepEqual(tab.problems, []);
    });

    if (screenshot) {
      await test("console: screenshot", async () => {
        for (const id of ["engine-review", "assembly-line", "showroom"]) await service.session(id, 90);
        const own = await Console.open(browser, link, { width: 1280, height: 620 });
        await own.state("showroom", "Ready");
        await sleep(2_000);
        const file = join(dirname(screenshot), "console.png");
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, await own.page.screenshot());
        await own.close();
      });
    }
    await tab.page.context().close();
  } catch (error) {
    await test("console: to the end", () => {
      throw error;
    });
  } finally {
    await strict?.stop();
    await service.stop();
  }
}
