import { describe, expect, it } from "vitest";
import { RestClient, tokenExpiry } from "../src/rest";

const jwt = (claims: object): string => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.x`;
const address = { server: "http://host:1", account: "a b", session: "s", token: jwt({ exp: 4_000_000_000 }) };

/** A service that gives one answer; tells what it was asked. */
function service(status: number, body: string, headers: Record<string, string> = {}, token = address.token) {
  const asked: { url: string; method: string; authorization: string | null }[] = [];
  const client = new RestClient({ ...address, token }, async (url, init) => {
    asked.push({
      url: String(url),
      method: init?.method ?? "GET",
      authorization: new Headers(init?.headers).get("authorization"),
    });
    return new Response(status === 204 ? null : body, { status, headers });
  });
  return { client, asked };
}
const error = (code: string, message = "words"): string => JSON.stringify({ error: { code, message } });

it("gets a session", async () => {
  const { client, asked } = service(
    200,
    '{"id":"s","creationTime":"2026-11-21T23:12:01.1234567+00:00","elapsedTimeMinutes":1,"maxLeaseTimeMinutes":15,"size":"Standard","status":"Ready","teraflops":1}',
  );
  expect(await client.session()).toMatchObject({ status: "Ready", elapsedTimeMinutes: 1, maxLeaseTimeMinutes: 15 });
  expect(asked).toEqual([
    {
      url: "http://host:1/accounts/a%20b/sessions/s?api-version=2021-01-01",
      method: "GET",
      authorization: `Bearer ${address.token}`,
    },
  ]);
});

it("connects and leaves", async () => {
  const { client, asked } = service(201, "v=0", { Location: "/accounts/a/sessions/s/connection/7" });
  const accepted = await client.connect("offer");
  expect(accepted).toEqual({ answer: "v=0", location: "/accounts/a/sessions/s/connection/7" });
  await client.disconnect(accepted.location);
  expect(asked.map(({ method, url }) => `${method} ${url}`)).toEqual([
    "POST http://host:1/accounts/a%20b/sessions/s/connection",
    "DELETE http://host:1/accounts/a/sessions/s/connection/7",
  ]);
});

describe("refusals have a reason", () => {
  it.each([
    [409, "ConnectionInUse", "inUse"],
    [409, "SessionNotReady", "notReady"],
    [409, "SessionEnded", "ended"],
    [406, "NoCodec", "noCodec"],
    [403, "Forbidden", "forbidden"],
    [404, "NotFound", "sessionNotFound"],
    [503, "HostUnavailable", "hostUnavailable"],
    [400, "BadOffer", "other"],
    [401, "Unauthorized", "unauthorized"],
  ])("%i %s", async (status, code, reason) => {
    await expect(service(status, error(code)).client.connect("o")).rejects.toMatchObject({ reason, status, code, message: "words" });
  });
  it("an expired token is told apart", async () => {
    const { client } = service(401, "", {}, jwt({ exp: 1 }));
    await expect(client.session()).rejects.toMatchObject({ reason: "tokenExpired" });
  });
  it("no answer at all", async () => {
    const client = new RestClient(address, () => Promise.reject(new TypeError("refused")));
    await expect(client.session()).rejects.toMatchObject({ reason: "unreachable", status: 0 });
  });
  it("something that is not a session", async () => {
    await expect(service(200, "<html>").client.session()).rejects.toMatchObject({ reason: "other" });
    await expect(service(200, '{"status":"Odd"}').client.session()).rejects.toMatchObject({ reason: "other" });
  });
});

it("reads when a token ends", () => {
  expect(tokenExpiry(jwt({ exp: 12 }))).toBe(12);
  expect(tokenExpiry("no token")).toBeUndefined();
});
