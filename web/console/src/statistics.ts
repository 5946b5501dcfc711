/** What a number of round trips comes to. Pure. */

export interface Summary {
  readonly n: number;
  readonly minMs: number;
  readonly medianMs: number;
  /** 19 of 20 stay below. */
  readonly p95Ms: number;
  /** Mean difference between one round trip and the next (RFC 3550's idea of jitter, without its smoothing). */
  readonly jitterMs: number;
}

/** Undefined without samples. `samples` in the order in which they were taken, in ms. */
export function summarize(samples: readonly number[]): Summary | undefined {
  if (samples.length === 0) return undefined;
  const sorted = [...samples].sort((a, b) => a - b);
  const steps = samples.slice(1).map((sample, i) => Math.abs(sample - (samples[i] ?? sample)));
  return {
    n: samples.length,
    minMs: sorted[0] ?? NaN,
    medianMs: quantile(sorted, 0.5),
    p95Ms: quantile(sorted, 0.95),
    jitterMs: steps.length === 0 ? 0 : steps.reduce((sum, step) => sum + step, 0) / steps.length,
  };
}

/** Of sorted numbers, with the places in between interpolated. */
function quantile(sorted: readonly number[], q: number): number {
  const place = (sorted.length - 1) * q;
  const [low, high] = [Math.floor(place), Math.ceil(place)];
  const [a, b] = [sorted[low] ?? NaN, sorted[high] ?? NaN];
  return a + (b - a) * (place - low);
}

/** The endpoint to take: the smallest median; what is within a millisecond or 5 % of it counts as equal, and the steadier one wins. */
export function recommend(all: readonly (Summary | undefined)[]): number | undefined {
  const medians = all.map((one) => one?.medianMs ?? Infinity);
  const least = Math.min(...medians);
  if (!Number.isFinite(least)) return undefined;
  const limit = least + Math.max(1, least * 0.05);
  let best: number | undefined;
  all.forEach((one, i) => {
    if (!one || one.medianMs > limit) return;
    if (best === undefined || one.jitterMs < (all[best]?.jitterMs ?? Infinity)) best = i;
  });
  return best;
}

/** `https://host:port` of what a person typed, one per line or comma; `problems` are lines that are none. */
export function readEndpoints(text: string): { readonly endpoints: readonly string[]; readonly problems: readonly string[] } {
  const endpoints = new Set<string>();
  const problems: string[] = [];
  for (const word of text.split(/[\s,]+/).filter((word) => word !== "")) {
    const spelled = /^[a-z]+:\/\//i.test(word) ? word : `https://${word}`;
    const url = URL.canParse(spelled) ? new URL(spelled) : undefined;
    if (url && (url.protocol === "https:" || url.protocol === "http:") && url.hostname !== "") endpoints.add(url.origin);
    else problems.push(word);
  }
  return { endpoints: [...endpoints], problems };
}

/** `0.8 ms`, `12.4 ms`, `143 ms`. */
export function milliseconds(ms: number): string {
  return `${ms >= 100 ? ms.toFixed(0) : ms.toFixed(1)} ms`;
}
