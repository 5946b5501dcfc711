import type { Session, SessionStatus } from "@belvedere/sdk";
import { describe, expect, test } from "vitest";
import { arrange, Book, leaseOf, type ListAnswer } from "../src/book";
import { MINUTE } from "../src/time";

const START = Date.parse("2026-11-22T03:00:00Z");

function session(id: string, status: SessionStatus = "Ready", more: Partial<Session> = {}): Session {
  return { id, status, size: "Standard", creationTime: "2026-11-22T03:00:00.0000000+00:00", elapsedTimeMinutes: 0, maxLeaseTimeMinutes: 60, ...more };
}
const page = (sessions: readonly Session[], next = ""): ListAnswer => ({ sessions, next, date: undefined });
const at = (s: number) => ({ askedAt: START + s * 1000, answeredAt: START + s * 1000 + 10 });
const ids = (book: Book): string[] => [...book.sessions.keys()];

describe("one page", () => {
  test("what was there at first is no news; what comes and changes is", () => {
    const book = new Book();
    expect(book.takePage(0, page([session("a"), session("b", "Starting")]), at(1))).toEqual([]);
    expect(book.complete).toBe(true);
    expect(book.takePage(0, page([session("a"), session("b"), session("c", "Starting")]), at(2))).toEqual([
      { kind: "ready", id: "b" },
      { kind: "appeared", id: "c" },
    ]);
  });

  test("what left the list is asked for, and how it ended is news", () => {
    const book = new Book();
    book.takePage(0, page([session("a"), session("b")]), at(1));
    book.takePage(0, page([session("b")]), at(3));
    expect(book.leaving()).toEqual(["a"]);
    expect(book.takeSession(session("a", "Expired"), undefined, at(4))).toEqual([{ kind: "expired", id: "a" }]);
    expect(book.leaving()).toEqual([]);
    expect(book.sessions.get("a")?.endedAt).toBe(START + 4010);
    book.clearEnded();
    expect(ids(book)).toEqual(["b"]);
  });

  test("an answer that was on its way when a session was created does not end it", () => {
    const book = new Book();
    book.takePage(0, page([]), at(1));
    book.takeSession(session("new", "Starting"), undefined, at(5));
    book.takePage(0, page([]), { askedAt: START + 4_900, answeredAt: START + 5_100 });
    expect(book.leaving()).toEqual([]);
    expect(ids(book)).toEqual(["new"]);
  });

  test("an ended session stays ended, whatever an older answer says", () => {
    const book = new Book();
    book.takeSession(session("a", "Stopped"), undefined, at(5));
    book.takePage(0, page([session("a")]), at(4));
    expect(book.sessions.get("a")?.session.status).toBe("Stopped");
  });
});

describe("many pages", () => {
  const all = Array.from({ length: 250 }, (_, i) => session(`s${i}`));
  /** A service with pages of a hundred after a session. */
  function answer(living: readonly Session[], link: string): ListAnswer {
    const after = link === "" ? -1 : Number(link.slice(1));
    const rest = living.filter(({ id }) => Number(id.slice(1)) > after);
    const first = rest.slice(0, 100);
    return page(first, rest.length > 100 ? (first.at(-1)?.id ?? "") : "");
  }
  function readAll(book: Book, living: readonly Session[], from: number): void {
    for (let s = from; s < from + 20; s += 1) {
      const index = book.nextPage(at(s).askedAt, new Set());
      book.takePage(index, answer(living, book.pages[index]?.link ?? ""), at(s));
    }
  }

  test("are read one after the other, then the stalest", () => {
    const book = new Book();
    const order: number[] = [];
    for (let s = 0; s < 7; s += 1) {
      const index = book.nextPage(at(s).askedAt, new Set());
      order.push(index);
      book.takePage(index, answer(all, book.pages[index]?.link ?? ""), at(s));
    }
    expect(order.slice(0, 3)).toEqual([0, 1, 2]);
    expect(new Set(order.slice(3))).toContain(0);
    expect(book.sessions.size).toBe(250);
    expect(book.complete).toBe(true);
  });

  test("follow what ends and what is created, with whatever pages that makes", () => {
    const book = new Book();
    readAll(book, all, 0);
    const living = [...all.filter((_, i) => i % 3 !== 0), ...Array.from({ length: 120 }, (_, i) => session(`s${250 + i}`))];
    readAll(book, living, 100);
    const ended = all.filter((_, i) => i % 3 === 0).map(({ id }) => id);
    const left = new Set(book.leaving());
    for (const { id } of living) expect(book.sessions.get(id)?.leaving).toBeUndefined();
    expect(living.every(({ id }) => book.sessions.has(id))).toBe(true);
    // More than are asked for one by one are counted instead.
    expect(ended.every((id) => left.has(id) || !book.sessions.has(id))).toBe(true);
    readAll(book, living.slice(-10), 200);
    expect(book.pages).toHaveLength(1);
  });
});

describe("a lease", () => {
  test("runs by the earliest start that it can have had", () => {
    const book = new Book();
    // Ready at 3:00:20, first seen 12 and a half minutes later.
    const seen = at(12 * 60 + 50);
    book.takePage(0, page([session("a", "Ready", { elapsedTimeMinutes: 12 })]), seen);
    const known = book.sessions.get("a");
    if (!known) throw new Error("it is not there");
    const { elapsedMs, leftMs, totalMs } = leaseOf(known, seen.answeredAt);
    expect(totalMs).toBe(60 * MINUTE);
    expect(elapsedMs + leftMs).toBe(totalMs);
    expect(elapsedMs).toBeGreaterThanOrEqual(12 * MINUTE + 30_000);
    expect(elapsedMs).toBeLessThan(13 * MINUTE);
  });

  test("of a session that was seen Starting does not count that time", () => {
    const book = new Book();
    book.takePage(0, page([session("a", "Starting")]), at(30));
    book.takePage(0, page([session("a", "Ready")]), at(31));
    const known = book.sessions.get("a");
    if (!known) throw new Error("it is not there");
    expect(leaseOf(known, at(31).answeredAt).elapsedMs).toBeLessThanOrEqual(1_010);
  });

  test("never goes below nothing", () => {
    const book = new Book();
    book.takePage(0, page([session("a", "Ready", { maxLeaseTimeMinutes: 1 })]), at(1));
    const known = book.sessions.get("a");
    if (!known) throw new Error("it is not there");
    expect(leaseOf(known, START + 10 * MINUTE)).toEqual({ elapsedMs: MINUTE, leftMs: 0, totalMs: MINUTE });
  });
});

test("the page shows the living before the ended and the newest first", () => {
  const book = new Book();
  book.takePage(
    0,
    page([
      session("old", "Ready", { creationTime: "2026-11-22T02:00:00+00:00" }),
      session("new", "Starting"),
      session("over", "Ready"),
    ]),
    at(1),
  );
  book.takeSession(session("over", "Error"), undefined, at(2));
  const shown = (wanted: string, filter: "all" | "ready"): string[] =>
    arrange(book.sessions.values(), wanted, filter).map((known) => known.session.id);
  expect(shown("", "all")).toEqual(["new", "old", "over"]);
  expect(shown("", "ready")).toEqual(["old"]);
  expect(shown(" NE", "all")).toEqual(["new"]);
});
