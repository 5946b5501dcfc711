/** The console: signs in, keeps the list of sessions fresh, and does what its buttons say. */
import { tokenExpiry } from "@belvedere/sdk";
import { Account, ApiError, type Failure } from "./api";
import { arrange, Book, filterOf, isEnded, type Filter, type Known, type News } from "./book";
import { snippet, type Language } from "./connect";
import { announce, arrangeChildren, el, say, show, wireCopies, within } from "./dom";
import { failed, nextAt, sent, slowedDown, startPace, succeeded, type Pace } from "./pace";
import { Row } from "./rows";
import { clockTime, minutes } from "./time";

/** Rows of the list that are in the page at once. */
const ROWS = 50;
/** Ended sessions that are shown. */
const ENDED_ROWS = 30;
/** The list has tools to narrow it from here on. */
const TOOLS_FROM = 9;
/** How long things are looked at eagerly after the person did something. */
const EAGER_MS = 8_000;
/** A sign-in that ends sooner than this is worth a word. */
const EXPIRY_WARNING_MS = 10 * 60_000;
/** Where the token is while this tab is open. The key is nowhere. */
const STORED = "belvedere.signedIn";

const body = document.body;
const form = el("sign-in-form", HTMLFormElement);
const list = el("list");
const endedList = el("ended");

let account: Account | undefined;
let book = new Book();
let pace: Pace = startPace(performance.now());
let timer: ReturnType<typeof setTimeout> | undefined;
let asking = false;
let eagerUntil = -Infinity;
/** What kept the last look from working. */
let trouble: Failure | undefined;
let freshAt = 0;
let drawnAt = -Infinity;
let filter: Filter = "all";
let offset = 0;
let shown: Known[] = [];
const rows = new Map<string, Row>();

/* Signing in and out */

function stored(): Account | undefined {
  try {
    const found: unknown = JSON.parse(sessionStorage.getItem(STORED) ?? "null");
    if (typeof found !== "object" || found === null) return undefined;
    const { account, token } = found as Record<string, unknown>;
    return typeof account === "string" && typeof token === "string" ? new Account(account, token) : undefined;
  } catch {
    return undefined;
  }
}

/** An account and a token from a link like the one that the service prints. */
function fromLink(link: string): Account | undefined {
  if (!URL.canParse(link)) return undefined;
  const url = new URL(link);
  const id = url.searchParams.get("account") ?? "";
  const token = new URLSearchParams(url.hash.slice(1)).get("token") ?? "";
  return id !== "" && token !== "" ? new Account(id, token) : undefined;
}

function signIn(next: Account): void {
  account = next;
  try {
    sessionStorage.setItem(STORED, JSON.stringify({ account: next.id, token: next.token }));
  } catch {
    // Without storage the sign-in lasts until the page is reloaded.
  }
  book = new Book();
  pace = startPace(performance.now());
  trouble = undefined;
  freshAt = 0;
  offset = 0;
  rows.clear();
  list.replaceChildren();
  endedList.replaceChildren();
  say(el("account-short"), next.id.length > 13 ? `${next.id.slice(0, 8)}…` : next.id);
  say(el("account-id"), next.id);
  say(el("fact-account"), next.id);
  for (const place of document.querySelectorAll<HTMLElement>(".own-account")) say(place, next.id);
  showCode("curl");
  route();
  render();
  void look();
}

function signOut(problem = ""): void {
  const id = account?.id ?? "";
  account = undefined;
  clearTimeout(timer);
  try {
    sessionStorage.removeItem(STORED);
  } catch {
    // There was none.
  }
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  const input = field(form, "account");
  if (input.value === "") input.value = id;
  field(form, "key").value = "";
  problemOf(form, problem);
  route();
  (input.value === "" ? input : field(form, "key")).focus();
}

form.addEventListener("paste", (event) => {
  const link = fromLink(event.clipboardData?.getData("text") ?? "");
  if (!link) return;
  event.preventDefault();
  signIn(link);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [id, key] = [field(form, "account").value.trim(), field(form, "key").value.trim()];
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) {
    return complain(form, "account", id === "" ? "Fill in the account id." : "An account id looks like 00000000-0000-0000-0000-000000000000.");
  }
  if (key === "") return complain(form, "key", "Fill in one of the account’s two keys.");
  void busy(form, async () => {
    problemOf(form, "");
    try {
      const next = await Account.signIn(id, key);
      field(form, "key").value = "";
      signIn(next);
      focusTitle();
    } catch (error) {
      const failure = failureOf(error);
      complain(
        form,
        "key",
        failure.kind === "signedOut" ? "The service knows no such account with this key. Check both; keys end with “=”." : wordsOf(error),
      );
    }
  });
});

/* Asking the service */

async function look(): Promise<void> {
  clearTimeout(timer);
  if (asking || !account) return;
  asking = true;
  const [who, kept] = [account, book];
  try {
    const leaving = book.leaving()[0];
    pace = sent(pace, performance.now());
    if (leaving !== undefined) await lookAt(who, kept, leaving);
    else await lookAtList(who, kept);
    if (who !== account) return;
    pace = succeeded(pace);
    trouble = undefined;
    freshAt = Date.now();
  } catch (error) {
    if (who === account) onTrouble(failureOf(error));
  } finally {
    asking = false;
    if (account) {
      // While many pages come in, the list is drawn now and then only.
      if (book.complete || trouble !== undefined || performance.now() - drawnAt > 300) render();
      plan();
    }
  }
}

async function lookAtList(who: Account, kept: Book): Promise<void> {
  const index = kept.nextPage(Date.now(), new Set(shown.map((known) => known.session.id)));
  const { value, exchange } = await who.list(kept.pages[index]?.link ?? "").catch((error: unknown) => {
    // Our place in the list may be forgotten after 30 days.
    if (index > 0 && failureOf(error).kind === "refused") kept.restart();
    throw error;
  });
  tell(kept.takePage(index, value, exchange));
}

async function lookAt(who: Account, kept: Book, id: string): Promise<void> {
  try {
    const { value, date, exchange } = await who.get(id);
    tell(kept.takeSession(value, date, exchange));
  } catch (error) {
    if (failureOf(error).kind !== "gone") throw error;
    kept.forget(id);
  }
}

function onTrouble(failure: Failure): void {
  const now = performance.now();
  if (failure.kind === "signedOut") {
    const expiry = tokenExpiry(account?.token ?? "");
    const over = expiry !== undefined && expiry * 1000 <= Date.now();
    return signOut(over ? "Your sign-in has ended after its day. Sign in again." : "The access token is not valid any more. Sign in again.");
  }
  if (failure.kind === "refused" && failure.status === 403) return signOut("The access token is of another account. Sign in with the key.");
  pace = failure.kind === "slowDown" ? slowedDown(pace, now, failure.waitMs, Math.random()) : failed(pace, now, Math.random());
  // One lost answer is nothing to talk about.
  if (pace.failures !== 1 || failure.kind !== "offline" || !navigator.onLine || freshAt === 0) trouble = failure;
}

function plan(): void {
  clearTimeout(timer);
  if (asking || !account) return;
  const now = performance.now();
  const changing = [...book.sessions.values()].some((known) => known.session.status === "Starting" || known.leaving);
  const at = nextAt(pace, now, { hidden: document.hidden, loading: !book.complete, eager: changing || now < eagerUntil });
  if (at !== undefined) timer = setTimeout(() => void look(), at - now);
}

/** The person wants to know now. */
function lookNow(): void {
  eagerUntil = performance.now() + EAGER_MS;
  pace = { ...pace, notBefore: trouble?.kind === "slowDown" ? pace.notBefore : -Infinity };
  plan();
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    render();
    lookNow();
  }
});
addEventListener("online", lookNow);
addEventListener("offline", () => {
  trouble = { kind: "offline" };
  render();
});

function tell(news: readonly News[]): void {
  const many = new Map<string, number>();
  for (const one of news) many.set(one.kind, (many.get(one.kind) ?? 0) + 1);
  for (const one of news) {
    if (one.kind === "lost") announce(`${one.n} sessions have ended.`);
    else if ((many.get(one.kind) ?? 0) <= 3) announce(`Session ${one.id} ${WORDS[one.kind]}.`);
  }
  for (const [kind, n] of many) if (n > 3 && kind !== "lost") announce(`${n} sessions: ${WORDS[kind as keyof typeof WORDS]}.`);
}

const WORDS = {
  appeared: "was started",
  ready: "is ready",
  stopped: "was stopped",
  expired: "has expired",
  failed: "has failed",
} as const;

/* What is on the screen */

function render(): void {
  if (!account) return;
  drawnAt = performance.now();
  const now = Date.now();
  const all = [...book.sessions.values()];
  const living = all.filter((known) => known.endedAt === undefined);
  const count = (state: Filter): number => living.filter((known) => state === "all" || filterOf(known.session) === state).length;
  const wanted = el("find", HTMLInputElement).value;
  const matching = arrange(all, wanted, filter);
  const matchingLiving = matching.filter((known) => known.endedAt === undefined);
  const ended = arrange(all, wanted, "all").filter((known) => known.endedAt !== undefined);

  offset = Math.min(offset, Math.max(0, Math.floor((matchingLiving.length - 1) / ROWS) * ROWS));
  shown = matchingLiving.slice(offset, offset + ROWS);
  const loaded = freshAt > 0;
  const focused = document.activeElement;
  const focusedRow = focused?.closest<HTMLElement>(".row");
  const focusedAt = focusedRow ? [...list.children].indexOf(focusedRow) : -1;

  arrangeChildren(list, shown.map((known) => rowOf(known, now)));
  arrangeChildren(endedList, ended.slice(0, ENDED_ROWS).map((known) => rowOf(known, now)));
  for (const id of rows.keys()) if (!book.sessions.has(id)) rows.delete(id);
  // Its row went elsewhere or away: go on where it was.
  if (focused && focused !== document.activeElement && focusedAt >= 0) {
    const next = list.children[Math.min(focusedAt, list.children.length - 1)]?.querySelector<HTMLElement>(".action:not([hidden])");
    if (next) next.focus({ preventScroll: true });
    else focusTitle();
  }

  show(el("loading"), !loaded && trouble === undefined);
  show(list, shown.length > 0);
  show(el("none"), loaded && shown.length === 0 && living.length > 0);
  show(el("empty"), loaded && living.length === 0);
  show(el("create-button"), loaded && living.length > 0);
  show(el("over"), ended.length > 0);
  show(el("tools"), living.length >= TOOLS_FROM || wanted !== "" || filter !== "all");
  for (const chip of el("filters").querySelectorAll<HTMLElement>("button")) {
    const state = chip.dataset["filter"] as Filter;
    chip.setAttribute("aria-pressed", String(state === filter));
    say(within(chip, "b"), count(state).toLocaleString("en"));
  }
  show(el("pager"), matchingLiving.length > ROWS);
  say(el("place"), `${offset + 1}–${offset + shown.length} of ${matchingLiving.length.toLocaleString("en")}`);
  el("newer", HTMLButtonElement).disabled = offset === 0;
  el("older", HTMLButtonElement).disabled = offset + ROWS >= matchingLiving.length;

  const parts = [
    [count("ready"), "ready"],
    [count("starting"), "starting"],
  ] as const;
  const summary = parts.filter(([n]) => n > 0).map(([n, word]) => `${n.toLocaleString("en")} ${word}`);
  const loading = loaded && !book.complete ? ["reading on …"] : [];
  say(el("summary"), [...summary, ...loading].join(" · "));
  renderNotice(now);
}

function rowOf(known: Known, now: number): HTMLElement {
  const { id } = known.session;
  let row = rows.get(id);
  if (!row) {
    row = new Row(known, { viewer: (id) => account?.viewer(id) ?? "", extend: openExtend, stop: openStop });
    rows.set(id, row);
  }
  row.update(known, now);
  return row.element;
}

function renderNotice(now: number): void {
  const expiry = tokenExpiry(account?.token ?? "");
  const leftMs = expiry === undefined ? Infinity : expiry * 1000 - now;
  const seen = freshAt > 0 ? ` What you see is from ${clockTime(freshAt, now)}.` : "";
  let [text, action] = ["", ""];
  if (trouble?.kind === "offline") {
    [text, action] = [`The service cannot be reached.${seen} This page goes on trying.`, "Try now"];
  } else if (trouble?.kind === "slowDown") {
    text = "The account asks more often than the service allows. This page waits as long as it was told.";
  } else if (trouble) {
    [text, action] = [`${new ApiError(trouble).message}${seen} This page goes on trying.`, "Try now"];
  } else if (leftMs < EXPIRY_WARNING_MS) {
    [text, action] = [`Your sign-in ends at ${clockTime(now + leftMs, now)}.`, "Sign in again"];
  }
  body.toggleAttribute("data-stale", trouble !== undefined && trouble.kind !== "slowDown");
  say(el("notice-text"), text);
  say(el("notice-action"), action);
  show(el("notice-action"), action !== "");
  show(el("notice"), text !== "");
  say(el("account-until"), Number.isFinite(leftMs) ? `Signed in until ${clockTime(now + leftMs, now)}.` : "");
}

/** Seconds go by without the service, too. */
setInterval(() => {
  if (document.hidden || !account) return;
  const now = Date.now();
  for (const known of shown) rows.get(known.session.id)?.tick(now);
}, 1000);

el("notice-action").onclick = () => (trouble ? lookNow() : signOut());
el("sign-out").onclick = () => {
  el("account-menu").hidePopover();
  signOut();
};
el("find").oninput = () => {
  offset = 0;
  render();
};
el("filters").onclick = (event) => {
  const chip = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-filter]") : null;
  if (!chip) return;
  filter = chip.dataset["filter"] as Filter;
  offset = 0;
  render();
};
for (const [id, step] of [["newer", -ROWS], ["older", ROWS]] as const) {
  el(id).onclick = () => {
    offset = Math.max(0, offset + step);
    render();
    announce(`Sessions ${el("place").textContent}.`);
    el("sessions-title").scrollIntoView({ block: "nearest" });
  };
}
el("clear").onclick = () => {
  book.clearEnded();
  render();
  focusTitle();
};

/* Dialogs */

const create = el("create", HTMLDialogElement);
const extend = el("extend", HTMLDialogElement);
const stop = el("stop", HTMLDialogElement);
/** Whom the open dialog is about. */
let about: Known | undefined;

function field(form: ParentNode, name: string): HTMLInputElement {
  return within<HTMLInputElement>(form, `input[name="${name}"]`);
}

function problemOf(form: ParentNode, text: string): void {
  const problem = within(form, ".problem");
  say(problem, text);
  show(problem, text !== "");
}

function complain(form: ParentNode, name: string, text: string): void {
  problemOf(form, text);
  const input = field(form, name);
  input.setAttribute("aria-invalid", "true");
  input.addEventListener("input", () => input.removeAttribute("aria-invalid"), { once: true });
  input.focus();
}

/** While it runs, the form takes nothing else. */
async function busy(form: HTMLFormElement, work: () => Promise<void>): Promise<void> {
  if (form.dataset["busy"] !== undefined) return;
  form.dataset["busy"] = "";
  form.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    delete form.dataset["busy"];
    form.removeAttribute("aria-busy");
  }
}

/** On submit runs `work`, and closes the dialog if that went well; the focus then goes where `work` says, or back. */
function wire(dialog: HTMLDialogElement, work: (form: HTMLFormElement, who: Account) => Promise<boolean | HTMLElement>): void {
  const form = within<HTMLFormElement>(dialog, "form");
  for (const button of dialog.querySelectorAll<HTMLElement>("[data-closes]")) button.onclick = () => dialog.close();
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void busy(form, async () => {
      if (!account) return;
      problemOf(form, "");
      try {
        const done = await work(form, account);
        if (done) dialog.close();
        if (done instanceof HTMLElement) done.focus();
      } catch (error) {
        if (failureOf(error).kind === "signedOut") return onTrouble({ kind: "signedOut" });
        problemOf(form, wordsOf(error));
      }
      render();
      lookNow();
    });
  });
}

function presets(dialog: HTMLDialogElement, choices: readonly (readonly [string, number])[], value: number): void {
  const input = field(dialog, "lease");
  const mark = (): void => {
    for (const chip of place.querySelectorAll("button")) chip.setAttribute("aria-pressed", String(chip.value === input.value));
  };
  const place = within(dialog, ".presets");
  place.replaceChildren(
    ...choices.map(([label, n]) => {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.textContent = label;
      chip.value = String(n);
      chip.onclick = () => {
        input.value = String(n);
        input.dispatchEvent(new Event("input"));
      };
      return chip;
    }),
  );
  input.value = String(value);
  input.oninput = () => {
    mark();
    problemOf(dialog, "");
    if (dialog === extend) noteEnd();
  };
  input.oninput(new Event("input") as InputEvent);
}

function leaseIn(form: ParentNode, least: number): number | undefined {
  const input = field(form, "lease");
  const lease = Number(input.value);
  if (Number.isInteger(lease) && lease >= least && lease <= 1440) return lease;
  complain(form, "lease", `The lease is a whole number of minutes from ${least} to 1440.`);
  return undefined;
}

function openCreate(): void {
  problemOf(create, "");
  field(create, "id").value = "";
  presets(create, [["30 min", 30], ["1 h", 60], ["4 h", 240], ["8 h", 480], ["24 h", 1440]], Number(field(create, "lease").value) || 60);
  create.showModal();
  within<HTMLInputElement>(create, "input:checked").focus();
}

wire(create, async (form, who) => {
  const lease = leaseIn(form, 1);
  if (lease === undefined) return false;
  const wanted = field(form, "id").value.trim();
  if (!/^[A-Za-z0-9_-]{0,256}$/.test(wanted)) {
    complain(form, "id", "An id has letters, digits, “-” and “_”, nothing else.");
    return false;
  }
  const id = wanted || madeUp();
  const { value, date, exchange } = await who.create(id, within<HTMLInputElement>(form, "input:checked").value, lease);
  tell(book.takeSession(value, date, exchange));
  [filter, offset] = ["all", 0];
  el("find", HTMLInputElement).value = "";
  render();
  return within(rows.get(value.id)?.element ?? body, ".copy");
});

/** An id that is easy to tell from others: 8 of 32 letters and digits, those that look alike left out. */
function madeUp(): string {
  const letters = "abcdefghijkmnpqrstuvwxyz23456789";
  return `session-${[...crypto.getRandomValues(new Uint8Array(8))].map((byte) => letters[byte % 32]).join("")}`;
}

function openExtend(known: Known): void {
  about = known;
  const now = known.session.maxLeaseTimeMinutes;
  problemOf(extend, "");
  say(within(extend, ".of code"), known.session.id);
  field(extend, "lease").min = String(now + 1);
  const steps = [15, 30, 60, 240].filter((step) => now + step < 1440);
  presets(extend, [...steps.map((step) => [minutes(step), now + step] as const), ["up to 24 h", 1440]], now + (steps[1] ?? steps[0] ?? 1440 - now));
  extend.showModal();
  within(extend, ".presets [aria-pressed='true']").focus();
}

function noteEnd(): void {
  const lease = Number(field(extend, "lease").value);
  if (!about || !Number.isInteger(lease)) return;
  const { session, ready, createdAt } = about;
  const now = Date.now();
  const end = Math.max(ready.lo, createdAt) + lease * 60_000;
  say(
    el("extend-note"),
    session.status === "Ready"
      ? `${minutes(session.maxLeaseTimeMinutes)} now. The session then ends at ${clockTime(end, now)}.`
      : `${minutes(session.maxLeaseTimeMinutes)} now. The lease runs from when the session is ready.`,
  );
}

wire(extend, async (form, who) => {
  if (!about) return true;
  const lease = leaseIn(form, about.session.maxLeaseTimeMinutes + 1);
  if (lease === undefined) return false;
  const { value, date, exchange } = await who.extend(about.session.id, lease);
  tell(book.takeSession(value, date, exchange));
  announce(`The lease of ${value.id} is ${minutes(value.maxLeaseTimeMinutes)} now.`);
  return true;
});

function openStop(known: Known): void {
  about = known;
  problemOf(stop, "");
  say(within(stop, ".of code"), known.session.id);
  stop.showModal();
}

wire(stop, async (_form, who) => {
  if (!about) return true;
  const { id } = about.session;
  await who.stop(id);
  await lookAt(who, book, id);
  return true;
});

el("create-button").onclick = openCreate;
el("create-first").onclick = openCreate;

/* Code to copy */

const LANGUAGES: readonly Language[] = ["curl", "python", "cli"];

function showCode(language: Language): void {
  for (const other of LANGUAGES) {
    const tab = el(`tab-${other}`);
    tab.setAttribute("aria-selected", String(other === language));
    tab.tabIndex = other === language ? 0 : -1;
  }
  el("code").setAttribute("aria-labelledby", `tab-${language}`);
  say(el("code-text"), snippet(language, location.origin, account?.id ?? "").trimEnd());
}

LANGUAGES.forEach((language, i) => {
  const tab = el(`tab-${language}`);
  tab.onclick = () => showCode(language);
  tab.onkeydown = (event) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const next = LANGUAGES[(i + step + LANGUAGES.length) % LANGUAGES.length];
    if (step === 0 || !next) return;
    event.preventDefault();
    showCode(next);
    el(`tab-${next}`).focus();
  };
});

/* Which part of the page */

function route(): void {
  const view = !account ? "sign-in" : location.hash === "#connect" ? "connect" : "sessions";
  body.dataset["view"] = view;
  for (const id of ["sign-in", "sessions", "connect"]) show(el(id), id === view);
  show(el("account"), account !== undefined);
  for (const id of ["to-sessions", "to-connect"]) show(el(id), account !== undefined);
  if (!account) show(el("notice"), false);
  for (const id of ["sessions", "connect"]) {
    if (id === view) el(`to-${id}`).setAttribute("aria-current", "page");
    else el(`to-${id}`).removeAttribute("aria-current");
  }
  document.title = `${{ "sign-in": "Sign in", connect: "Connect", sessions: "Sessions" }[view]} · Belvedere`;
}

function focusTitle(): void {
  el(body.dataset["view"] === "connect" ? "connect-title" : "sessions-title").focus({ preventScroll: true });
}

function failureOf(error: unknown): Failure {
  if (error instanceof ApiError) return error.failure;
  console.error(error);
  return { kind: "refused", status: 0, code: "", message: "This page made a mistake. Reload it." };
}

function wordsOf(error: unknown): string {
  return new ApiError(failureOf(error)).message;
}

/** Takes what is in the address out of it: history and screens are read by others, too. */
function takeLink(): boolean {
  const link = fromLink(location.href);
  if (!link) return false;
  history.replaceState(null, "", `${location.pathname}#sessions`);
  signIn(link);
  return true;
}

addEventListener("hashchange", () => {
  if (takeLink()) return;
  // The link past the navigation leads into the page, not to another part of it.
  if (location.hash === "#main") return;
  route();
  if (account) focusTitle();
});
wireCopies();
say(el("fact-endpoint"), location.origin);
show(el("fact-tls"), location.protocol === "http:");
field(form, "account").value = new URLSearchParams(location.search).get("account") ?? "";

if (!takeLink()) {
  const before = stored();
  if (before) signIn(before);
  else {
    route();
    const input = field(form, "account");
    (input.value === "" ? input : field(form, "key")).focus();
  }
}

/** For tests and the curious. */
declare global {
  interface Window {
    belvedereConsole: unknown;
  }
}
window.belvedereConsole = {
  get pace() {
    return pace;
  },
  get sessions() {
    return [...book.sessions.values()].map((known) => ({ ...known, ended: isEnded(known.session) }));
  },
};
