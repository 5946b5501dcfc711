/** The rows of the list: each keeps its elements, and writes only what changed. */
import { isEnded, leaseOf, type Known } from "./book";
import { copy, icon, make, say, show } from "./dom";
import { clockTime, minutes, stopwatch, type Millis } from "./time";

export interface RowActions {
  viewer(id: string): string;
  extend(known: Known): void;
  stop(known: Known): void;
}

/** Below this much, a lease counts as about to end. */
const SOON_MS = 5 * 60_000;

const STATES = { Starting: "Starting", Ready: "Ready", Stopped: "Stopped", Expired: "Expired", Error: "Error" } as const;

export class Row {
  readonly element = make("li", "row");
  #known: Known;
  readonly #state = make("span", "state");
  readonly #about = make("p", "about");
  readonly #elapsed = make("span", "elapsed");
  readonly #left = make("span", "left");
  readonly #bar = make("i");
  readonly #lease: HTMLElement;
  readonly #error = make("p", "error");
  readonly #open = make("a", "action open", "Open", icon("open"));
  readonly #extend = make("button", "action", "Extend");
  readonly #stop = make("button", "action stop", "Stop");

  constructor(known: Known, actions: RowActions) {
    this.#known = known;
    const { id } = known.session;
    const name = make("strong", "", id);
    name.title = id;
    const copyButton = make("button", "copy", icon("copy"));
    copyButton.setAttribute("aria-label", `Copy the id ${id}`);
    copyButton.onclick = () => void copy(copyButton, id);
    this.#open.href = actions.viewer(id);
    this.#open.target = "_blank";
    this.#open.rel = "noopener";
    this.#open.setAttribute("aria-label", `Open ${id} in the viewer, in a new tab`);
    this.#extend.setAttribute("aria-label", `Extend ${id}`);
    this.#stop.setAttribute("aria-label", `Stop ${id}`);
    this.#extend.onclick = () => actions.extend(this.#known);
    this.#stop.onclick = () => actions.stop(this.#known);
    const track = make("div", "track", this.#bar);
    track.setAttribute("aria-hidden", "true");
    this.#lease = make("div", "lease", make("p", "", this.#elapsed, this.#left), track);
    this.element.dataset["id"] = id;
    this.element.append(
      this.#state,
      make("div", "who", make("div", "name", name, copyButton), this.#about, this.#error),
      this.#lease,
      make("div", "actions", this.#open, this.#extend, this.#stop),
    );
  }

  update(known: Known, now: Millis): void {
    this.#known = known;
    const { session } = known;
    const ended = isEnded(session);
    this.element.dataset["status"] = known.leaving ? "Leaving" : session.status;
    say(this.#state, known.leaving ? "Ending" : STATES[session.status]);
    const since = ended && known.endedAt !== undefined ? `ended ${clockTime(known.endedAt, now)}` : `since ${clockTime(known.createdAt, now)}`;
    say(this.#about, `${session.size} · ${since}`);
    show(this.#error, session.error !== undefined);
    if (session.error) say(this.#error, `${session.error.message.replace(/\.$/, "")} (${session.error.code})`);
    show(this.#open, session.status === "Ready" && !known.leaving);
    show(this.#extend, !ended && !known.leaving && session.maxLeaseTimeMinutes < 1440);
    show(this.#stop, !ended && !known.leaving);
    this.tick(now);
  }

  /** What changes by itself. */
  tick(now: Millis): void {
    const { session, leaving } = this.#known;
    const total = minutes(session.maxLeaseTimeMinutes);
    if (session.status === "Starting") {
      say(this.#elapsed, `for ${stopwatch(now - this.#known.createdAt)}`);
      say(this.#left, `lease ${total}`);
    } else if (session.status === "Ready" && !leaving) {
      const { elapsedMs, leftMs, totalMs } = leaseOf(this.#known, now);
      // Of seconds that have begun, elapsed ones are left out and remaining ones are not: the two add up.
      say(this.#elapsed, `${stopwatch(elapsedMs)} of ${total}`);
      say(this.#left, leftMs > 0 ? `${stopwatch(Math.ceil(leftMs / 1000) * 1000)} left` : "ending");
      this.#bar.style.transform = `scaleX(${totalMs > 0 ? (elapsedMs / totalMs).toFixed(4) : 1})`;
      this.element.toggleAttribute("data-soon", leftMs <= Math.min(SOON_MS, totalMs / 4));
    } else {
      say(this.#elapsed, session.elapsedTimeMinutes > 0 ? `after ${minutes(session.elapsedTimeMinutes)} of ${total}` : `lease ${total}`);
      say(this.#left, "");
    }
  }
}
