/**
 * The life of a connection, as a function of (now, state, news).
 *
 * ```text
 *            start            Ready             connected
 *  idle ───────────▶ checking ───────▶ connecting ───────▶ live
 *                     │   ▲  ▲             │  lost, refused │
 *            Starting │   │  └─────────────┴────────────────┘ lost: the session says why
 *                     ▼   │ poll
 *                    waiting
 *
 *  every phase ──▶ ended { reason }; `start` begins anew
 * ```
 *
 * Nothing here touches a socket or a clock: `connection.ts` runs the commands and reports back.
 */
import type { RefusalReason, Session } from "./rest";

/** Milliseconds on a monotonic clock. */
export type Millis = number;

/** Why there is no connection (any more). */
export type EndReason =
  | "leaseExpired"
  | "stopped"
  | "hostFailed"
  | "shutdown"
  | "replaced"
  | "timeout"
  | "unsupported"
  | "left"
  | Exclude<RefusalReason, "notReady" | "ended">;

/** What the host or the service said about it, where it did. */
export interface Problem {
  readonly reason: RefusalReason | "unsupported";
  readonly message: string;
}

export type Link =
  | { readonly phase: "idle" }
  /** Asks the service about the session; at `retryAt` if that is set, else an answer is under way. */
  | { readonly phase: "checking"; readonly since: Millis; readonly attempt: number; readonly retryAt?: Millis }
  /** The session has no host yet. */
  | { readonly phase: "waiting"; readonly since: Millis; readonly attempt: number; readonly pollAt: Millis; readonly session: Session }
  | { readonly phase: "connecting"; readonly since: Millis; readonly attempt: number; readonly giveUpAt: Millis; readonly session: Session }
  | {
      readonly phase: "live";
      readonly since: Millis;
      /** When the host was last heard. */
      readonly heardAt: Millis;
      readonly tickedAt: Millis;
      /** When to ask the service about the session next. */
      readonly checkAt: Millis;
      readonly session: Session;
    }
  | { readonly phase: "ended"; readonly reason: EndReason; readonly message: string; readonly session?: Session };

export type News =
  | { readonly kind: "start" }
  | { readonly kind: "session"; readonly session: Session }
  | { readonly kind: "failed"; readonly problem: Problem }
  /** Media path and channels are open. */
  | { readonly kind: "connected" }
  /** Anything arrived from the host. */
  | { readonly kind: "heard" }
  /** The media path or a channel broke. */
  | { readonly kind: "lost" }
  /** The host said goodbye. */
  | { readonly kind: "ending"; readonly reason: "leaseExpired" | "stopped" | "shutdown" | "replaced" }
  | { readonly kind: "tick" }
  | { readonly kind: "leave" };

export type Command = "fetchSession" | "offer" | "hangUp";

/** Polling a session that starts: warm hosts take milliseconds. */
const POLL_MS = 250;
/** Longest way from the offer to open channels; DTLS over a lossy path may take seconds. */
const CONNECT_MS = 15_000;
/** The host answers a ping every second; after this silence the service is asked what happened. */
const SILENCE_MS = 2_500;
/** After this silence the connection is given up and made anew. */
const DEAD_MS = 8_000;
/** Between two looks at the lease while live. */
const CHECK_MS = 20_000;
/** A page that did not tick for this long was frozen; its silence proves nothing. */
const FROZEN_MS = 3_000;
/**
 * How often a broken connection is tried again, with pauses of 0.25, 0.5, 1, 2, 2, … seconds: about 12 s,
 * longer than the 5 s after which a host lets go of a client that vanished (here: our own old connection).
 */
const MAX_ATTEMPTS = 8;

/** What happens at `now`, and what is to be done about it. */
export function step(now: Millis, link: Link, news: News): [Link, Command[]] {
  if (news.kind === "leave") return [{ phase: "ended", reason: "left", message: "" }, ["hangUp"]];
  switch (link.phase) {
    case "idle":
    case "ended":
      return news.kind === "start" ? [{ phase: "checking", since: now, attempt: 0 }, ["fetchSession"]] : [link, []];

    case "checking":
      switch (news.kind) {
        case "session":
          return arrived(now, link.attempt, news.session);
        case "failed":
          // A first try tells at once; a connection that was there deserves patience (the service may be restarting).
          return news.problem.reason === "unreachable" && link.attempt > 0
            ? again(now, link.attempt + 1, news.problem)
            : end(news.problem);
        case "tick":
          return link.retryAt !== undefined && now >= link.retryAt
            ? [{ phase: "checking", since: link.since, attempt: link.attempt }, ["fetchSession"]]
            : [link, []];
        default:
          return [link, []];
      }

    case "waiting":
      switch (news.kind) {
        case "session":
          return arrived(now, link.attempt, news.session, link.since);
        case "failed":
          return news.problem.reason === "unreachable" ? again(now, link.attempt + 1, news.problem) : end(news.problem);
        case "tick":
          return now >= link.pollAt ? [{ ...link, pollAt: Infinity }, ["fetchSession"]] : [link, []];
        default:
          return [link, []];
      }

    case "connecting":
      switch (news.kind) {
        case "connected":
          return [
            { phase: "live", since: now, heardAt: now, tickedAt: now, checkAt: now + CHECK_MS, session: link.session },
            [],
          ];
        case "failed": {
          const { reason } = news.problem;
          if (reason === "ended" || reason === "notReady") {
            return [{ phase: "checking", since: now, attempt: link.attempt }, ["hangUp", "fetchSession"]];
          }
          // After a break the place may still be taken by our own former self.
          const ownGhost = reason === "inUse" && link.attempt > 0;
          const passing = ownGhost || reason === "hostUnavailable" || reason === "unreachable";
          const [next, commands] = passing ? again(now, link.attempt + 1, news.problem) : end(news.problem);
          return [next, ["hangUp", ...commands]];
        }
        case "ending":
          return [{ phase: "ended", reason: news.reason, message: "", session: link.session }, ["hangUp"]];
        case "lost": {
          const [next, commands] = again(now, link.attempt + 1, { reason: "hostUnavailable", message: "" });
          return [next, ["hangUp", ...commands]];
        }
        case "tick":
          return now >= link.giveUpAt
            ? [{ phase: "ended", reason: "timeout", message: "", session: link.session }, ["hangUp"]]
            : [link, []];
        default:
          return [link, []];
      }

    case "live":
      switch (news.kind) {
        case "heard":
          return [{ ...link, heardAt: now }, []];
        case "session":
          return isOver(news.session) ? arrived(now, 0, news.session, now, ["hangUp"]) : [{ ...link, session: news.session }, []];
        case "ending":
          return [{ phase: "ended", reason: news.reason, message: "", session: link.session }, ["hangUp"]];
        case "lost":
          return [{ phase: "checking", since: now, attempt: 1 }, ["hangUp", "fetchSession"]];
        case "tick": {
          if (now - link.tickedAt > FROZEN_MS) return [{ ...link, tickedAt: now, heardAt: now }, []];
          const silence = now - link.heardAt;
          if (silence > DEAD_MS) return [{ phase: "checking", since: now, attempt: 1 }, ["hangUp", "fetchSession"]];
          const dueAt = silence > SILENCE_MS ? link.checkAt - CHECK_MS + SILENCE_MS : link.checkAt;
          return now >= dueAt
            ? [{ ...link, tickedAt: now, checkAt: now + CHECK_MS }, ["fetchSession"]]
            : [{ ...link, tickedAt: now }, []];
        }
        // The stream is there: a service that cannot be asked just now does not end it.
        default:
          return [link, []];
      }
  }
}

/** When `tick` is wanted next, if at all. */
export function wakeAt(now: Millis, link: Link): Millis | undefined {
  switch (link.phase) {
    case "checking":
      return link.retryAt;
    case "waiting":
      return Number.isFinite(link.pollAt) ? link.pollAt : undefined;
    case "connecting":
      return link.giveUpAt;
    case "live":
      return now + 500;
    default:
      return undefined;
  }
}

function isOver(session: Session): boolean {
  return session.status === "Stopped" || session.status === "Expired" || session.status === "Error";
}

/** The service told what the session is. */
function arrived(now: Millis, attempt: number, session: Session, since = now, first: Command[] = []): [Link, Command[]] {
  switch (session.status) {
    case "Starting":
      return [{ phase: "waiting", since, attempt, pollAt: now + POLL_MS, session }, first];
    case "Ready":
      return [{ phase: "connecting", since: now, attempt, giveUpAt: now + CONNECT_MS, session }, [...first, "offer"]];
    case "Stopped":
      return [{ phase: "ended", reason: "stopped", message: "", session }, first];
    case "Expired":
      return [{ phase: "ended", reason: "leaseExpired", message: "", session }, first];
    case "Error":
      return [{ phase: "ended", reason: "hostFailed", message: session.error?.message ?? "", session }, first];
  }
}

function again(now: Millis, attempt: number, problem: Problem): [Link, Command[]] {
  if (attempt > MAX_ATTEMPTS) return end(problem);
  const pause = Math.min(2_000, 250 * 2 ** (attempt - 1));
  return [{ phase: "checking", since: now, attempt, retryAt: now + pause }, []];
}

function end({ reason, message }: Problem): [Link, Command[]] {
  return [{ phase: "ended", reason: reason === "notReady" || reason === "ended" ? "other" : reason, message }, []];
}
