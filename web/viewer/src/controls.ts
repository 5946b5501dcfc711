/** Hands on the camera: pointer, touch, wheel and keys become changes of an orbit. */
import { blend, clamp, ease, orbitBy, panBy, zoomBy, zoomRange, type Bounds, type Orbit } from "@belvedere/sdk";

export interface ControlEvents {
  /** The camera changed; `at` is when the person did it. */
  onCamera(orbit: Orbit, at: number): void;
  /** A drag or glide began or ended. */
  onMoving(moving: boolean): void;
  /** Asked to turn around what is here; from the left and top edges, 0 to 1. */
  onPick(x: number, y: number): void;
}

/** A drag over the height of the window turns by this. */
const RADIANS_PER_HEIGHT = Math.PI;
/** Wheel delta (pixels) to the natural logarithm of the distance: a notch of 100 is 13 %. */
const ZOOM_PER_PIXEL = 0.0013;
/** Arrow keys turn, and plus and minus zoom, at this pace per second. */
const KEY_RADIANS = 1.6;
const KEY_ZOOM = 1.4;
const KEY_PAN = 1.1;
const MOVE_MS = 450;
/** A released orbit glides on so long: enough to feel weight, too short to feel loose. */
const GLIDE_TAU_MS = 90;
const TAP_MS = 320;
const TAP_PX = 24;
/** A press becomes a drag after this way. */
const DRAG_PX = 3;

type Press = { x: number; y: number; readonly startX: number; readonly startY: number; dragged: boolean };
type Motion =
  | { kind: "move"; from: Orbit; to: Orbit; startedAt: number }
  | { kind: "glide"; yaw: number; pitch: number; at: number };

export class Controls {
  #orbit: Orbit;
  #bounds: Bounds | undefined;
  #motion: Motion | undefined;
  /** What is held down, by place on the keyboard: Shift may change a key's name before it is let go. */
  readonly #keys = new Map<string, { readonly key: string; at: number }>();
  #ticking = false;
  #presses = new Map<number, Press>();
  #panning = false;
  #moving = false;
  #velocity = { yaw: 0, pitch: 0, at: 0 };
  #shift = false;
  #tap = { x: 0, y: 0, at: -Infinity };
  readonly #still = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(
    readonly stage: HTMLElement,
    orbit: Orbit,
    readonly events: ControlEvents,
  ) {
    this.#orbit = orbit;
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#drag(event));
    stage.addEventListener("pointerup", (event) => this.#up(event));
    stage.addEventListener("pointercancel", (event) => this.#up(event));
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("dblclick", (event) => this.events.onPick(...this.#place(event.clientX, event.clientY)));
    addEventListener("blur", () => this.#keys.clear());
  }

  get orbit(): Orbit {
    return this.#orbit;
  }

  /** Of the model; tells how near and far the camera may go. */
  set bounds(bounds: Bounds | undefined) {
    this.#bounds = bounds;
  }

  /** Jumps there. */
  set(orbit: Orbit, at = performance.now()): void {
    this.#motion = undefined;
    this.#apply(orbit, at);
  }

  /** Moves there smoothly; jumps for people who want no motion. */
  moveTo(to: Orbit): void {
    if (this.#still.matches) return this.set(to);
    this.#motion = { kind: "move", from: this.#orbit, to, startedAt: performance.now() };
    this.#tick();
  }

  /** Returns whether the key is one of ours. Modifiers other than Shift must be up. */
  keyDown(event: KeyboardEvent): boolean {
    if (!KEYS.has(event.key)) return false;
    if (!event.repeat) {
      this.#motion = undefined;
      this.#keys.set(event.code, { key: event.key, at: performance.now() });
      // A tap turns by a visible step even if the key is up again before the next frame.
      this.#press(event.key, 1 / 25, event.shiftKey, event.timeStamp);
      this.#tick();
    }
    return true;
  }

  keyUp(event: KeyboardEvent): void {
    this.#keys.delete(event.code);
  }

  get #aspect(): number {
    return this.stage.clientWidth / Math.max(1, this.stage.clientHeight);
  }

  #apply(orbit: Orbit, at: number): void {
    this.#orbit = orbit;
    this.events.onCamera(orbit, at);
  }

  #down(event: PointerEvent): void {
    // A third finger would only confuse.
    if (this.#presses.size >= 2) return;
    this.stage.setPointerCapture(event.pointerId);
    this.stage.focus({ preventScroll: true });
    this.#motion = undefined;
    this.#panning = event.button === 2 || event.button === 1 || event.shiftKey;
    if (event.button === 1) event.preventDefault();
    const { clientX: x, clientY: y } = event;
    this.#presses.set(event.pointerId, { x, y, startX: x, startY: y, dragged: false });
    this.#velocity = { yaw: 0, pitch: 0, at: event.timeStamp };
  }

  #drag(event: PointerEvent): void {
    const press = this.#presses.get(event.pointerId);
    if (!press) return;
    const { clientX: x, clientY: y, timeStamp } = event;
    if (!press.dragged && Math.hypot(x - press.startX, y - press.startY) < DRAG_PX) return;
    if (!press.dragged) {
      press.dragged = true;
      this.#setMoving(true);
    }
    const other = [...this.#presses].find(([id]) => id !== event.pointerId)?.[1];
    const height = Math.max(1, this.stage.clientHeight);
    const [dx, dy] = [x - press.x, y - press.y];
    if (other) {
      const before = Math.hypot(press.x - other.x, press.y - other.y);
      const after = Math.hypot(x - other.x, y - other.y);
      const [cx, cy] = this.#ndc((x + other.x) / 2, (y + other.y) / 2);
      const panned = panBy(this.#orbit, this.#aspect, dx / this.stage.clientWidth, -dy / height);
      const factor = before > 8 && after > 8 ? before / after : 1;
      [press.x, press.y] = [x, y];
      this.#apply(zoomBy(panned, this.#aspect, factor, cx, cy, zoomRange(this.#bounds)), timeStamp);
      return;
    }
    [press.x, press.y] = [x, y];
    if (this.#panning) {
      this.#apply(panBy(this.#orbit, this.#aspect, (2 * dx) / this.stage.clientWidth, (-2 * dy) / height), timeStamp);
      return;
    }
    const [yaw, pitch] = [(-dx / height) * RADIANS_PER_HEIGHT, (dy / height) * RADIANS_PER_HEIGHT];
    const elapsed = Math.max(4, timeStamp - this.#velocity.at);
    const mix = (old: number, now: number): number => old * 0.4 + (now / elapsed) * 0.6;
    this.#velocity = { yaw: mix(this.#velocity.yaw, yaw), pitch: mix(this.#velocity.pitch, pitch), at: timeStamp };
    this.#apply(orbitBy(this.#orbit, yaw, pitch), timeStamp);
  }

  #up(event: PointerEvent): void {
    const press = this.#presses.get(event.pointerId);
    if (!press) return;
    this.#presses.delete(event.pointerId);
    if (!press.dragged && event.type === "pointerup" && event.pointerType !== "mouse") this.#tapped(event);
    if (this.#presses.size > 0) return;
    const { yaw, pitch, at } = this.#velocity;
    // Held still before letting go: no glide.
    const flung = press.dragged && !this.#panning && event.timeStamp - at < 40 && Math.hypot(yaw, pitch) > 2e-4;
    if (flung && !this.#still.matches) {
      this.#motion = { kind: "glide", yaw, pitch, at: performance.now() };
      this.#tick();
    } else {
      this.#setMoving(false);
    }
  }

  #tapped({ clientX: x, clientY: y, timeStamp: at }: PointerEvent): void {
    const near = Math.hypot(x - this.#tap.x, y - this.#tap.y) < TAP_PX;
    if (near && at - this.#tap.at < TAP_MS) {
      this.#tap = { x, y, at: -Infinity };
      this.events.onPick(...this.#place(x, y));
    } else {
      this.#tap = { x, y, at };
    }
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1;
    // A pinch on a touchpad arrives as a wheel with Ctrl, in small steps.
    const delta = clamp(event.deltaY * unit * (event.ctrlKey ? 7 : 1), -600, 600);
    const [x, y] = this.#ndc(event.clientX, event.clientY);
    this.#motion = undefined;
    const factor = Math.exp(delta * ZOOM_PER_PIXEL);
    this.#apply(zoomBy(this.#orbit, this.#aspect, factor, x, y, zoomRange(this.#bounds)), event.timeStamp);
  }

  #press(key: string, seconds: number, shift: boolean, at: number): void {
    const [x, y, zoom] = KEYS.get(key) ?? [0, 0, 0];
    let orbit = this.#orbit;
    if (zoom !== 0) orbit = zoomBy(orbit, this.#aspect, Math.exp(zoom * KEY_ZOOM * seconds), 0, 0, zoomRange(this.#bounds));
    else if (shift) orbit = panBy(orbit, this.#aspect, -x * KEY_PAN * seconds, -y * KEY_PAN * seconds);
    else orbit = orbitBy(orbit, x * KEY_RADIANS * seconds, y * KEY_RADIANS * seconds);
    this.#shift = shift;
    this.#apply(orbit, at);
  }

  /** Runs as long as something moves by itself. */
  #tick(): void {
    if (this.#ticking) return;
    this.#ticking = true;
    const frame = (now: number): void => {
      for (const held of this.#keys.values()) {
        if (now > held.at) this.#press(held.key, Math.min(0.05, (now - held.at) / 1000), this.#shift, now);
        held.at = now;
      }
      this.#advance(now);
      this.#ticking = this.#motion !== undefined || this.#keys.size > 0;
      if (this.#ticking) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  #advance(now: number): void {
    const motion = this.#motion;
    if (!motion) return;
    if (motion.kind === "move") {
      const t = clamp((now - motion.startedAt) / MOVE_MS, 0, 1);
      this.#apply(blend(motion.from, motion.to, ease(t)), now);
      if (t === 1) this.#motion = undefined;
      return;
    }
    const elapsed = Math.max(0, now - motion.at);
    const left = Math.exp(-elapsed / GLIDE_TAU_MS);
    // The integral of the decaying pace over the time that passed.
    const way = GLIDE_TAU_MS * (1 - left);
    this.#apply(orbitBy(this.#orbit, motion.yaw * way, motion.pitch * way), now);
    const next = { ...motion, yaw: motion.yaw * left, pitch: motion.pitch * left, at: now };
    const over = Math.hypot(next.yaw, next.pitch) < 3e-5;
    this.#motion = over ? undefined : next;
    if (over) this.#setMoving(false);
  }

  #setMoving(moving: boolean): void {
    if (moving === this.#moving) return;
    this.#moving = moving;
    this.events.onMoving(moving);
  }

  #place(clientX: number, clientY: number): [number, number] {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    return [clamp((clientX - left) / width, 0, 1), clamp((clientY - top) / height, 0, 1)];
  }

  #ndc(clientX: number, clientY: number): [number, number] {
    const [x, y] = this.#place(clientX, clientY);
    return [2 * x - 1, 1 - 2 * y];
  }
}

/** Key to: turn right, turn up, zoom out. */
const KEYS = new Map<string, readonly [number, number, number]>([
  ["ArrowLeft", [-1, 0, 0]],
  ["ArrowRight", [1, 0, 0]],
  ["ArrowUp", [0, 1, 0]],
  ["ArrowDown", [0, -1, 0]],
  ["+", [0, 0, -1]],
  ["=", [0, 0, -1]],
  ["-", [0, 0, 1]],
  ["_", [0, 0, 1]],
]);
