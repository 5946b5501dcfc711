import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as live from "../src/live";

/** Written by `cargo test -p protocol`: the Rust twin reads and writes the same bytes. */
const golden = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../../api/golden/${name}.bin`, import.meta.url)));

const f32 = Math.fround;
const camera: live.Camera = { eye: [1, -2.5, 3.25], orientation: [0, f32(0.6), 0, f32(0.8)], fovY: 0.75 };
const input: live.Input = { seq: 0xfffe_0001, clientTimeUs: 1_234_567_890_123, camera, width: 1280, height: 720 };
const frame: live.Frame = {
  frameId: 7,
  flags: live.FLAG_KEY | live.FLAG_REFINED,
  rtpTime: 0x8000_0001,
  inputSeq: 0xfffe_0001,
  camera,
  nearM: 0.125,
  farM: 512,
  width: 1280,
  height: 720,
  queueUs: 100,
  renderUs: 9_000,
  encodeUs: 2_500,
  triangles: 199_999,
  bytes: 12_345,
};
const ping: live.Ping = { seq: 3, clientTimeUs: 5_000_000_000 };
const pong: live.Pong = { ...ping, hostTimeUs: 77 };

describe("golden vectors", () => {
  it("input", () => {
    expect(live.encodeInput(input)).toEqual(golden("input"));
    expect(live.decodeInput(golden("input"))).toEqual(input);
  });
  it("frame", () => {
    expect(live.encodeFrame(frame)).toEqual(golden("frame"));
    expect(live.decodeFrame(golden("frame"))).toEqual(frame);
  });
  it("ping and pong", () => {
    expect(live.encodePing(ping)).toEqual(golden("ping"));
    expect(live.decodePing(golden("ping"))).toEqual(ping);
    expect(live.encodePong(pong)).toEqual(golden("pong"));
    expect(live.decodePong(golden("pong"))).toEqual(pong);
  });
});

describe("nonsense is refused", () => {
  const bytes = live.encodeFrame(frame);
  it.each([
    ["nothing", new Uint8Array(), "length"],
    ["a byte too few", bytes.slice(0, -1), "length"],
    ["a byte too many", Uint8Array.of(...bytes, 0), "length"],
    ["another version", Uint8Array.of(9, ...bytes.slice(1)), "version"],
    ["another type", live.encodeInput(input), "type"],
  ])("%s", (_name, bad, reason) => {
    expect(() => live.decodeFrame(bad)).toThrow(expect.objectContaining({ reason }));
  });
});

it("reads a message that lies inside a larger buffer", () => {
  const roomy = Uint8Array.of(1, 2, 3, ...live.encodePong(pong), 9);
  expect(live.decodePong(roomy.subarray(3, 27))).toEqual(pong);
});

it("compares sequence numbers across the wrap", () => {
  expect(live.isNewer(0, 0xffff_ffff)).toBe(true);
  expect(live.isNewer(0xffff_ffff, 0)).toBe(false);
  expect(live.isNewer(5, 5)).toBe(false);
});

it("says how far below full quality a frame in motion is", () => {
  expect(live.stepOf(frame)).toBe(0);
  expect(live.stepOf({ ...frame, flags: live.FLAG_KEY | (3 << 8) })).toBe(3);
});
