/** The REST API as far as a viewer needs it, and the signalling of a connection. */

/** Where a session is, and who asks. */
export interface SessionAddress {
  /** Origin of the service, such as `http://127.0.0.1:8080`; empty for the page's own. */
  readonly server: string;
  readonly account: string;
  readonly session: string;
  /** Access token (JWT). */
  readonly token: string;
}

export type SessionStatus = "Starting" | "Ready" | "Stopped" | "Expired" | "Error";

/** A session as the API reports it. */
export interface Session {
  readonly id: string;
  readonly status: SessionStatus;
  readonly size: string;
  readonly creationTime: string;
  readonly elapsedTimeMinutes: number;
  readonly maxLeaseTimeMinutes: number;
  readonly error?: { readonly code: string; readonly message: string };
}

/** Why a request was refused; `unreachable` when there was no answer at all. */
export type RefusalReason =
  | "unreachable"
  | "unauthorized"
  | "tokenExpired"
  | "forbidden"
  | "sessionNotFound"
  | "inUse"
  | "notReady"
  | "ended"
  | "noCodec"
  | "hostUnavailable"
  | "other";

/** A request that the service refused or did not answer. */
export class RestError extends Error {
  constructor(
    readonly reason: RefusalReason,
    /** HTTP status; 0 without an answer. */
    readonly status: number,
    /** The API's code, such as `ConnectionInUse`; may be empty. */
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = "RestError";
  }
}

type Fetch = typeof globalThis.fetch;

/** A connection that the host accepted. */
export interface Accepted {
  /** The SDP answer. */
  readonly answer: string;
  /** What to DELETE to leave. */
  readonly location: string;
}

/** Talks to the service about one session. */
export class RestClient {
  constructor(
    readonly address: SessionAddress,
    readonly fetch: Fetch = globalThis.fetch.bind(globalThis),
  ) {}

  /** The session as it is now. */
  async session(signal?: AbortSignal): Promise<Session> {
    const response = await this.#request(`${this.#path}?api-version=2021-01-01`, { signal: signal ?? null });
    const body: unknown = await response.json().catch(() => undefined);
    const session = readSession(body);
    if (!session) throw new RestError("other", response.status, "", "The service sent something that is not a session.");
    return session;
  }

  /** Offers a connection; the service relays it to the session's host. */
  async connect(offer: string, signal?: AbortSignal): Promise<Accepted> {
    const response = await this.#request(`${this.#path}/connection`, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", Accept: "application/sdp, application/json" },
      body: offer,
      signal: signal ?? null,
    });
    return { answer: await response.text(), location: response.headers.get("Location") ?? "" };
  }

  /** Leaves; survives the page being closed. */
  async disconnect(location: string): Promise<void> {
    if (location === "") return;
    await this.#request(location, { method: "DELETE", keepalive: true });
  }

  get #path(): string {
    const { account, session } = this.address;
    return `/accounts/${encodeURIComponent(account)}/sessions/${encodeURIComponent(session)}`;
  }

  async #request(path: string, init: RequestInit): Promise<Response> {
    const { server, token } = this.address;
    const headers = new Headers(init.headers);
    headers.set("Authorization", `Bearer ${token}`);
    let response: Response;
    try {
      response = await this.fetch(new URL(path, server || globalThis.location.href), { ...init, headers, cache: "no-store" });
    } catch (cause) {
      throw new RestError("unreachable", 0, "", cause instanceof Error ? cause.message : "no answer");
    }
    if (response.ok) return response;
    const body: unknown = await response.json().catch(() => undefined);
    const { code, message } = readError(body);
    throw new RestError(reasonOf(response.status, code, token), response.status, code, message);
  }
}

/** When the token ends, in seconds since 1970; undefined if it does not say. */
export function tokenExpiry(token: string): number | undefined {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const claims: unknown = JSON.parse(atob(payload));
    const exp = field(claims, "exp");
    return typeof exp === "number" ? exp : undefined;
  } catch {
    return undefined;
  }
}

function reasonOf(status: number, code: string, token: string): RefusalReason {
  if (status === 401) {
    const expiry = tokenExpiry(token);
    return expiry !== undefined && expiry * 1000 <= Date.now() ? "tokenExpired" : "unauthorized";
  }
  if (status === 403) return "forbidden";
  if (status === 404) return "sessionNotFound";
  if (status === 406) return "noCodec";
  if (status === 503 || status === 502 || status === 504) return "hostUnavailable";
  switch (code) {
    case "ConnectionInUse":
      return "inUse";
    case "SessionNotReady":
      return "notReady";
    case "SessionEnded":
      return "ended";
    default:
      return "other";
  }
}

/** A session from an answer's body; undefined if it is none. */
export function readSession(body: unknown): Session | undefined {
  const status = field(body, "status");
  const known = (["Starting", "Ready", "Stopped", "Expired", "Error"] as const).find((name) => name === status);
  if (!known) return undefined;
  const error = field(body, "error");
  return {
    id: text(field(body, "id")),
    status: known,
    size: text(field(body, "size")),
    creationTime: text(field(body, "creationTime")),
    elapsedTimeMinutes: number(field(body, "elapsedTimeMinutes")),
    maxLeaseTimeMinutes: number(field(body, "maxLeaseTimeMinutes")),
    ...(error === undefined || error === null
      ? {}
      : { error: { code: text(field(error, "code")), message: text(field(error, "message")) } }),
  };
}

/** Code and words from the body of a refusal; empty where it has none. */
export function readError(body: unknown): { code: string; message: string } {
  const error = field(body, "error");
  return { code: text(field(error, "code")), message: text(field(error, "message")) };
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number => (typeof value === "number" && Number.isFinite(value) ? value : 0);
