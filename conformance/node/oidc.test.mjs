// Tokens of a real OpenID Connect issuer, npm's oidc-provider, exchanged for ours (item 25 of the conformance list).

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { after, before, mock, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

import { createAccount, startServer } from "./server.mjs";

const AUDIENCE = "https://sts.mixedreality.azure.com";
const ELSEWHERE = "https://graph.example.com";

// One for each set of roles that a program may have; `extraTokenClaims` writes them into its tokens.
const ROLES = {
  administrator: ["Administrator"],
  client: ["Remote Rendering Client"],
  nothing: [],
};

/** An issuer on loopback, whose keys can be replaced, which can go down, and which counts who asks for its keys. */
async function startIssuer() {
  let answer;
  const counts = { jwks: 0 };
  const server = createServer((request, response) => {
    if (request.url === "/jwks") counts.jwks += 1;
    if (answer) answer(request, response);
    else request.socket.destroy();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${server.address().port}`;

  async function use(algorithm) {
    const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
    const key = { ...(await exportJWK(privateKey)), kid: randomUUID(), alg: algorithm, use: "sig" };
    const provider = new Provider(issuer, {
      jwks: { keys: [key] },
      clients: Object.keys(ROLES).map((client_id) => ({
        client_id,
        client_secret: `secret of ${client_id}`,
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: algorithm,
      })),
      cookies: { keys: [randomUUID()] },
      extraTokenClaims: (_context, token) => ({ roles: ROLES[token.clientId] }),
      features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: (_context, resource) => ({
            audience: resource,
            scope: "mixedreality.signin",
            accessTokenFormat: "jwt",
            jwt: { sign: { alg: algorithm } },
          }),
        },
      },
      ttl: { ClientCredentials: 600 },
    });
    const handle = provider.callback();
    answer = handle;
    return {
      goDown: () => (answer = undefined),
      comeBack: () => (answer = handle),
      /** A token for a program, got as it would get it. */
      async token(client, resource = AUDIENCE) {
        const response = await fetch(`${issuer}/token`, {
          method: "POST",
          headers: { authorization: `Basic ${btoa(`${client}:${encodeURIComponent(`secret of ${client}`)}`)}` },
          body: new URLSearchParams({ grant_type: "client_credentials", resource }),
        });
        const body = await response.json();
        assert.equal(response.status, 200, JSON.stringify(body));
        return body.access_token;
      },
    };
  }
  return { issuer, counts, use, stop: () => new Promise((resolve) => server.close(resolve)) };
}

let issuer;
let provider;
let server;
let closed;

before(async () => {
  issuer = await startIssuer();
  provider = await issuer.use("RS256");
  // The accounts must be known before the service reads its settings.
  const accounts = {};
  server = await startServer({
    arguments_: (data) => ["--config", `${data}/belvedere.toml`],
    files: async (data) => {
      accounts.open = (await createAccount(data, "open")).accountId;
      accounts.closed = (await createAccount(data, "closed")).accountId;
      return {
        "belvedere.toml":
          `[[oidc]]\nissuer = "${issuer.issuer}"\naudience = "${AUDIENCE}"\naccounts = ["${accounts.open}"]\n`,
      };
    },
  });
  server.open = accounts.open;
  closed = accounts.closed;
});

after(async () => {
  await server?.stop();
  await issuer?.stop();
});

const exchange = (token, account = server.open) =>
  fetch(`${server.ready.http}/Accounts/${account}/token?api-version=2019-02-28-preview`, {
    headers: { authorization: `Bearer ${token}` },
  });

/** Exchanges a token and asks for sessions and conversions with what it gave. */
async function rights(token) {
  const answer = await exchange(token);
  assert.equal(answer.status, 200, await answer.clone().text());
  const { AccessToken } = await answer.json();
  const ask = async (what) => {
    const url = `${server.ready.http}/accounts/${server.open}/${what}?api-version=2021-01-01`;
    return (await fetch(url, { headers: { authorization: `Bearer ${AccessToken}` } })).status;
  };
  return { sessions: await ask("sessions"), conversions: await ask("conversions") };
}

test("nobody is let in while the issuer's keys cannot be had for the first time", async () => {
  const token = await provider.token("administrator");
  provider.goDown();
  const answer = await exchange(token);
  assert.equal(answer.status, 503);
  assert.equal((await answer.json()).error.code, "ServiceUnavailable");
  provider.comeBack();
  // Within the back-off of a second, still; then the keys are fetched.
  let status = 503;
  for (let tries = 0; status === 503 && tries < 100; tries += 1) {
    await sleep(50);
    ({ status } = await exchange(token));
  }
  assert.equal(status, 200);
  assert.equal(issuer.counts.jwks, 1);
});

test("roles in the token say what may be done", async () => {
  const administrator = await rights(await provider.token("administrator"));
  assert.equal(administrator.sessions, 200);
  assert.notEqual(administrator.conversions, 403);
  assert.deepEqual(await rights(await provider.token("client")), { sessions: 200, conversions: 403 });
  const nothing = await exchange(await provider.token("nothing"));
  assert.equal(nothing.status, 403);
  assert.equal((await nothing.json()).error.code, "Forbidden");
});

test("an account that does not trust the issuer stays closed", async () => {
  const token = await provider.token("administrator");
  assert.equal((await exchange(token, closed)).status, 403);
  assert.equal((await exchange(token, randomUUID())).status, 403);
});

test("a token for others, an old one and a forged one are refused", async () => {
  const elsewhere = await provider.token("administrator", ELSEWHERE);
  mock.timers.enable({ apis: ["Date"], now: Date.now() - 2 * 3600 * 1000 });
  const old = await provider.token("administrator");
  mock.timers.reset();
  const good = await provider.token("client");
  const [header, , signature] = good.split(".");
  const claims = JSON.parse(Buffer.from(good.split(".")[1], "base64url"));
  claims.roles = ["Administrator"];
  const forged = [header, Buffer.from(JSON.stringify(claims)).toString("base64url"), signature].join(".");
  for (const [name, token] of Object.entries({ elsewhere, old, forged })) {
    const answer = await exchange(token);
    assert.equal(answer.status, 401, name);
    assert.equal(await answer.text(), "", name);
  }
});

test("last known keys are good while the issuer is down", async () => {
  const token = await provider.token("client");
  provider.goDown();
  assert.equal((await exchange(token)).status, 200);
  provider.comeBack();
});

test("after the issuer replaced its keys, they are fetched once, for all who ask", async () => {
  const old = await provider.token("client");
  provider = await issuer.use("ES256");
  const token = await provider.token("client");
  const before = issuer.counts.jwks;
  // An unknown key is a reason to look again half a minute after the last time, not earlier.
  let statuses = [];
  for (let tries = 0; !statuses.includes(200) && tries < 200; tries += 1) {
    await sleep(200);
    const answers = await Promise.all(Array.from({ length: 8 }, () => exchange(token)));
    statuses = answers.map((answer) => answer.status);
  }
  assert.deepEqual(statuses, Array(8).fill(200));
  assert.equal(issuer.counts.jwks, before + 1);
  assert.equal((await exchange(old)).status, 401, "the old key is gone");
});
