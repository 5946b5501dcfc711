import { describe, expect, it } from "vitest";
import type { EndReason, Link } from "@belvedere/sdk";
import { count, modelName, refusalTitle, wordsFor } from "../src/words";

const ended = (reason: EndReason, message = ""): Link => ({ phase: "ended", reason, message });
const REASONS: EndReason[] = [
  "leaseExpired", "stopped", "hostFailed", "shutdown", "replaced", "inUse", "unauthorized", "tokenExpired", "forbidden",
  "sessionNotFound", "unreachable", "hostUnavailable", "noCodec", "timeout", "unsupported", "left", "other",
];

describe("every end", () => {
  it.each(REASONS)("%s has a title of its own and a way on", (reason) => {
    const words = wordsFor(ended(reason));
    expect(words?.title).toBeTruthy();
    expect(REASONS.filter((other) => wordsFor(ended(other))?.title === words?.title)).toEqual([reason]);
    // Another browser is the only way on from the one without.
    expect(words?.action === undefined).toBe(reason === "unsupported");
  });

  it("repeats the other side where it knows more", () => {
    expect(wordsFor(ended("hostFailed", "signal 9"))?.detail).toBe("signal 9");
    expect(wordsFor(ended("unreachable", "Failed to fetch"))?.detail).toBeUndefined();
  });
});

it("the picture speaks for itself", () => {
  expect(wordsFor({ phase: "idle" })).toBeUndefined();
});

it("tells a first connection from a broken one", () => {
  expect(wordsFor({ phase: "checking", since: 0, attempt: 0 })?.title).toBe("Connecting");
  expect(wordsFor({ phase: "checking", since: 0, attempt: 2 })?.title).toBe("Reconnecting");
});

it("names models by file", () => {
  expect(modelName("a/b/c.glb")).toEqual({ name: "c.glb", folder: "a/b" });
  expect(modelName("c.glb")).toEqual({ name: "c.glb", folder: "" });
  expect(modelName("builtin://demo").name).toBe("Demo");
  expect(refusalTitle("ModelNotFound", "a/c.glb")).toBe("There is no model “c.glb”");
  expect(refusalTitle("Whatever", "a/c.glb")).toBe("“c.glb” could not be shown");
});

it("groups digits", () => {
  expect(count(1_234_567)).toBe("1\u2009234\u2009567");
  expect(count(12n)).toBe("12");
});
