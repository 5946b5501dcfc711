/**
 * Measures what a person feels: from an input to the frame that shows it, and to that frame on the screen.
 *
 * Inputs are known by sequence number, which comes back with each frame; frames on the screen are known by their
 * RTP time. The two may arrive in either order. All memory here is bounded; all times are passed in.
 */
import { isNewer, type Frame, type Pong } from "./live";
import type { Millis } from "./link";

/** Figures of the last seconds; undefined where nothing was measured. */
export interface Summary {
  readonly framesPerSecond: number;
  readonly kilobitsPerSecond: number;
  readonly inputToFrameMs: Quantiles | undefined;
  /** Until the browser hands the decoded picture to the page. */
  readonly inputToPictureMs: Quantiles | undefined;
  /** Until the browser expects the picture on the screen: with its compositor's queue. */
  readonly inputToPhotonMs: Quantiles | undefined;
  readonly renderMs: Quantiles | undefined;
  readonly encodeMs: Quantiles | undefined;
  readonly queueMs: Quantiles | undefined;
  readonly roundTripMs: number | undefined;
  readonly framesReceived: number;
  readonly framesPresented: number;
}

export interface Quantiles {
  readonly p50: number;
  readonly p95: number;
  readonly min: number;
  readonly max: number;
  readonly n: number;
}

/** Rates are taken over this window. */
const RATE_WINDOW_MS = 1_000;
/** Latencies are taken over the newest so many samples: 4 s at 60 Hz. */
const SAMPLES = 240;
/** Inputs and frames that wait for their counterpart. */
const REMEMBERED = 256;

/** The `q`-quantile (0 to 1) of numbers, by nearest rank. */
export function quantile(numbers: readonly number[], q: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? NaN;
}

export class Meter {
  /** When an input was made, by sequence number. */
  readonly #sentAt = new Bounded<number, Millis>(REMEMBERED);
  /** When the input shown first by a frame was made, by the frame's RTP time. */
  readonly #causeAt = new Bounded<number, Millis | undefined>(REMEMBERED);
  /** When a frame was in the page and on the screen, by RTP time. */
  readonly #shownAt = new Bounded<number, { page: Millis; screen: Millis }>(REMEMBERED);
  readonly #toFrame = new Ring();
  readonly #toPicture = new Ring();
  readonly #toPhoton = new Ring();
  readonly #render = new Ring();
  readonly #encode = new Ring();
  readonly #queue = new Ring();
  readonly #roundTrips = new Ring(8);
  #recent: { at: Millis; bytes: number }[] = [];
  #newestShown: number | undefined;
  #received = 0;
  #presented = 0;

  /** An input made at `at` was sent as `seq`. */
  sent(seq: number, at: Millis): void {
    this.#sentAt.set(seq, at);
  }

  /** A frame's data arrived. */
  frame(now: Millis, frame: Frame): void {
    this.#received += 1;
    this.#recent.push({ at: now, bytes: frame.bytes });
    this.#forget(now);
    this.#render.push(frame.renderUs / 1000);
    this.#encode.push(frame.encodeUs / 1000);
    if (frame.queueUs > 0) this.#queue.push(frame.queueUs / 1000);
    // Only the first frame that shows an input answers it.
    const first = this.#newestShown === undefined || isNewer(frame.inputSeq, this.#newestShown);
    const cause = first ? this.#sentAt.get(frame.inputSeq) : undefined;
    if (first) this.#newestShown = frame.inputSeq;
    if (cause !== undefined) this.#toFrame.push(now - cause);
    const shown = this.#shownAt.get(frame.rtpTime);
    if (shown === undefined) this.#causeAt.set(frame.rtpTime, cause);
    else if (cause !== undefined) this.#answered(cause, shown);
  }

  /** The frame with this RTP time came to the page at `page`, and the browser expects it on the screen at `screen`. */
  presented(page: Millis, screen: Millis, rtpTime: number): void {
    this.#presented += 1;
    const cause = this.#causeAt.get(rtpTime);
    if (cause !== undefined) this.#answered(cause, { page, screen });
    else this.#shownAt.set(rtpTime, { page, screen });
  }

  #answered(cause: Millis, shown: { page: Millis; screen: Millis }): void {
    this.#toPicture.push(shown.page - cause);
    this.#toPhoton.push(shown.screen - cause);
  }

  pong(now: Millis, pong: Pong): void {
    this.#roundTrips.push(Math.max(0, now - pong.clientTimeUs / 1000));
  }

  summary(now: Millis): Summary {
    this.#forget(now);
    const bytes = this.#recent.reduce((sum, { bytes }) => sum + bytes, 0);
    return {
      framesPerSecond: (this.#recent.length * 1000) / RATE_WINDOW_MS,
      kilobitsPerSecond: (bytes * 8) / RATE_WINDOW_MS,
      inputToFrameMs: this.#toFrame.quantiles(),
      inputToPictureMs: this.#toPicture.quantiles(),
      inputToPhotonMs: this.#toPhoton.quantiles(),
      renderMs: this.#render.quantiles(),
      encodeMs: this.#encode.quantiles(),
      queueMs: this.#queue.quantiles(),
      roundTripMs: this.#roundTrips.quantiles()?.p50,
      framesReceived: this.#received,
      framesPresented: this.#presented,
    };
  }

  /** Forgets the latencies, so that the next summary is about what comes now. */
  reset(): void {
    for (const ring of [this.#toFrame, this.#toPicture, this.#toPhoton, this.#render, this.#encode, this.#queue]) ring.clear();
  }

  #forget(now: Millis): void {
    this.#recent = this.#recent.filter(({ at }) => now - at <= RATE_WINDOW_MS);
  }
}

/** A map that drops its oldest entry when full. */
class Bounded<K, V> {
  readonly #map = new Map<K, V>();
  constructor(readonly limit: number) {}
  get(key: K): V | undefined {
    return this.#map.get(key);
  }
  set(key: K, value: V): void {
    this.#map.delete(key);
    this.#map.set(key, value);
    for (const oldest of this.#map.keys()) {
      if (this.#map.size <= this.limit) break;
      this.#map.delete(oldest);
    }
  }
}

/** The newest so many numbers. */
class Ring {
  #numbers: number[] = [];
  constructor(readonly limit = SAMPLES) {}
  push(number: number): void {
    this.#numbers.push(number);
    if (this.#numbers.length > this.limit) this.#numbers.shift();
  }
  clear(): void {
    this.#numbers = [];
  }
  quantiles(): Quantiles | undefined {
    const n = this.#numbers.length;
    if (n === 0) return undefined;
    const [p50, p95, min, max] = [0.5, 0.95, 0, 1].map((q) => quantile(this.#numbers, q)) as [number, number, number, number];
    return { p50, p95, min, max, n };
  }
}
