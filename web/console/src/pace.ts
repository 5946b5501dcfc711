/**
 * When the service is asked again. Pure: the time, and what happened, are arguments.
 *
 * The service lets an account ask at least 60 times per minute for its sessions, ten times at once. One page takes two
 * thirds of that at most, so a program of the same account still gets through.
 */
import type { Millis } from "./time";

/** Reads per minute in the long run, and at once. */
export const READS_PER_MINUTE = 40;
export const READS_AT_ONCE = 8;
const REFILL_MS = 60_000 / READS_PER_MINUTE;

/** Between two looks at the list, when nothing is about to change. */
const CALM_MS = 2_500;
/** While something is about to change. */
const EAGER_MS = 400;
/** After a failure: doubled each time, up to this. */
const BACK_OFF_MS = [1_000, 2_000, 4_000, 8_000, 15_000, 30_000] as const;
/** Longest wait that a service may ask for and get. */
const PATIENCE_MS = 10 * 60_000;

export interface Pace {
  /** Reads that may be sent at once, by `countedAt`. */
  readonly reads: number;
  readonly countedAt: Millis;
  readonly failures: number;
  /** Not before this, whatever else. */
  readonly notBefore: Millis;
  /** The service has said that it is too much. Then even a first load keeps to the pace. */
  readonly warned: boolean;
  readonly lastAt: Millis;
}

export function startPace(now: Millis): Pace {
  return { reads: READS_AT_ONCE, countedAt: now, failures: 0, notBefore: -Infinity, warned: false, lastAt: -Infinity };
}

/** What the page is doing. */
export interface Situation {
  /** Nobody looks. */
  readonly hidden: boolean;
  /** There are pages that were never read. */
  readonly loading: boolean;
  /** Something starts, or ends, or was just asked for. */
  readonly eager: boolean;
}

function readsAt(pace: Pace, now: Millis): number {
  return Math.min(READS_AT_ONCE, pace.reads + Math.max(0, now - pace.countedAt) / REFILL_MS);
}

/** When to ask; undefined for not before somebody looks again. */
export function nextAt(pace: Pace, now: Millis, { hidden, loading, eager }: Situation): Millis | undefined {
  if (hidden) return undefined;
  const reads = readsAt(pace, now);
  const free = loading && !pace.warned ? now : now + Math.max(0, (1 - reads) * REFILL_MS);
  const wanted = loading ? now : pace.lastAt + (eager ? EAGER_MS : CALM_MS);
  return Math.max(now, free, wanted, pace.notBefore);
}

/** A read was sent. */
export function sent(pace: Pace, now: Millis): Pace {
  return { ...pace, reads: Math.max(0, readsAt(pace, now) - 1), countedAt: now, lastAt: now };
}

/** It was answered. */
export function succeeded(pace: Pace): Pace {
  return { ...pace, failures: 0, notBefore: -Infinity };
}

/** It was not. `chance` (0 to 1) keeps pages that failed together from coming back together. */
export function failed(pace: Pace, now: Millis, chance: number): Pace {
  const wait = BACK_OFF_MS[Math.min(pace.failures, BACK_OFF_MS.length - 1)] ?? 30_000;
  return { ...pace, failures: pace.failures + 1, notBefore: now + wait * (0.75 + chance / 2) };
}

/** The service wants us to wait, and the pace was too fast. */
export function slowedDown(pace: Pace, now: Millis, waitMs: Millis, chance: number): Pace {
  const wait = Math.min(Math.max(waitMs, 1_000), PATIENCE_MS);
  return { ...pace, reads: 0, countedAt: now, warned: true, notBefore: now + wait + chance * 500 };
}
