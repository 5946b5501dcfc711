import { expect, test } from "vitest";
import { failed, nextAt, READS_AT_ONCE, sent, slowedDown, startPace, succeeded, type Pace, type Situation } from "../src/pace";

const CALM: Situation = { hidden: false, loading: false, eager: false };
const EAGER = { ...CALM, eager: true };

/** Asks whenever it may, for a while; gives when. */
function play(situation: Situation, ms: number, pace: Pace = startPace(0), from = 0): number[] {
  const asked: number[] = [];
  let now = from;
  for (;;) {
    const at = nextAt(pace, now, situation);
    if (at === undefined || at > from + ms) return asked;
    asked.push(at);
    pace = succeeded(sent(pace, at));
    now = at + 5;
  }
}

test("a calm page asks every 2.5 s", () => {
  expect(play(CALM, 60_000)).toHaveLength(25);
});

test("however eager, it stays within what the service allows everybody", () => {
  const asked = play(EAGER, 10 * 60_000);
  // 60 per minute and 10 at once, in every span.
  for (let i = 0; i < asked.length; i += 1) {
    const within = (ms: number): number => asked.filter((at) => at >= (asked[i] ?? 0) && at < (asked[i] ?? 0) + ms).length;
    expect(within(60_000)).toBeLessThanOrEqual(40 + READS_AT_ONCE);
    expect(within(1_000)).toBeLessThanOrEqual(10);
  }
  expect(asked.length).toBeGreaterThan(390);
});

test("a hidden page asks nothing", () => {
  expect(nextAt(startPace(0), 0, { ...CALM, hidden: true })).toBeUndefined();
});

test("a first load waits for nothing, until it is told to", () => {
  const loading = { ...CALM, loading: true };
  expect(play(loading, 1_000).length).toBeGreaterThan(150);
  const warned = slowedDown(startPace(0), 100, 3_000, 0);
  const asked = play(loading, 60_000, warned, 100);
  expect(asked[0]).toBe(3_100);
  expect(asked.length).toBeLessThanOrEqual(41);
});

test("Retry-After is kept, and a nonsensical one is bounded", () => {
  const at = (waitMs: number): number | undefined => nextAt(slowedDown(startPace(0), 1_000, waitMs, 0), 1_000, EAGER);
  expect(at(7_000)).toBe(8_000);
  expect(at(0)).toBe(2_500);
  expect(at(1e12)).toBe(601_000);
});

test("failures double the wait, up to half a minute, and a success ends that", () => {
  let pace = startPace(0);
  const waits: number[] = [];
  for (let i = 0; i < 8; i += 1) {
    pace = failed(pace, 0, 0.5);
    waits.push(pace.notBefore);
  }
  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 15_000, 30_000, 30_000, 30_000]);
  expect(failed(startPace(0), 0, 0).notBefore).toBe(750);
  expect(failed(startPace(0), 0, 1).notBefore).toBe(1_250);
  expect(succeeded(pace).failures).toBe(0);
});
