// Microsoft's unmodified management SDK for JavaScript, @azure/arm-mixedreality, over TLS (item 95 of the conformance list).

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { MixedRealityClient } from "@azure/arm-mixedreality";

import { startServer } from "./server.mjs";

const token = randomBytes(32).toString("hex");
let server;
let accounts;

const clientWith = (token) =>
  new MixedRealityClient(
    // Whatever has `getToken` will do; a management token needs no Entra ID.
    { getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3_600_000 }) },
    "2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10",
    { endpoint: server.ready.https, $host: server.ready.https, tlsOptions: { ca: server.ca } },
  );

before(async () => {
  server = await startServer({
    arguments_: (data) => ["--management-token-file", `${data}/token`],
    files: async () => ({ token }),
  });
  accounts = clientWith(token).remoteRenderingAccounts;
});

after(() => server?.stop());

async function all(pages) {
  const found = [];
  for await (const item of pages) found.push(item);
  return found;
}

test("an account comes, changes and goes", async () => {
  const made = await accounts.create("group", "mine", { location: "westeurope", tags: { a: "1" } });
  assert.equal(made.name, "mine");
  assert.equal(made.type, "Microsoft.MixedReality/remoteRenderingAccounts");
  assert.deepEqual(made.tags, { a: "1" });
  assert.equal(made.accountDomain, server.account.accountDomain);
  assert.equal((await accounts.get("group", "mine")).accountId, made.accountId);
  const changed = await accounts.update("group", "mine", { location: "westeurope", tags: { b: "2" } });
  assert.deepEqual(changed.tags, { b: "2" });

  const keys = await accounts.listKeys("group", "mine");
  const replaced = await accounts.regenerateKeys("group", "mine", { serial: 1 });
  assert.notEqual(replaced.primaryKey, keys.primaryKey);
  assert.equal(replaced.secondaryKey, keys.secondaryKey);

  await accounts.delete("group", "mine");
  await accounts.delete("group", "mine");
  await assert.rejects(accounts.get("group", "mine"), { statusCode: 404, code: "ResourceNotFound" });
});

test("lists go over pages", async () => {
  const names = Array.from({ length: 101 }, (_, n) => `many-${String(n).padStart(3, "0")}`);
  for (const name of names) await accounts.create("many", name, { location: "here" });
  assert.deepEqual((await all(accounts.listByResourceGroup("many"))).map(({ name }) => name), names);
  assert.equal((await all(accounts.listBySubscription())).length >= 101, true);
});

test("names and operations", async () => {
  const client = clientWith(token);
  const type = "Microsoft.MixedReality/remoteRenderingAccounts";
  const ask = (name) => client.checkNameAvailabilityLocal("here", { name, type });
  await accounts.create("group", "taken", { location: "here" });
  assert.equal((await ask("free")).nameAvailable, true);
  assert.equal((await ask("taken")).reason, "AlreadyExists");
  await assert.rejects(accounts.create("another", "taken", { location: "here" }), { statusCode: 409, code: "Conflict" });
  assert.equal((await all(client.operations.list())).length, 13);
});

test("only the token opens it", async () => {
  const stranger = clientWith(server.account.accountKey).remoteRenderingAccounts;
  await assert.rejects(all(stranger.listBySubscription()), { statusCode: 401, code: "InvalidAuthenticationToken" });
});
