// Measures the viewer against a real server; prints JSON. Times are milliseconds, rates per second.
//
//   BELVEDERE_BIN=target/release/belvedere node web/e2e/bench.mjs [--model SOURCE] [--models DIR] [--rounds 10] [--seconds 6]
import { parseArgs } from "node:util";
import { launch, Viewer } from "./browser.mjs";
import { Service, sleep, until } from "./service.mjs";

const { values: options } = parseArgs({
  options: {
    model: { type: "string" },
    models: { type: "string" },
    rounds: { type: "string", default: "10" },
    seconds: { type: "string", default: "6" },
  },
});
const quantile = (numbers, q) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
};
const summary = (numbers) => ({
  p50: round(quantile(numbers, 0.5)),
  p95: round(quantile(numbers, 0.95)),
  min: round(Math.min(...numbers)),
  max: round(Math.max(...numbers)),
  n: numbers.length,
});
const round = (number) => Math.round(number * 100) / 100;
const rounded = (figures) => figures && Object.fromEntries(Object.entries(figures).map(([name, number]) => [name, round(number)]));

const browser = await launch();
const service = await Service.start({ models: options.models, warmHosts: 1 });
try {
  const result = { size: "1280x720", model: options.model ?? "builtin://demo" };

  // From the request that creates a session to the model on the screen, page load included.
  const [toReady, toModel, connectToModel] = [[], [], []];
  for (let i = 0; i < Number(options.rounds); i += 1) {
    await until("a warm host", () => service.hosts().length > 0);
    // A host that exists is not warm yet.
    await sleep(500);
    const began = performance.now();
    const id = await service.session(`start-${i}`);
    toReady.push(performance.now() - began);
    const opened = performance.now();
    const viewer = await Viewer.open(browser, service.viewer(id, { model: options.model }));
    await until("the model", () => viewer.page.evaluate(() => window.belvedere?.milestones.modelAt !== undefined), 60_000, 4);
    const { startedAt, modelAt } = await viewer.page.evaluate(() => window.belvedere.milestones);
    // `PUT` to `Ready`, then the navigation's start to the picture: opening an empty page in between is not ours.
    toModel.push(opened - began + modelAt);
    connectToModel.push(modelAt - startedAt);
    await viewer.close();
    await service.end(id);
  }
  result.createToReadyMs = summary(toReady);
  result.createToModelMs = summary(toModel);
  result.connectToModelMs = summary(connectToModel);

  // Orbiting at 60 inputs per second.
  const id = await service.session("orbit");
  const viewer = await Viewer.open(browser, service.viewer(id, { model: options.model }));
  await viewer.live();
  await viewer.scene(options.model ?? "builtin://demo", 60_000);
  await viewer.rest();
  const orbit = (ms) =>
    viewer.page.evaluate(async (ms) => {
      const began = performance.now();
      let n = 0;
      await new Promise((resolve) => {
        const step = () => {
          const { yaw } = window.belvedere.camera;
          window.belvedere.setCamera({ yaw: yaw + 0.01 });
          n += 1;
          if (performance.now() - began > ms) resolve();
          // Against the clock, not against the last step: timers come late but do not drift.
          else setTimeout(step, Math.max(0, began + (n * 1000) / 60 - performance.now()));
        };
        step();
      });
      return n;
    }, ms);
  await orbit(1_000);
  await viewer.page.evaluate(() => window.belvedere.resetStats());
  const before = await viewer.stats();
  const inputs = await orbit(Number(options.seconds) * 1000);
  const after = await viewer.stats();
  result.orbit = {
    inputs,
    framesPerSecond: round((after.framesReceived - before.framesReceived) / Number(options.seconds)),
    presentedPerSecond: round((after.framesPresented - before.framesPresented) / Number(options.seconds)),
    inputToFrameMs: rounded(after.inputToFrameMs),
    inputToPictureMs: rounded(after.inputToPictureMs),
    inputToPhotonMs: rounded(after.inputToPhotonMs),
    renderMs: rounded(after.renderMs),
    encodeMs: rounded(after.encodeMs),
    queueMs: rounded(after.queueMs),
    decodeMsMean: round(after.video.decodeMsMean),
    jitterBufferMsMean: round(after.video.jitterBufferMsMean),
    megabitsPerSecond: round(((after.video.bytesReceived - before.video.bytesReceived) * 8) / Number(options.seconds) / 1e6),
    freezes: after.video.freezes,
    packetsLost: after.video.packetsLost,
  };
  result.triangles = await viewer.page.evaluate(() => window.belvedere.scene.triangles);
  await viewer.close();
  console.log(JSON.stringify(result, null, 2));
} finally {
  await browser.close();
  await service.stop();
}
