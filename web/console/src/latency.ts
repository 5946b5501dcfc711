/** The page that measures how far services are. It never sees a token, so its policy may let it talk to any server. */
import { el, make, say, show } from "./dom";
import { milliseconds, readEndpoints, recommend, summarize, type Summary } from "./statistics";

const WARM_UP = 2;
const SAMPLES = 12;
const PATIENCE_MS = 6_000;
/** More would take longer than anybody waits. */
const ENDPOINTS_MAX = 24;

/** What an endpoint's answer told besides its time. */
type Kind = "belvedere" | "unread" | "other" | "unreachable";

interface Measured {
  readonly endpoint: string;
  kind: Kind;
  firstMs: number | undefined;
  readonly samples: number[];
  failures: number;
}

const KINDS: Record<Kind, string> = {
  belvedere: "",
  unread: "answers; what it is cannot be read from here",
  other: "answers, but not like a Belvedere",
  unreachable: "no answer, or a certificate that this browser does not trust",
};

const form = el("endpoints", HTMLFormElement);
const list = el("list", HTMLTextAreaElement);
let running = false;

async function ask(endpoint: string, mode: RequestMode): Promise<{ ms: number; response: Response } | undefined> {
  const url = `${endpoint}/healthz`;
  const began = performance.now();
  try {
    const response = await fetch(url, {
      mode,
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    // The rest of the body is part of the round trip; an unreadable answer has none for us.
    if (response.type !== "opaque") await response.clone().arrayBuffer();
    return { ms: performance.now() - began, response };
  } catch {
    return undefined;
  }
}

/** First contact, what it is, and the requests that do not count. */
async function meet(measured: Measured): Promise<void> {
  const { endpoint } = measured;
  const first = await ask(endpoint, "no-cors");
  if (!first) return;
  measured.firstMs = first.ms;
  measured.kind = "unread";
  const read = await ask(endpoint, "cors");
  if (read) measured.kind = read.response.ok && (await read.response.text()).trim() === "ok" ? "belvedere" : "other";
  for (let i = 1; i < WARM_UP; i += 1) await ask(endpoint, "no-cors");
}

async function measure(endpoints: readonly string[]): Promise<void> {
  const all = endpoints.map((endpoint): Measured => ({ endpoint, kind: "unreachable", firstMs: undefined, samples: [], failures: 0 }));
  show(el("verdict"), false);
  show(el("measured"), true);
  for (const one of all) {
    say(el("doing"), `Meeting ${one.endpoint} …`);
    await meet(one);
    render(all, false);
  }
  for (let round = 1; round <= SAMPLES; round += 1) {
    say(el("doing"), `Round ${round} of ${SAMPLES} …`);
    for (const one of all) {
      if (one.kind === "unreachable" || one.failures > 2) continue;
      const answer = await ask(one.endpoint, "no-cors");
      if (answer) one.samples.push(answer.ms);
      else one.failures += 1;
    }
    render(all, round === SAMPLES);
  }
  say(el("doing"), "");
}

function render(all: readonly Measured[], done: boolean): void {
  const summaries = all.map((one) => summarize(one.samples));
  const best = done ? recommend(summaries) : undefined;
  const most = Math.max(...all.flatMap((one) => one.samples), 1);
  el("rows").replaceChildren(...all.map((one, i) => rowOf(one, summaries[i], i === best && all.length > 1, most)));
  if (!done) return;
  const winner = best === undefined ? undefined : all[best];
  const summary = best === undefined ? undefined : summaries[best];
  const name = winner ? winner.endpoint.replace(/^https?:\/\//, "") : "";
  let words = "No endpoint answered.";
  if (winner && summary) {
    words = all.length > 1 ? `${name} is the nearest: ` : `${name} answers after `;
    words += `${milliseconds(summary.medianMs)} there and back.`;
    if (summary.medianMs > 80) words += " Above some 80 ms, what is turned by hand visibly follows late.";
  }
  say(el("verdict"), words);
  show(el("verdict"), true);
}

function rowOf(one: Measured, summary: Summary | undefined, best: boolean, most: number): HTMLElement {
  const name = make("th", "", one.endpoint.replace(/^https:\/\//, ""));
  name.scope = "row";
  const note = one.kind !== "unreachable" && one.failures > 0 ? `${one.failures} requests had no answer` : KINDS[one.kind];
  if (note !== "") name.append(make("small", "", note));
  const dots = make("div", "dots");
  dots.setAttribute("aria-hidden", "true");
  for (const sample of one.samples) dots.append(at(make("i"), sample / most));
  if (summary) dots.append(at(make("b"), summary.medianMs / most));
  const figures = [summary?.medianMs, summary?.minMs, summary?.p95Ms, summary?.jitterMs, one.firstMs];
  const row = make("tr", "", name, make("td", "plot", dots), ...figures.map((ms) => make("td", "", ms === undefined ? "–" : milliseconds(ms))));
  if (best) row.dataset["best"] = "";
  return row;
}

function at<T extends HTMLElement>(element: T, share: number): T {
  element.style.left = `${(share * 96).toFixed(1)}%`;
  return element;
}

function complain(text: string): void {
  say(el("problem"), text);
  show(el("problem"), text !== "");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) return;
  const { endpoints, problems } = readEndpoints(list.value);
  complain("");
  if (problems.length > 0) complain(`This is no endpoint: ${problems.join(", ")}. One looks like https://host:port.`);
  else if (endpoints.length === 0) complain("Fill in one endpoint at least.");
  else if (endpoints.length > ENDPOINTS_MAX) complain(`Measure at most ${ENDPOINTS_MAX} at once.`);
  if (!el("problem").hidden) return list.focus();
  running = true;
  form.dataset["busy"] = "";
  void measure(endpoints).finally(() => {
    running = false;
    delete form.dataset["busy"];
  });
});

/** `latency.html?to=https://a,https://b` is a link that one can give to people. */
const given = new URLSearchParams(location.search).getAll("to").join("\n");
list.value = given === "" ? location.origin : given.replaceAll(",", "\n");
say(el("origin"), location.origin);
