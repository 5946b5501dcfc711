/** The viewer page: wires the connection, the controls and what a person reads. */
import {
  cameraOf,
  Connection,
  fit,
  frameCamera,
  RpcError,
  Sky,
  ToneMapping,
  VIEWS,
  type Bounds,
  type Link,
  type LoadProgress,
  type Orbit,
  type SceneInfo,
  type StandardView,
} from "@belvedere/sdk";
import { Controls } from "./controls";
import { el, Menu, show, type Item } from "./dom";
import { Overlay } from "./overlay";
import { modelName, refusalTitle, wordsFor, wordsForOpening, type Words } from "./words";

const DEMO = "builtin://demo";
/** Larger pictures cost more than they show; the window is covered by a scaled one. */
const MAX_AREA = 1920 * 1080;
const RESIZE_MS = 140;

const query = new URLSearchParams(location.search);
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const address = {
  server: location.origin,
  account: query.get("account") ?? "",
  session: query.get("session") ?? "",
  token,
};

const body = document.body;
const stage = el("stage");
const video = el("video", HTMLVideoElement);
const menu = new Menu(el("menu"));

let scene: SceneInfo | undefined;
let bounds: Bounds | undefined;
/** What is being loaded, if anything. */
let loading: string | undefined;
/** What the person chose, here or by the link; outlives a reconnect. */
let chosen = query.get("model") ?? undefined;
/** The host's scene at the start of this connection is known. */
let greeted = false;
/** The model that the camera was set for. */
let framed = "";
/** When the first model was on the screen. */
let modelAt: number | undefined;
let pixels = { width: 1280, height: 720 };

/* The camera and the size of the picture */

const controls = new Controls(stage, frameCamera(undefined, 16 / 9), {
  onCamera: (_orbit, at) => sendView(at),
  onMoving: setMoving,
  onPick: (x, y) => void pick(x, y),
});

function aspect(): number {
  return stage.clientWidth / Math.max(1, stage.clientHeight);
}

function sendView(at?: number): void {
  // Before the scene is known there is nothing to frame.
  if (scene) connection.setView(cameraOf(controls.orbit), pixels.width, pixels.height, at);
}

/** The window in device pixels, even, and within the area. */
function measure(): void {
  const { clientWidth, clientHeight } = stage;
  const ratio = devicePixelRatio || 1;
  const scale = Math.min(1, Math.sqrt(MAX_AREA / Math.max(1, clientWidth * clientHeight * ratio * ratio)));
  const even = (css: number): number => Math.min(4096, Math.max(16, 2 * Math.ceil((css * ratio * scale) / 2 - 1e-6)));
  pixels = { width: even(clientWidth), height: even(clientHeight) };
  // One video pixel is one device pixel: an odd window shows all of an even picture but its last row or column.
  const exact = scale === 1;
  video.style.width = exact ? `${pixels.width / ratio}px` : "";
  video.style.height = exact ? `${pixels.height / ratio}px` : "";
  sendView();
}

let resizing: ReturnType<typeof setTimeout> | undefined;
new ResizeObserver(() => {
  clearTimeout(resizing);
  resizing = setTimeout(measure, RESIZE_MS);
}).observe(stage);

let settled: ReturnType<typeof setTimeout> | undefined;
function setMoving(moving: boolean): void {
  clearTimeout(settled);
  if (moving) {
    menu.close();
    body.dataset["moving"] = "";
  } else {
    settled = setTimeout(() => delete body.dataset["moving"], 250);
  }
}

function showAll(): void {
  const start = frameCamera(bounds, aspect());
  controls.moveTo(start);
}

function standardView(view: StandardView): void {
  const [yaw, pitch] = VIEWS[view];
  controls.moveTo(fit({ ...controls.orbit, yaw, pitch }, bounds, aspect()));
}

async function pick(x: number, y: number): Promise<void> {
  try {
    const { hit, position } = await connection.pick(x, y);
    if (hit && position) {
      const from = controls.orbit;
      // A little nearer too, as one steps towards what one points at; never beyond it.
      controls.moveTo({ ...from, target: [position.x, position.y, position.z], distance: from.distance * 0.8 });
    }
  } catch (error) {
    console.warn("belvedere: pick:", error);
  }
}

/* The connection */

const connection = new Connection(
  address,
  {
    onLink,
    onScene,
    onProgress,
    onHostError: ({ message }) => toast("The session’s model could not be shown", message),
    onPicture: () => (body.dataset["picture"] = ""),
  },
  import.meta.env.DEV && query.has("mock") ? (await import("./mock")).mockFetch(query) : undefined,
);
connection.attach(video);
const overlay = new Overlay(el("statistics"), el("b-stats"), connection, () => scene);

function onLink(link: Link, before: Link): void {
  if (link.phase !== before.phase) {
    console.info(`belvedere: ${before.phase} → ${link.phase}${link.phase === "ended" ? ` (${link.reason})` : ""}`);
    body.dataset["phase"] = link.phase;
    if (before.phase === "live") {
      menu.close();
      setProgress(undefined);
      loading = undefined;
      // The host forgets the scene with the client.
      greeted = false;
      scene = undefined;
    }
    showWords(wordsFor(link));
    if (link.phase === "live") {
      announce("Connected.");
      // Keys work at once, unless the person is elsewhere.
      if (document.activeElement === body) stage.focus({ preventScroll: true });
    }
  }
  showLease(link);
}

function onScene(next: SceneInfo): void {
  scene = next;
  const { source, boundsMin: low, boundsMax: high } = next;
  bounds = low && high ? { min: [low.x, low.y, low.z], max: [high.x, high.y, high.z] } : undefined;
  controls.bounds = bounds;
  measureNow();
  // The same model again, after a reconnect say: the person's camera stays where it was.
  if (source !== "" && source !== framed) {
    framed = source;
    controls.set(frameCamera(bounds, aspect()));
    void connection.whenShown().then((at) => (modelAt ??= at));
  }
  const { name } = modelName(source);
  el("model-name").textContent = name;
  show(el("model"), source !== "");
  document.title = source === "" ? "Belvedere" : `${name} — Belvedere`;
  if (!greeted) {
    greeted = true;
    // The host forgets the light, too.
    if (look.sky !== Sky.STUDIO || look.skyYaw !== 0 || look.toneMapping !== ToneMapping.NEUTRAL) void sendLook();
    // Without a wish, what the operator chose stays, be it on its way still.
    const wanted = chosen ?? (source === "" && loading === undefined ? DEMO : source);
    if (wanted !== "" && wanted !== source) void load(wanted);
  }
  if (source !== "") showWords(wordsFor(connection.link));
}

function measureNow(): void {
  clearTimeout(resizing);
  measure();
}

async function load(source: string): Promise<void> {
  const begun = connection.link;
  loading = source;
  setProgress(0, "");
  try {
    await connection.loadModel(source);
    announce(`${modelName(source).name} is shown.`);
    chosen = source;
    remember(source);
  } catch (error) {
    // Another load took its place, or the connection is gone and says so itself.
    if (error instanceof RpcError && (error.code === "Superseded" || error.reason === "closed")) return;
    const code = error instanceof RpcError ? error.code : "";
    toast(refusalTitle(code, source), error instanceof Error ? error.message : String(error));
    // A link to a model that cannot be shown still shows something.
    if (scene?.source === "" && source !== DEMO && begun.phase === "live") void load(DEMO);
    if (chosen === source) chosen = undefined;
  } finally {
    if (loading === source) {
      loading = undefined;
      setProgress(undefined);
      showWords(wordsFor(connection.link));
    }
  }
}

/** A reload shows the same model. */
function remember(source: string): void {
  const url = new URL(location.href);
  if ((url.searchParams.get("model") ?? DEMO) === source) return;
  url.searchParams.set("model", source);
  history.replaceState(null, "", url);
}

function onProgress({ source, fraction, stage: doing }: LoadProgress): void {
  loading ??= source;
  setProgress(fraction < 1 ? fraction : undefined, doing);
}

function setProgress(fraction: number | undefined, doing = ""): void {
  const bar = el("progress");
  show(bar, fraction !== undefined);
  if (fraction === undefined) return;
  bar.setAttribute("aria-valuenow", String(Math.round(fraction * 100)));
  bar.setAttribute("aria-valuetext", doing);
  bar.style.setProperty("--done", String(Math.max(0.02, Math.min(1, fraction))));
  // With nothing to look at, say what is going on; over an older picture the bar is enough.
  if (loading !== undefined && !scene?.source && connection.link.phase === "live") {
    showWords(wordsForOpening(loading, doing));
  }
}

/* Words */

function showWords(words: Words | undefined): void {
  const card = el("card");
  // A busy card appears late by its animation: quick connects show none.
  show(card, words !== undefined);
  if (!words) {
    spoken = "";
    return;
  }
  card.toggleAttribute("data-busy", words.busy === true);
  el("card-title").textContent = words.title;
  el("card-text").textContent = words.text;
  show(el("card-text"), words.text !== "");
  el("card-detail").textContent = words.detail ?? "";
  show(el("card-detail"), words.detail !== undefined);
  const action = el("card-action", HTMLButtonElement);
  const other = el("card-other", HTMLButtonElement);
  show(action, words.action !== undefined);
  show(other, words.action === "retry");
  action.textContent = words.action === "retry" ? "Try again" : "Open another session";
  action.onclick = words.action === "retry" ? () => connection.start() : askForSession;
  other.textContent = "Another session";
  other.onclick = askForSession;
  if (words.title !== spoken) announce([words.title, words.text, words.detail].filter((part) => part).join(". "));
  spoken = words.title;
  if (words.action !== undefined) action.focus({ preventScroll: true });
}

/** The title that was read out last; what changes below it need not be. */
let spoken = "";

function announce(text: string): void {
  el("announce").textContent = text;
}

function showLease(link: Link): void {
  const lease = el("lease");
  show(lease, link.phase === "live");
  if (link.phase !== "live") return;
  const left = link.session.maxLeaseTimeMinutes - link.session.elapsedTimeMinutes;
  const [hours, minutes] = [Math.floor(left / 60), left % 60];
  lease.textContent =
    left <= 1 ? "Less than a minute left" : hours > 0 ? `${hours} h ${minutes} min left` : `${minutes} min left`;
  lease.title = `This session's lease is ${link.session.maxLeaseTimeMinutes} minutes`;
  lease.toggleAttribute("data-soon", left <= 2);
}

function toast(title: string, text: string): void {
  el("toast-title").textContent = title;
  el("toast-text").textContent = text;
  show(el("toast"), true);
}
function hideToast(): void {
  show(el("toast"), false);
}

/** The form; keeps what is known. */
function askForSession(): void {
  show(el("card"), false);
  const form = el("connect", HTMLFormElement);
  show(form, true);
  const input = (name: string): HTMLInputElement => form.elements.namedItem(name) as HTMLInputElement;
  input("account").value = address.account;
  input("session").value = address.session;
  const empty = ["account", "session", "token"].find((name) => input(name).value === "") ?? "token";
  input(empty).focus();
  form.addEventListener("paste", (event) => {
    const link = readLink(event.clipboardData?.getData("text") ?? "");
    if (!link) return;
    event.preventDefault();
    for (const [name, value] of Object.entries(link)) input(name).value = value;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [account, session, key] = ["account", "session", "token"].map((name) => input(name).value.trim());
    const url = new URL(location.pathname, location.origin);
    url.search = new URLSearchParams({ account: account ?? "", session: session ?? "" }).toString();
    url.hash = `token=${key}`;
    const same = url.search === location.search;
    location.assign(url);
    // A change of the fragment alone loads nothing.
    if (same) location.reload();
  });
}

function readLink(text: string): { account: string; session: string; token: string } | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const found = {
    account: url.searchParams.get("account") ?? "",
    session: url.searchParams.get("session") ?? "",
    token: new URLSearchParams(url.hash.slice(1)).get("token") ?? "",
  };
  return found.account && found.session ? found : undefined;
}

/* Tools and keys */

const VIEW_NAMES = Object.keys(VIEWS) as StandardView[];

function toggleViews(): void {
  menu.toggle(el("b-views"), () =>
    VIEW_NAMES.map((view, i) => ({
      label: view.charAt(0).toUpperCase() + view.slice(1),
      note: String(i + 1),
      choose: () => standardView(view),
    })),
  );
}

function toggleModels(opener: HTMLElement): void {
  menu.toggle(opener, async () => {
    const { sources } = await connection.listModels();
    return sources.map((source) => {
      const { name, folder } = modelName(source);
      return { label: name, note: folder, checked: source === scene?.source, choose: () => choose(source) };
    });
  });
}

/* Light and colours */

const SKIES: readonly [Sky, string, string][] = [
  [Sky.STUDIO, "Studio", "softboxes"],
  [Sky.DAY, "Day", "high sun"],
  [Sky.OVERCAST, "Overcast", "soft"],
  [Sky.DUSK, "Dusk", "low sun"],
  [Sky.EVEN, "Even", "from all sides"],
];
const TONE_MAPPINGS: readonly [ToneMapping, string, string][] = [
  [ToneMapping.NEUTRAL, "True to the material", "PBR Neutral"],
  [ToneMapping.ACES, "Like film", "ACES"],
  [ToneMapping.CLIPPED, "As measured", "cut off at white"],
];

/** Outlives a reconnect. */
const look = { sky: Sky.STUDIO, skyYaw: 0, toneMapping: ToneMapping.NEUTRAL };
let lookIsOnItsWay = false;
let lookChanged = false;

/** One wish at a time: a slider moves faster than hosts draw, and only its newest place counts. */
async function sendLook(): Promise<void> {
  lookChanged = true;
  if (lookIsOnItsWay) return;
  lookIsOnItsWay = true;
  try {
    while (lookChanged) {
      lookChanged = false;
      await connection.setLook(look);
    }
  } catch (error) {
    if (error instanceof RpcError && error.reason === "closed") return;
    toast("The light could not be changed", error instanceof Error ? error.message : String(error));
  } finally {
    lookIsOnItsWay = false;
  }
}

function changeLook(change: Partial<typeof look>): void {
  Object.assign(look, change);
  void sendLook();
}

function choices<T>(all: readonly [T, string, string][], current: T, choose: (value: T) => void): Item[] {
  return all.map(([value, label, note]) => ({
    label,
    note,
    checked: value === current,
    stays: true,
    choose: () => choose(value),
  }));
}

function toggleLight(): void {
  menu.toggle(el("b-light"), () => [
    "Light",
    ...choices(SKIES, look.sky, (sky) => changeLook({ sky })),
    {
      label: "Turn",
      degrees: (look.skyYaw * 180) / Math.PI,
      turn: (degrees) => changeLook({ skyYaw: (degrees * Math.PI) / 180 }),
    },
    "Colours",
    ...choices(TONE_MAPPINGS, look.toneMapping, (toneMapping) => changeLook({ toneMapping })),
  ], true);
}

function choose(source: string): void {
  hideToast();
  void load(source);
}

function toggleFullScreen(): void {
  const change = document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen?.();
  change?.catch(() => undefined);
}

const help = el("help", HTMLDialogElement);
el("b-frame").onclick = showAll;
el("b-views").onclick = toggleViews;
el("b-models").onclick = () => toggleModels(el("b-models"));
el("model").onclick = () => toggleModels(el("model"));
el("b-light").onclick = toggleLight;
el("b-stats").onclick = () => overlay.toggle();
el("b-full").onclick = toggleFullScreen;
el("b-help").onclick = () => help.showModal();
el("help-close").onclick = () => help.close();
el("toast-close").onclick = hideToast;
help.addEventListener("click", (event) => {
  if (event.target === help) help.close();
});
if (!document.documentElement.requestFullscreen) show(el("b-full"), false);
stage.addEventListener("pointerdown", () => menu.close());

addEventListener("keydown", (event) => {
  if (event.key === "Tab") body.dataset["walking"] = "";
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target instanceof HTMLInputElement || help.open || connection.link.phase !== "live") return;
  // Arrows walk through an open menu.
  if (menu.keyDown(event)) return event.preventDefault();
  if (controls.keyDown(event) || shortcut(event.key)) event.preventDefault();
});
addEventListener("pointerdown", () => delete body.dataset["walking"], { capture: true });
addEventListener("keyup", (event) => controls.keyUp(event));

function shortcut(key: string): boolean {
  const view = VIEW_NAMES[Number(key) - 1];
  if (view) standardView(view);
  else if (key === "f" || key === "F" || key === "Home") showAll();
  else if (key === "s" || key === "S") overlay.toggle();
  else if (key === "m" || key === "M") toggleModels(el("b-models"));
  else if (key === "l" || key === "L") toggleLight();
  else if (key === "?") help.showModal();
  else if (key === "Escape") hideToast();
  else return false;
  return true;
}

/* Start */

addEventListener("hashchange", () => location.reload());
addEventListener("pageshow", (event) => {
  // Back from the browser's cache: the place was given up on leaving.
  if (event.persisted) connection.start();
});
addEventListener("online", () => {
  const { link } = connection;
  if (link.phase === "ended" && link.reason === "unreachable") connection.start();
});

measure();
if (address.account && address.session && address.token) {
  connection.start();
} else {
  if (address.account && address.session) {
    el("connect-text").textContent = "The link lacks its access token. Paste the whole link into any field, or the token below.";
  }
  askForSession();
}

/** For tests and the curious. */
declare global {
  interface Window {
    belvedere: unknown;
  }
}
window.belvedere = {
  connection,
  video,
  get state() {
    return connection.link;
  },
  get scene() {
    return scene && { ...scene, triangles: Number(scene.triangles) };
  },
  get camera() {
    return { ...controls.orbit, ...cameraOf(controls.orbit) };
  },
  setCamera: (orbit: Partial<Orbit>) => controls.set({ ...controls.orbit, ...orbit }),
  get size() {
    return pixels;
  },
  get lastFrame() {
    return connection.lastFrame;
  },
  get inputSeq() {
    return connection.inputSeq;
  },
  get milestones() {
    return { ...connection.milestones, modelAt };
  },
  stats: async () => ({
    ...connection.meter.summary(performance.now()),
    video: await connection.videoStatistics(),
  }),
  resetStats: () => connection.meter.reset(),
  load: choose,
};
