import { expect, test } from "vitest";
import { Account, ApiError, retryAfter, type Failure } from "../src/api";

const ID = "2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10";

function service(status: number, body: unknown, headers: Record<string, string> = {}) {
  const calls: { url: string; init: RequestInit }[] = [];
  const fetch = (async (url: string, init: RequestInit) => {
    calls.push({ url: String(url), init });
    return new Response(body === undefined ? null : JSON.stringify(body), { status, headers });
  }) as typeof globalThis.fetch;
  return { calls, fetch };
}

async function failure(promise: Promise<unknown>): Promise<Failure> {
  const error: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(error instanceof ApiError)) throw new Error(`not refused: ${String(error)}`);
  return error.failure;
}

test("a key is changed for a token", async () => {
  const { calls, fetch } = service(200, { AccessToken: "t.o.k" });
  const account = await Account.signIn(ID, "k/e+y=", fetch);
  expect(account.token).toBe("t.o.k");
  expect(calls[0]?.url).toBe(`/Accounts/${ID}/token?api-version=2019-02-28-preview`);
  expect(new Headers(calls[0]?.init.headers).get("Authorization")).toBe(`Bearer ${ID}:k/e+y=`);
});

test("refusals are told apart", async () => {
  const get = (status: number, body?: unknown, headers?: Record<string, string>) =>
    failure(new Account(ID, "t", service(status, body, headers).fetch).get("s"));
  expect(await get(401)).toEqual({ kind: "signedOut" });
  expect(await get(404, { error: { code: "NotFound", message: "No." } })).toEqual({ kind: "gone" });
  expect(await get(429, undefined, { "Retry-After": "7" })).toEqual({ kind: "slowDown", waitMs: 7_000 });
  expect(await get(503, undefined, { "Retry-After": "1" })).toEqual({ kind: "slowDown", waitMs: 1_000 });
  expect(await get(422, { error: { code: "UnprocessableEntity", message: "Longer." } })).toEqual({
    kind: "refused",
    status: 422,
    code: "UnprocessableEntity",
    message: "Longer.",
  });
  expect(await get(200, { no: "session" })).toMatchObject({ kind: "refused", status: 200 });
  const broken = (() => Promise.reject(new TypeError("no network"))) as typeof globalThis.fetch;
  expect(await failure(new Account(ID, "t", broken).get("s"))).toEqual({ kind: "offline" });
});

test("a next page is asked for where the token is from, wherever the link leads", async () => {
  Object.assign(globalThis, { location: { href: "http://127.0.0.1:8080/console/" } });
  const { calls, fetch } = service(200, { sessions: [] }, { Date: "Sun, 22 Nov 2026 03:00:00 GMT" });
  const { date } = await new Account(ID, "t", fetch).list("https://elsewhere.example/accounts/a/sessions?continuationToken=x");
  expect(calls[0]?.url).toBe("/accounts/a/sessions?continuationToken=x");
  expect(date).toBe(Date.UTC(2026, 10, 22, 3));
});

test("Retry-After in seconds and as a date", () => {
  const now = Date.UTC(2026, 10, 22, 3);
  expect([null, "", "5", "0", "Sun, 22 Nov 2026 03:00:09 GMT", "soon"].map((header) => retryAfter(header, now))).toEqual([
    undefined,
    undefined,
    5_000,
    0,
    9_000,
    undefined,
  ]);
});
