import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ClientMessageSchema, HostMessageSchema, type HostMessage } from "../src/gen/live_pb";
import { decodeHeader, encodeHeader, FLAG_MORE, MAX_MESSAGE_BYTES, MAX_RPC_BYTES, TYPE } from "../src/live";
import { Joiner, MAX_IN_FLIGHT, Rpc, split, type HostBody } from "../src/rpc";

/** A client whose host is this test. */
function pair() {
  const requests: { request: number; case: string | undefined }[] = [];
  const events: HostBody[] = [];
  const joiner = new Joiner();
  const rpc = new Rpc(
    (bytes) => {
      const whole = joiner.push(bytes);
      if (!whole) return;
      const message = fromBinary(ClientMessageSchema, whole);
      expect(decodeHeader(bytes).seq).toBe(message.request);
      requests.push({ request: message.request, case: message.body.case });
    },
    (body) => events.push(body),
  );
  const say = (request: number, body: Exclude<HostMessage["body"], { case: undefined }>): void => {
    const bytes = toBinary(HostMessageSchema, create(HostMessageSchema, { request, body } as never));
    for (const part of split(request, bytes)) rpc.receive(part);
  };
  return { rpc, requests, events, say };
}
const models = (...sources: string[]) => ({ case: "models", value: { sources } }) as never;
const list = { case: "listModels", value: {} } as const;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("requests", () => {
  it("get their own answers, in any order", async () => {
    const { rpc, requests, say } = pair();
    const [first, second] = [rpc.call(list, 100), rpc.call(list, 100)];
    expect(requests).toEqual([
      { request: 1, case: "listModels" },
      { request: 2, case: "listModels" },
    ]);
    say(2, models("b"));
    say(1, models("a"));
    expect(await first).toMatchObject({ case: "models", value: { sources: ["a"] } });
    expect(await second).toMatchObject({ case: "models", value: { sources: ["b"] } });
  });

  it("reject with the host's code and words", async () => {
    const { rpc, say } = pair();
    const call = rpc.call({ case: "loadModel", value: { source: "x.glb" } }, 100);
    say(1, { case: "error", value: { code: "ModelNotFound", message: "there is no x.glb" } as never });
    await expect(call).rejects.toMatchObject({ reason: "refused", code: "ModelNotFound", message: "there is no x.glb" });
  });

  it("time out, and a late answer is nobody's", async () => {
    const { rpc, say, events } = pair();
    const call = rpc.call(list, 100);
    const outcome = expect(call).rejects.toMatchObject({ reason: "timeout" });
    vi.advanceTimersByTime(100);
    await outcome;
    say(1, models("late"));
    expect(events).toEqual([]);
  });

  it("are bounded", async () => {
    const { rpc, say } = pair();
    const calls = Array.from({ length: MAX_IN_FLIGHT }, () => rpc.call(list, 100));
    await expect(rpc.call(list, 100)).rejects.toMatchObject({ reason: "tooMany" });
    say(1, models());
    await calls[0];
    const next = rpc.call(list, 100);
    rpc.close();
    const rest = await Promise.allSettled([...calls.slice(1), next]);
    expect(rest.every((result) => result.status === "rejected" && result.reason.reason === "closed")).toBe(true);
    await expect(rpc.call(list, 100)).rejects.toMatchObject({ reason: "closed" });
  });
});

it("events have no request", () => {
  const { say, events } = pair();
  say(0, { case: "progress", value: { source: "a", fraction: 0.5, stage: "reading" } as never });
  expect(events).toMatchObject([{ case: "progress", value: { fraction: 0.5 } }]);
});

describe("long messages", () => {
  const long = Uint8Array.from({ length: 3 * MAX_MESSAGE_BYTES }, (_, i) => i % 251);

  it("are split into what fits and joined again", () => {
    const parts = split(9, long);
    expect(parts).toHaveLength(4);
    expect(parts.every((part) => part.length <= MAX_MESSAGE_BYTES)).toBe(true);
    expect(parts.map((part) => decodeHeader(part).flags)).toEqual([FLAG_MORE, FLAG_MORE, FLAG_MORE, 0]);
    const joiner = new Joiner();
    expect(parts.map((part) => joiner.push(part)).at(-1)).toEqual(long);
  });

  it("of nothing are one part", () => {
    expect(split(1, new Uint8Array())).toHaveLength(1);
    expect(new Joiner().push(encodeHeader({ type: TYPE.rpc, flags: 0, seq: 1 }))).toEqual(new Uint8Array());
  });

  it("that never end are refused", () => {
    const joiner = new Joiner();
    const part = split(1, long)[0] as Uint8Array;
    expect(() => {
      for (let size = 0; size <= MAX_RPC_BYTES + part.length; size += part.length - 8) joiner.push(part);
    }).toThrow(expect.objectContaining({ reason: "tooLarge" }));
    const empty = encodeHeader({ type: TYPE.rpc, flags: FLAG_MORE, seq: 1 });
    expect(() => {
      for (let i = 0; i < 100_000; i += 1) joiner.push(empty);
    }).toThrow(expect.objectContaining({ reason: "tooLarge" }));
  });
});
