import { describe, expect, it } from "vitest";
import type { Frame } from "../src/live";
import { Meter, quantile } from "../src/meter";

const frame = (rtpTime: number, inputSeq: number, bytes = 1_000): Frame => ({
  frameId: rtpTime,
  flags: 0,
  rtpTime,
  inputSeq,
  camera: { eye: [0, 0, 0], orientation: [0, 0, 0, 1], fovY: 1 },
  nearM: 1,
  farM: 2,
  width: 16,
  height: 16,
  queueUs: 0,
  renderUs: 4_000,
  encodeUs: 2_000,
  triangles: 1,
  bytes,
});

describe("latency", () => {
  it("runs from an input to the first frame that shows it, and to the screen", () => {
    const meter = new Meter();
    meter.sent(1, 100);
    meter.frame(112, frame(90, 1));
    meter.presented(117, 120, 90);
    // The same input, refined: answers nothing anew.
    meter.frame(150, frame(91, 1));
    meter.presented(157, 160, 91);
    expect(meter.summary(160)).toMatchObject({
      inputToFrameMs: { p50: 12, n: 1 },
      inputToPictureMs: { p50: 17, min: 17, max: 17, n: 1 },
      inputToPhotonMs: { p50: 20, n: 1 },
      renderMs: { p50: 4, n: 2 },
      framesPresented: 2,
    });
  });

  it("does not care whether the picture or its data comes first", () => {
    const meter = new Meter();
    meter.sent(1, 100);
    meter.presented(115, 118, 90);
    meter.frame(119, frame(90, 1));
    expect(meter.summary(120).inputToPhotonMs).toMatchObject({ p50: 18, n: 1 });
  });

  it("counts a frame that skips inputs for the newest of them", () => {
    const meter = new Meter();
    meter.sent(1, 100);
    meter.sent(2, 108);
    meter.frame(120, frame(90, 2));
    expect(meter.summary(120).inputToFrameMs).toMatchObject({ p50: 12, n: 1 });
  });

  it("knows nothing without inputs", () => {
    const meter = new Meter();
    meter.frame(10, frame(90, 0));
    expect(meter.summary(10).inputToFrameMs).toBeUndefined();
  });
});

it("rates are of the last second", () => {
  const meter = new Meter();
  for (let i = 0; i < 120; i += 1) meter.frame(i * 20, frame(i, 0));
  expect(meter.summary(2_380)).toMatchObject({ framesPerSecond: 51, kilobitsPerSecond: 408 });
  expect(meter.summary(9_999)).toMatchObject({ framesPerSecond: 0, kilobitsPerSecond: 0 });
});

it("quantiles are by nearest rank", () => {
  const numbers = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect([quantile(numbers, 0), quantile(numbers, 0.5), quantile(numbers, 0.95), quantile(numbers, 1)]).toEqual([1, 50, 95, 100]);
  expect(quantile([], 0.5)).toBeNaN();
});
