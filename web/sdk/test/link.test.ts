import { describe, expect, it } from "vitest";
import { step, wakeAt, type Command, type Link, type News } from "../src/link";
import type { Session, SessionStatus } from "../src/rest";

const session = (status: SessionStatus, message?: string): Session => ({
  id: "s",
  status,
  size: "Standard",
  creationTime: "",
  elapsedTimeMinutes: 0,
  maxLeaseTimeMinutes: 10,
  ...(message === undefined ? {} : { error: { code: "HostLost", message } }),
});
const told = (status: SessionStatus, message?: string): News => ({ kind: "session", session: session(status, message) });
const failed = (reason: Extract<News, { kind: "failed" }>["problem"]["reason"], message = ""): News => ({
  kind: "failed",
  problem: { reason, message },
});
const [start, connected, heard, lost, tick, leave] = (
  ["start", "connected", "heard", "lost", "tick", "leave"] as const
).map((kind): News => ({ kind })) as [News, News, News, News, News, News];

/** Plays news at times; gives the last state and all commands. */
function play(...script: [at: number, news: News][]): { link: Link; commands: Command[] } {
  let link: Link = { phase: "idle" };
  const all: Command[] = [];
  for (const [at, news] of script) {
    const [next, commands] = step(at, link, news);
    link = next;
    all.push(...commands);
  }
  return { link, commands: all };
}
const toLive: [number, News][] = [
  [0, start],
  [5, told("Ready")],
  [40, connected],
];

describe("on the way to a picture", () => {
  it("asks, offers, and is live", () => {
    const { link, commands } = play(...toLive);
    expect(link).toMatchObject({ phase: "live", since: 40 });
    expect(commands).toEqual(["fetchSession", "offer"]);
  });

  it("waits for a session that starts", () => {
    const { link, commands } = play([0, start], [5, told("Starting")], [100, tick], [255, tick], [260, told("Ready")]);
    expect(link).toMatchObject({ phase: "connecting", since: 260 });
    expect(commands).toEqual(["fetchSession", "fetchSession", "offer"]);
  });

  it("goes back to waiting when the host says that it is too early", () => {
    const { link } = play([0, start], [5, told("Ready")], [9, failed("notReady")], [12, told("Starting")]);
    expect(link.phase).toBe("waiting");
  });

  it("gives up when no media path opens", () => {
    const before = play([0, start], [5, told("Ready")], [15_004, tick]);
    expect(before.link.phase).toBe("connecting");
    const after = play([0, start], [5, told("Ready")], [15_005, tick]);
    expect(after.link).toMatchObject({ phase: "ended", reason: "timeout" });
    expect(after.commands).toEqual(["fetchSession", "offer", "hangUp"]);
  });
});

describe("refusals end at once, with the reason", () => {
  it.each(["unreachable", "unauthorized", "tokenExpired", "forbidden", "sessionNotFound", "other"] as const)("%s", (reason) => {
    expect(play([0, start], [5, failed(reason, "words")]).link).toEqual({ phase: "ended", reason, message: "words" });
  });
  it.each([
    ["Stopped", "stopped"],
    ["Expired", "leaseExpired"],
    ["Error", "hostFailed"],
  ] as const)("a session that is %s", (status, reason) => {
    expect(play([0, start], [5, told(status, "words")]).link).toMatchObject({
      phase: "ended",
      reason,
      message: status === "Error" ? "words" : "",
    });
  });
  it("another client is connected, and gone at the second try", () => {
    const refused: [number, News][] = [
      [0, start],
      [5, told("Ready")],
      [9, failed("inUse")],
    ];
    expect(play(...refused)).toEqual({
      link: { phase: "ended", reason: "inUse", message: "" },
      commands: ["fetchSession", "offer", "hangUp"],
    });
    expect(play(...refused, [50, start], [55, told("Ready")], [60, connected]).link.phase).toBe("live");
  });
});

describe("while live", () => {
  it("says why the host said goodbye", () => {
    const { link, commands } = play(...toLive, [90, { kind: "ending", reason: "leaseExpired" }], [91, lost]);
    expect(link).toMatchObject({ phase: "ended", reason: "leaseExpired" });
    expect(commands.slice(2)).toEqual(["hangUp"]);
  });

  it("asks what happened when the host falls silent, and tells", () => {
    const silent: [number, News][] = [...toLive, [1_000, tick], [2_000, tick], [2_600, tick]];
    expect(play(...silent).commands.slice(2)).toEqual(["fetchSession"]);
    expect(play(...silent, [2_610, told("Error", "the host died")])).toMatchObject({
      link: { phase: "ended", reason: "hostFailed", message: "the host died" },
      commands: ["fetchSession", "offer", "fetchSession", "hangUp"],
    });
  });

  it("asks nothing while the host is heard", () => {
    const script = Array.from({ length: 30 }, (_, i): [number, News] => [500 + i * 500, i % 2 ? heard : tick]);
    expect(play(...toLive, ...script).commands).toEqual(["fetchSession", "offer"]);
  });

  it("does not mistake a frozen page for a silent host", () => {
    const { link, commands } = play(...toLive, [500, tick], [60_000, tick]);
    expect(link.phase).toBe("live");
    expect(commands).toEqual(["fetchSession", "offer"]);
  });

  it("goes on when only the service is gone", () => {
    const { link } = play(...toLive, [500, heard], [501, failed("unreachable")]);
    expect(link.phase).toBe("live");
  });

  it("connects again when the path breaks but the session lives", () => {
    const { link, commands } = play(...toLive, [90, lost], [95, told("Ready")], [120, connected]);
    expect(link).toMatchObject({ phase: "live", since: 120 });
    expect(commands).toEqual(["fetchSession", "offer", "hangUp", "fetchSession", "offer"]);
  });

  it("outlasts its own ghost: the host needs 5 s to notice that the old connection is gone", () => {
    let link = play(...toLive, [100, lost]).link;
    let now = 100;
    for (let guard = 0; now < 5_100; guard += 1) {
      expect(guard).toBeLessThan(50);
      [link] = step(now, link, told("Ready"));
      expect(link.phase).toBe("connecting");
      [link] = step(now, link, failed("inUse"));
      expect(link.phase).toBe("checking");
      now = wakeAt(now, link) ?? Infinity;
      [link] = step(now, link, tick);
    }
    [link] = step(now, link, told("Ready"));
    expect(step(now, link, connected)[0].phase).toBe("live");
  });

  it("does not try for ever", () => {
    let link = play(...toLive, [100, lost]).link;
    let now = 100;
    for (let i = 0; i < 20 && link.phase !== "ended"; i += 1) {
      [link] = step(now, link, failed("unreachable"));
      now = wakeAt(now, link) ?? now;
      [link] = step(now, link, tick);
    }
    expect(link).toMatchObject({ phase: "ended", reason: "unreachable" });
    expect(now).toBeGreaterThan(8_000);
  });
});

it("leaves from every phase, and hears nothing afterwards", () => {
  const { link, commands } = play(...toLive, [50, leave], [51, connected], [52, heard], [53, told("Ready")]);
  expect(link).toMatchObject({ phase: "ended", reason: "left" });
  expect(commands.at(-1)).toBe("hangUp");
});

/** Whatever arrives in whatever order: a state without a way on would leave a person in front of a spinner. */
it("always has an answer under way, a timer, or an end", () => {
  const news: News[] = [
    start,
    connected,
    heard,
    lost,
    tick,
    told("Starting"),
    told("Ready"),
    told("Error"),
    failed("unreachable"),
    failed("inUse"),
    failed("hostUnavailable"),
    failed("notReady"),
  ];
  let seed = 7;
  const random = (n: number): number => (seed = (seed * 48_271) % 0x7fff_ffff) % n;
  for (let run = 0; run < 200; run += 1) {
    let link: Link = { phase: "idle" };
    let now = 0;
    let asked = false;
    for (let i = 0; i < 60; i += 1) {
      const item = news[random(news.length)];
      if (!item) continue;
      now += random(1_000);
      const [next, commands] = step(now, link, item);
      if (item.kind === "session" || item.kind === "failed") asked = false;
      if (commands.some((command) => command !== "hangUp")) asked = true;
      link = next;
      const moves = link.phase === "idle" || link.phase === "ended" || asked || wakeAt(now, link) !== undefined;
      expect(moves, JSON.stringify({ run, i, item, link })).toBe(true);
    }
  }
});
