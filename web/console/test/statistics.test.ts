import { expect, test } from "vitest";
import { milliseconds, readEndpoints, recommend, summarize, type Summary } from "../src/statistics";

test("a summary", () => {
  expect(summarize([])).toBeUndefined();
  expect(summarize([5])).toEqual({ n: 1, minMs: 5, medianMs: 5, p95Ms: 5, jitterMs: 0 });
  const summary = summarize([10, 12, 11, 13, 30]);
  expect(summary).toMatchObject({ n: 5, minMs: 10, medianMs: 12 });
  expect(summary?.p95Ms).toBeCloseTo(26.6);
  expect(summary?.jitterMs).toBeCloseTo((2 + 1 + 2 + 17) / 4);
});

test("one slow sample moves the median little", () => {
  expect(summarize([20, 20, 20, 900, 20])?.medianMs).toBe(20);
});

test("the nearest is recommended; of equals the steadier", () => {
  const one = (medianMs: number, jitterMs: number): Summary => ({ n: 9, minMs: medianMs, medianMs, p95Ms: medianMs, jitterMs });
  expect(recommend([])).toBeUndefined();
  expect(recommend([undefined])).toBeUndefined();
  expect(recommend([one(40, 1), undefined, one(12, 9)])).toBe(2);
  expect(recommend([one(12, 9), one(12.8, 1)])).toBe(1);
  expect(recommend([one(100, 9), one(104, 1), one(106, 0)])).toBe(1);
});

test("endpoints as people type them", () => {
  expect(readEndpoints("render.example.com, http://127.0.0.1:8080/console/\n\nhttps://RENDER.example.com  ftp://x http://")).toEqual({
    endpoints: ["https://render.example.com", "http://127.0.0.1:8080"],
    problems: ["ftp://x", "http://"],
  });
});

test("milliseconds", () => {
  expect([0.84, 12.36, 143.2].map(milliseconds)).toEqual(["0.8 ms", "12.4 ms", "143 ms"]);
});
