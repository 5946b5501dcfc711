// Chromium without a window, and the viewer page in it.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import { decode } from "./picture.mjs";
import { sleep, until } from "./service.mjs";

const PATHS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export function launch() {
  const executablePath = PATHS.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error("there is no Chromium: install it, or name it in CHROMIUM");
  return chromium.launch({
    executablePath,
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--autoplay-policy=no-user-gesture-required",
    ],
  });
}

export class Viewer {
  /** Opens a page; `problems` collects what the page should never do. */
  static async open(browser, url, { width = 1280, height = 720, hasTouch = false, scale = 1 } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, hasTouch, deviceScaleFactor: scale });
    const page = await context.newPage();
    const viewer = new Viewer(page);
    page.on("pageerror", (error) => viewer.problems.push(String(error)));
    page.on("console", (message) => {
      viewer.log.push(message.text());
      // Refused requests are part of the tests; the page says them in words.
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
        viewer.problems.push(message.text());
      }
    });
    await page.goto(url);
    return viewer;
  }

  constructor(page) {
    this.page = page;
    this.problems = [];
    this.log = [];
  }

  close() {
    return this.page.context().close();
  }

  /** Live, with a picture on the screen. */
  async live(timeoutMs = 10_000) {
    await until("the picture", () => this.page.evaluate(() => window.belvedere?.state.phase === "live" && document.body.dataset.picture === ""), timeoutMs);
  }

  /** A model is shown and nothing is being loaded. */
  async scene(source, timeoutMs = 20_000) {
    await until(
      `the model ${source}`,
      () => this.page.evaluate((source) => window.belvedere?.scene?.source === source && document.getElementById("progress").hidden, source),
      timeoutMs,
    );
  }

  /** The newest input is shown, and no frame came for a while: the picture is as good as it gets. */
  async rest(quietMs = 500, timeoutMs = 15_000) {
    let frame;
    let since = Date.now();
    await until(
      "the picture to rest",
      async () => {
        const now = await this.page.evaluate(() => {
          const { lastFrame, inputSeq, video } = window.belvedere;
          return lastFrame && { id: lastFrame.frameId, current: lastFrame.inputSeq === inputSeq, fits: video.videoWidth === lastFrame.width && video.videoHeight === lastFrame.height };
        });
        if (!now?.current || !now.fits || now.id !== frame) since = Date.now();
        frame = now?.id;
        return Date.now() - since > quietMs;
      },
      timeoutMs,
    );
  }

  camera() {
    return this.page.evaluate(() => window.belvedere.camera);
  }

  stats() {
    return this.page.evaluate(() => window.belvedere.stats());
  }

  /** What the video element shows, as a picture. */
  async grab() {
    const url = await this.page.evaluate(() => {
      const { video } = window.belvedere;
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      canvas.getContext("2d").drawImage(video, 0, 0);
      return canvas.toDataURL("image/png");
    });
    return decode(Buffer.from(url.slice(url.indexOf(",") + 1), "base64"));
  }

  text(id) {
    return this.page.evaluate((id) => {
      const element = document.getElementById(id);
      return element.checkVisibility() ? element.textContent : "";
    }, id);
  }

  /** Waits for a card with this title; gives all its words. */
  async words(title, timeoutMs = 10_000) {
    try {
      await until(`the words “${title}”`, async () => (await this.text("card-title")) === title, timeoutMs);
    } catch (error) {
      throw new Error(`${error.message}; the page says “${await this.text("card-title")}”, ${JSON.stringify(this.log.slice(-5))}`);
    }
    return { text: await this.text("card-text"), detail: await this.text("card-detail") };
  }

  /** Presses the mouse at one place, moves in steps, and lets go after standing still. */
  async drag([x0, y0], [x1, y1], { button = "left", steps = 12 } = {}) {
    const { mouse } = this.page;
    await mouse.move(x0, y0);
    await mouse.down({ button });
    for (let i = 1; i <= steps; i += 1) {
      await mouse.move(x0 + ((x1 - x0) * i) / steps, y0 + ((y1 - y0) * i) / steps);
    }
    await sleep(80);
    await mouse.up({ button });
  }

  /** Fingers on the glass: each a list of places, played in step. */
  async fingers(...paths) {
    const session = await this.page.context().newCDPSession(this.page);
    const places = (i) => paths.map((path, id) => ({ x: path[i][0], y: path[i][1], id }));
    const n = paths[0].length;
    await session.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: places(0) });
    for (let i = 1; i < n; i += 1) await session.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: places(i) });
    await sleep(80);
    await session.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
    await session.detach();
  }
}
