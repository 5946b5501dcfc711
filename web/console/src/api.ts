/** The account's side of the REST API: the token service, and sessions. */
import { readError, readSession, type Session } from "@belvedere/sdk";
import type { ListAnswer } from "./book";
import type { Exchange, Millis } from "./time";

/** Why a request came to nothing. */
export type Failure =
  | { readonly kind: "offline" }
  | { readonly kind: "signedOut" }
  | { readonly kind: "slowDown"; readonly waitMs: Millis }
  | { readonly kind: "gone" }
  | { readonly kind: "refused"; readonly status: number; readonly code: string; readonly message: string };

export class ApiError extends Error {
  constructor(readonly failure: Failure) {
    super(wordsFor(failure));
    this.name = "ApiError";
  }
}

/** For people. The service's own words where it has some. */
export function wordsFor(failure: Failure): string {
  switch (failure.kind) {
    case "offline":
      return "The service cannot be reached.";
    case "signedOut":
      return "The access token is not valid any more.";
    case "slowDown":
      return `The account asks too often. The service wants a pause of ${Math.ceil(failure.waitMs / 1000)} s.`;
    case "gone":
      return "There is no such session.";
    case "refused":
      if (failure.code === "Conflict") return "There is or was a session with this id. Choose another one.";
      return failure.message || `The service answered with status ${failure.status} and gave no reason.`;
  }
}

export interface Answered<T> {
  readonly value: T;
  /** The service's clock. */
  readonly date: Millis | undefined;
  readonly exchange: Exchange;
}

const VERSION = "api-version=2021-01-01";
/** The service promises an answer within 15 s. */
const PATIENCE_MS = 20_000;

type Fetch = typeof globalThis.fetch;

export class Account {
  constructor(
    readonly id: string,
    readonly token: string,
    readonly fetch: Fetch = globalThis.fetch.bind(globalThis),
  ) {}

  /** Changes an account key for a token. The key goes nowhere else. */
  static async signIn(id: string, key: string, fetch: Fetch = globalThis.fetch.bind(globalThis)): Promise<Account> {
    const path = `/Accounts/${encodeURIComponent(id)}/token?api-version=2019-02-28-preview`;
    const { response } = await exchange(fetch, path, { headers: { Authorization: `Bearer ${id}:${key}` } });
    const body: unknown = await response.json().catch(() => undefined);
    const token = typeof body === "object" && body !== null ? (body as Record<string, unknown>)["AccessToken"] : undefined;
    if (typeof token !== "string") throw odd(response);
    return new Account(id, token, fetch);
  }

  /** One page of the list; `link` is empty for the first. */
  async list(link: string): Promise<Answered<ListAnswer>> {
    // Only back to where the token is from, whatever the link says.
    const url = link === "" ? `${this.#path("")}?${VERSION}` : new URL(link, location.href);
    const path = typeof url === "string" ? url : url.pathname + url.search;
    const { response, date, exchange } = await this.#ask(path);
    const body = (await response.json().catch(() => undefined)) as { sessions?: unknown; "@nextLink"?: unknown } | undefined;
    if (!Array.isArray(body?.sessions)) throw odd(response);
    const sessions = body.sessions.map(readSession).filter((session): session is Session => session !== undefined);
    const next = typeof body["@nextLink"] === "string" ? body["@nextLink"] : "";
    return { value: { sessions, next, date }, date, exchange };
  }

  get(session: string): Promise<Answered<Session>> {
    return this.#session(session, {});
  }

  create(session: string, size: string, leaseMinutes: number): Promise<Answered<Session>> {
    return this.#session(session, { method: "PUT", ...json({ maxLeaseTimeMinutes: leaseMinutes, size }) });
  }

  /** Sets the total lease. */
  extend(session: string, leaseMinutes: number): Promise<Answered<Session>> {
    return this.#session(session, { method: "PATCH", ...json({ maxLeaseTimeMinutes: leaseMinutes }) });
  }

  async stop(session: string): Promise<void> {
    await this.#ask(`${this.#path(session)}/:stop?${VERSION}`, { method: "POST" });
  }

  /** The page that shows a session, with what it needs to connect. */
  viewer(session: string): string {
    return `/viewer/?${new URLSearchParams({ account: this.id, session })}#token=${this.token}`;
  }

  #path(session: string): string {
    const sessions = `/accounts/${encodeURIComponent(this.id)}/sessions`;
    return session === "" ? sessions : `${sessions}/${encodeURIComponent(session)}`;
  }

  async #session(id: string, init: RequestInit): Promise<Answered<Session>> {
    const { response, date, exchange } = await this.#ask(`${this.#path(id)}?${VERSION}`, init);
    const session = readSession(await response.json().catch(() => undefined));
    if (!session) throw odd(response);
    return { value: session, date, exchange };
  }

  #ask(path: string, init: RequestInit = {}): Promise<{ response: Response; date: Millis | undefined; exchange: Exchange }> {
    return exchange(this.fetch, path, { ...init, headers: { ...init.headers, Authorization: `Bearer ${this.token}` } });
  }
}

const json = (body: unknown): RequestInit => ({ body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

async function exchange(
  fetch: Fetch,
  path: string,
  init: RequestInit,
): Promise<{ response: Response; date: Millis | undefined; exchange: Exchange }> {
  const askedAt = Date.now();
  let response: Response;
  try {
    response = await fetch(path, { ...init, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    throw new ApiError({ kind: "offline" });
  }
  if (!response.ok) throw await refusal(response);
  const date = Date.parse(response.headers.get("Date") ?? "");
  return { response, date: Number.isNaN(date) ? undefined : date, exchange: { askedAt, answeredAt: Date.now() } };
}

async function refusal(response: Response): Promise<ApiError> {
  const { status } = response;
  const body: unknown = await response.json().catch(() => undefined);
  const { code, message } = readError(body);
  const waitMs = retryAfter(response.headers.get("Retry-After"), Date.now());
  if (status === 401) return new ApiError({ kind: "signedOut" });
  if (status === 404) return new ApiError({ kind: "gone" });
  if (status === 429 || (status === 503 && waitMs !== undefined)) return new ApiError({ kind: "slowDown", waitMs: waitMs ?? 5_000 });
  return new ApiError({ kind: "refused", status, code, message });
}

/** Seconds, or a date, as HTTP has it. */
export function retryAfter(header: string | null, now: Millis): Millis | undefined {
  if (header === null || header.trim() === "") return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

function odd(response: Response): ApiError {
  return new ApiError({ kind: "refused", status: response.status, code: "", message: "The answer is not what the API promises." });
}
