/** Times as people read them, and what can be known of a lease's end. */

export type Millis = number;

export const MINUTE: Millis = 60_000;

/** As on a stopwatch: `0:07`, `12:34`, `1:02:03`. */
export function stopwatch(ms: Millis): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number): string => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** A lease: `45 min`, `2 h`, `1 h 30 min`. */
export function minutes(n: number): string {
  const [h, m] = [Math.floor(n / 60), n % 60];
  if (h === 0) return `${m} min`;
  return m === 0 ? `${h} h` : `${h} h ${m} min`;
}

/** `14:05` today, `21 Nov 14:05` on another day. */
export function clockTime(at: Millis, now: Millis, locale?: string): string {
  const date = new Date(at);
  const time = date.toLocaleTimeString(locale, { hour: "numeric", minute: "2-digit" });
  if (date.toDateString() === new Date(now).toDateString()) return time;
  return `${date.toLocaleDateString(locale, { day: "numeric", month: "short" })} ${time}`;
}

/** When something happened, or is known to have: not before `lo`, not after `hi`, on this computer's clock. */
export interface Span {
  readonly lo: Millis;
  readonly hi: Millis;
}

export const ANY_TIME: Span = { lo: -Infinity, hi: Infinity };

/** What two observations say together. If they contradict each other (a clock was set), the newer one is believed. */
export function both(older: Span, newer: Span): Span {
  const span = { lo: Math.max(older.lo, newer.lo), hi: Math.min(older.hi, newer.hi) };
  return span.lo <= span.hi ? span : newer;
}

/** When a request left and its answer came; the service looked at the session in between. */
export interface Exchange {
  readonly askedAt: Millis;
  readonly answeredAt: Millis;
}

/**
 * When a session became Ready, by one answer. The service says whole minutes only, so one answer leaves a minute open;
 * that each later one narrows it is what makes seconds tick truly.
 */
export function readySpan(elapsedMinutes: number, { askedAt, answeredAt }: Exchange): Span {
  return { lo: askedAt - (elapsedMinutes + 1) * MINUTE, hi: answeredAt - elapsedMinutes * MINUTE };
}

/** How far this computer's clock is ahead of the service's, by the second in an answer's `Date`. */
export function aheadSpan(date: Millis, { askedAt, answeredAt }: Exchange): Span {
  return { lo: askedAt - (date + 1000), hi: answeredAt - date };
}
