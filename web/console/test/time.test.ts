import { expect, test } from "vitest";
import { aheadSpan, ANY_TIME, both, clockTime, MINUTE, minutes, readySpan, stopwatch } from "../src/time";

test("stopwatch", () => {
  expect([0, 7_400, 754_000, 3_723_000, 86_400_000, -5].map(stopwatch)).toEqual(["0:00", "0:07", "12:34", "1:02:03", "24:00:00", "0:00"]);
});

test("minutes", () => {
  expect([0, 45, 60, 90, 1440].map(minutes)).toEqual(["0 min", "45 min", "1 h", "1 h 30 min", "24 h"]);
});

test("a time of another day has the day", () => {
  const now = new Date(2026, 10, 22, 15, 0).getTime();
  expect(clockTime(new Date(2026, 10, 22, 14, 5).getTime(), now, "en-GB")).toBe("14:05");
  expect(clockTime(new Date(2026, 10, 21, 14, 5).getTime(), now, "en-GB")).toBe("21 Nov 14:05");
});

test("whole minutes, seen often enough, tell the second", () => {
  const readyAt = 1_000_000;
  let span = ANY_TIME;
  for (let at = readyAt + 70_000; at < readyAt + 200_000; at += 2_500) {
    const exchange = { askedAt: at, answeredAt: at + 20 };
    const elapsed = Math.floor((at + 10 - readyAt) / MINUTE);
    span = both(span, readySpan(elapsed, exchange));
    expect(span.lo).toBeLessThanOrEqual(readyAt);
    expect(span.hi).toBeGreaterThanOrEqual(readyAt);
  }
  expect(span.hi - span.lo).toBeLessThan(2_600);
});

test("of answers that contradict each other the newer one is believed", () => {
  expect(both({ lo: 0, hi: 10 }, { lo: 20, hi: 30 })).toEqual({ lo: 20, hi: 30 });
});

test("the service's clock is known by the second of its answers", () => {
  // The service is 5 s behind; it answered at 12:00:00.4 of its own, and says 12:00:00.
  expect(aheadSpan(100_000, { askedAt: 105_350, answeredAt: 105_450 })).toEqual({ lo: 4_350, hi: 5_450 });
});
