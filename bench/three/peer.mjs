// three.js in Chromium, rendered by SwiftShader, as a peer of the raster bench: one picture per line of input.
//
//   node peer.mjs SCENE.json      (as `../src/raster/scene.rs` writes it)
//
// The first output line says what is shown and by whom. Each input line asks for a picture, each output line says how
// long it took until its pixels were in memory; both are JSON. The drawing itself is in `page.mjs`.
import { createReadStream, createWriteStream, existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const scene = JSON.parse(readFileSync(process.argv[2], "utf8"));
let saveTo;

const files = {
  "/page.mjs": join(here, "page.mjs"),
  "/three.module.js": join(here, "node_modules/three/build/three.module.js"),
  "/three.core.js": join(here, "node_modules/three/build/three.core.js"),
  "/mesh": scene.mesh,
  "/base": scene.base.path,
  "/rough": scene.rough.path,
  "/normal": scene.normal.path,
  "/environment": scene.environment.path,
};
const page = `<!doctype html><link rel="icon" href="data:,"><script type="importmap">{"imports": {"three": "/three.module.js"}}</script>
<script type="module" src="/page.mjs"></script>`;

const server = createServer(async (request, response) => {
  // With these two, timers in the page are accurate to 5 µs.
  response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
  response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
  const file = files[request.url];
  if (request.method === "POST" && request.url === "/save" && saveTo) {
    await pipeline(request, createWriteStream(saveTo));
    response.end();
  } else if (request.url === "/") {
    response.setHeader("Content-Type", "text/html");
    response.end(page);
  } else if (file) {
    response.setHeader("Content-Type", file.endsWith("js") ? "text/javascript" : "application/octet-stream");
    response.setHeader("Content-Length", statSync(file).size);
    createReadStream(file).pipe(response);
  } else {
    response.statusCode = 404;
    response.end();
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const paths = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const browser = await chromium.launch({
  executablePath: paths.find((path) => path && existsSync(path)),
  args: [
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    // A picture may take seconds.
    "--disable-gpu-watchdog",
  ],
});
try {
  const tab = await browser.newPage();
  tab.setDefaultTimeout(0);
  tab.on("pageerror", (error) => console.error(String(error)));
  tab.on("console", (message) => message.type() === "error" && console.error(message.text()));
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  await tab.waitForFunction(() => window.start);
  const about = await tab.evaluate((scene) => window.start(scene), scene);
  console.log(JSON.stringify({ ...about, about: `three.js r${about.revision}, Chromium ${browser.version()}, ${about.renderer}` }));
  for await (const line of createInterface({ input: process.stdin })) {
    const ask = JSON.parse(line);
    saveTo = ask.save;
    console.log(JSON.stringify(await tab.evaluate((ask) => window.draw(ask), ask)));
  }
} finally {
  await browser.close();
  server.close();
}
