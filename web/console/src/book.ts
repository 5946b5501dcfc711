/** What this page knows of the account's sessions. Pure: answers go in, news come out. */
import type { Session } from "@belvedere/sdk";
import { aheadSpan, ANY_TIME, both, MINUTE, readySpan, type Exchange, type Millis, type Span } from "./time";

/** Ended sessions that stay on the page; the list of the service no longer has them. */
const ENDED_MAX = 200;

/** Sessions that left the list and are asked for one by one, at most; more at once are only counted. */
const LEAVING_MAX = 40;

export interface Known {
  readonly session: Session;
  readonly seenAt: Millis;
  /** When it was created, on this computer's clock. */
  readonly createdAt: Millis;
  /** When it became Ready. */
  readonly ready: Span;
  /** When it was seen to have ended. */
  readonly endedAt?: Millis;
  /** It left the list; how it ended is not known yet. */
  readonly leaving?: true;
}

export type News =
  | { readonly kind: "ready" | "stopped" | "expired" | "failed"; readonly id: string }
  | { readonly kind: "appeared"; readonly id: string }
  | { readonly kind: "lost"; readonly n: number };

/** A page of the service's list, which is in the order of creation. */
interface Page {
  /** What to ask for; empty for the first. */
  readonly link: string;
  readonly ids: ReadonlySet<string>;
  /** When it was asked for last; -Infinity if never. */
  readonly askedAt: Millis;
}

export interface ListAnswer {
  readonly sessions: readonly Session[];
  readonly next: string;
  /** The service's clock; undefined if it does not say. */
  readonly date: Millis | undefined;
}

const FIRST: Page = { link: "", ids: new Set(), askedAt: -Infinity };

export class Book {
  readonly sessions = new Map<string, Known>();
  #pages: Page[] = [FIRST];
  #ahead: Span = ANY_TIME;

  /** Every page has been read at least once. */
  get complete(): boolean {
    return this.#pages.every((page) => page.askedAt > -Infinity);
  }

  get pages(): readonly Page[] {
    return this.#pages;
  }

  /** Sessions whose end has to be asked for. */
  leaving(): string[] {
    return [...this.sessions.values()].filter((known) => known.leaving).map((known) => known.session.id);
  }

  /** The page of the list that is asked for next: one never read, else the stalest; what is looked at counts thrice. */
  nextPage(now: Millis, looked: ReadonlySet<string>): number {
    let [best, most] = [0, -1];
    this.#pages.forEach((page, i) => {
      const seen = i === this.#pages.length - 1 || [...page.ids].some((id) => looked.has(id));
      const weight = (now - page.askedAt) * (seen ? 3 : 1);
      if (weight > most) [best, most] = [i, weight];
    });
    return best;
  }

  /** Takes the answer to a request for page `index`. */
  takePage(index: number, { sessions, next, date }: ListAnswer, exchange: Exchange): News[] {
    const page = this.#pages[index];
    if (!page) return [];
    const first = !this.complete;
    if (date !== undefined) this.#ahead = both(this.#ahead, aheadSpan(date, exchange));
    const news: News[] = [];
    for (const session of sessions) news.push(...this.#take(session, exchange, first));

    // Within a page nothing is ever put before what is there, so what is missing in it has ended; after the last page
    // there is nothing at all.
    const ids = new Set(sessions.map((session) => session.id));
    const missing = [...page.ids].filter((id) => !ids.has(id));
    this.#pages[index] = { ...page, ids, askedAt: exchange.askedAt };
    const rest = this.#pages.slice(index + 1);
    if (next === "") {
      for (const later of rest) missing.push(...[...later.ids].filter((id) => !ids.has(id)));
      this.#pages.length = index + 1;
    } else {
      // Pages whose sessions have moved forward into this one.
      while (rest[0] && rest[0].ids.size > 0 && [...rest[0].ids].every((id) => ids.has(id))) rest.shift();
      if (rest.length === 0) rest.push({ link: next, ids: new Set(), askedAt: -Infinity });
      this.#pages.splice(index + 1, Infinity, ...rest);
    }
    const gone = missing.filter((id) => {
      const known = this.sessions.get(id);
      // What was created while the answer was on its way is newer than the answer.
      return known && known.endedAt === undefined && known.seenAt <= exchange.askedAt && !this.#pages.some((page) => page.ids.has(id));
    });
    for (const id of gone.slice(0, LEAVING_MAX)) {
      const known = this.sessions.get(id);
      if (known) this.sessions.set(id, { ...known, leaving: true });
    }
    for (const id of gone.slice(LEAVING_MAX)) this.sessions.delete(id);
    if (gone.length > LEAVING_MAX) news.push({ kind: "lost", n: gone.length - LEAVING_MAX });
    return news;
  }

  /** Takes the answer to a request about one session. */
  takeSession(session: Session, date: Millis | undefined, exchange: Exchange): News[] {
    if (date !== undefined) this.#ahead = both(this.#ahead, aheadSpan(date, exchange));
    return this.#take(session, exchange, false);
  }

  /** It is known to be nowhere. */
  forget(id: string): void {
    this.sessions.delete(id);
  }

  /** Forgets the ended ones. */
  clearEnded(): void {
    for (const [id, known] of this.sessions) if (known.endedAt !== undefined) this.sessions.delete(id);
  }

  /** The service does not know our place in its list any more. */
  restart(): void {
    this.#pages = [FIRST];
  }

  #take(session: Session, exchange: Exchange, quiet: boolean): News[] {
    const before = this.sessions.get(session.id);
    const { askedAt, answeredAt } = exchange;
    // An answer that was overtaken by a newer one.
    if (before && (before.seenAt > answeredAt || (before.endedAt !== undefined && !isEnded(session)))) return [];
    const ahead = (Math.max(this.#ahead.lo, -1e15) + Math.min(this.#ahead.hi, 1e15)) / 2;
    const created = Date.parse(session.creationTime) + (Number.isFinite(this.#ahead.lo) ? ahead : 0);
    const createdAt = Number.isFinite(created) ? Math.min(created, answeredAt) : answeredAt;
    let ready = before?.ready ?? { lo: createdAt, hi: Infinity };
    // It was still Starting when the service looked, which was after we had asked.
    if (session.status === "Starting") ready = both(ready, { lo: askedAt, hi: Infinity });
    if (session.status === "Ready") ready = both(ready, readySpan(session.elapsedTimeMinutes, exchange));
    const ended = isEnded(session);
    const { endedAt: endedBefore } = before ?? {};
    this.sessions.set(session.id, {
      session,
      seenAt: answeredAt,
      createdAt,
      ready,
      ...(ended ? { endedAt: endedBefore ?? answeredAt } : {}),
    });
    if (ended) this.#forgetOldest();
    if (quiet || before?.session.status === session.status) return [];
    const { id } = session;
    switch (session.status) {
      case "Starting":
        return before ? [] : [{ kind: "appeared", id }];
      case "Ready":
        return [{ kind: before ? "ready" : "appeared", id }];
      case "Stopped":
        return [{ kind: "stopped", id }];
      case "Expired":
        return [{ kind: "expired", id }];
      case "Error":
        return [{ kind: "failed", id }];
    }
  }

  #forgetOldest(): void {
    const ended = [...this.sessions.values()].filter((known) => known.endedAt !== undefined);
    ended.sort((a, b) => (a.endedAt ?? 0) - (b.endedAt ?? 0));
    for (const known of ended.slice(0, Math.max(0, ended.length - ENDED_MAX))) this.sessions.delete(known.session.id);
  }
}

export function isEnded({ status }: Session): boolean {
  return status === "Stopped" || status === "Expired" || status === "Error";
}

/** How much of its lease a Ready session has had. The earliest possible start counts: no time is promised that is not there. */
export function leaseOf(known: Known, now: Millis): { readonly elapsedMs: Millis; readonly leftMs: Millis; readonly totalMs: Millis } {
  const totalMs = known.session.maxLeaseTimeMinutes * MINUTE;
  const elapsedMs = Math.min(Math.max(0, now - Math.max(known.ready.lo, known.createdAt)), totalMs);
  return { elapsedMs, leftMs: totalMs - elapsedMs, totalMs };
}

/** Those that match, in the order of the page: the living before the ended, the newest first. */
export function arrange(sessions: Iterable<Known>, wanted: string, filter: Filter): Known[] {
  const text = wanted.trim().toLowerCase();
  const matching = [...sessions].filter(
    ({ session }) => (text === "" || session.id.toLowerCase().includes(text)) && (filter === "all" || filterOf(session) === filter),
  );
  return matching.sort(
    (a, b) =>
      Number(a.endedAt !== undefined) - Number(b.endedAt !== undefined) ||
      (b.endedAt ?? 0) - (a.endedAt ?? 0) ||
      b.createdAt - a.createdAt ||
      (a.session.id < b.session.id ? -1 : 1),
  );
}

export type Filter = "all" | "ready" | "starting" | "ended";

export function filterOf(session: Session): Exclude<Filter, "all"> {
  if (session.status === "Ready") return "ready";
  return session.status === "Starting" ? "starting" : "ended";
}
