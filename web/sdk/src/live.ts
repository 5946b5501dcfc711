/**
 * Fixed layouts of the `input` and `frame` data channels, and the header that every message starts with.
 *
 * The twin of `crates/protocol/src/live/mod.rs`, which says what each field means; both read the golden vectors in
 * `api/golden/`. All numbers are little-endian. World space is right-handed, y up, metres; a view looks along its
 * own -z; orientations are unit quaternions `x y z w`, world from view.
 */

/** Version of every message. */
export const VERSION = 1;
/** Longest message on any channel; longer `rpc` messages are split. */
export const MAX_MESSAGE_BYTES = 16 << 10;
/** Longest `rpc` message after joining. */
export const MAX_RPC_BYTES = 1 << 20;

export const TYPE = { input: 1, ping: 2, frame: 3, pong: 4, rpc: 16 } as const;

/** On `rpc`: the message goes on in the next one. */
export const FLAG_MORE = 1;
/** On `frame`: the video frame is a key frame. */
export const FLAG_KEY = 1;
/** On `frame`: the camera rests, and this frame adds quality to the same picture. */
export const FLAG_REFINED = 2;

/**
 * How far below full quality a frame in motion is, because the host had no time for more: 0 full, 1 less detail, 2 also drawn at
 * 3/4 of the size, 3 at half of it, 4 and 5 also fewer frames. The video keeps its size.
 */
export function stepOf(frame: Frame): number {
  return (frame.flags >> 8) & 15;
}

export type Vec3 = readonly [number, number, number];
/** `x y z w`. */
export type Quat = readonly [number, number, number, number];

/** A pose and lens. */
export interface Camera {
  readonly eye: Vec3;
  /** World from view. */
  readonly orientation: Quat;
  /** Vertical field of view in radians. */
  readonly fovY: number;
}

export interface Header {
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
}

export interface Input {
  readonly seq: number;
  readonly clientTimeUs: number;
  readonly camera: Camera;
  /** Wanted size of the video in pixels. */
  readonly width: number;
  readonly height: number;
}

export interface Ping {
  readonly seq: number;
  readonly clientTimeUs: number;
}

export interface Pong {
  readonly seq: number;
  readonly clientTimeUs: number;
  readonly hostTimeUs: number;
}

export interface Frame {
  readonly frameId: number;
  readonly flags: number;
  /** RTP timestamp of the frame's packets, 90 kHz. */
  readonly rtpTime: number;
  /** Newest `Input.seq` that this frame shows. */
  readonly inputSeq: number;
  readonly camera: Camera;
  readonly nearM: number;
  readonly farM: number;
  readonly width: number;
  readonly height: number;
  readonly queueUs: number;
  readonly renderUs: number;
  readonly encodeUs: number;
  readonly triangles: number;
  readonly bytes: number;
}

/** Why bytes are not a message. */
export class DecodeError extends Error {
  constructor(
    readonly reason: "length" | "version" | "type",
    message: string,
  ) {
    super(message);
    this.name = "DecodeError";
  }
}

const HEADER_BYTES = 8;
const LENGTH = { [TYPE.input]: 52, [TYPE.ping]: 16, [TYPE.frame]: 80, [TYPE.pong]: 24 } as const;

export function decodeHeader(bytes: Uint8Array): Header {
  if (bytes.length < HEADER_BYTES) {
    throw new DecodeError("length", `message of ${bytes.length} bytes, expected at least ${HEADER_BYTES}`);
  }
  const view = viewOf(bytes);
  if (view.getUint8(0) !== VERSION) {
    throw new DecodeError("version", `live protocol version ${view.getUint8(0)}, this side speaks ${VERSION}`);
  }
  return { type: view.getUint8(1), flags: view.getUint16(2, true), seq: view.getUint32(4, true) };
}

export function encodeHeader({ type, flags, seq }: Header): Uint8Array<ArrayBuffer> {
  return new Writer(HEADER_BYTES, type, flags, seq).bytes;
}

export function encodeInput(input: Input): Uint8Array<ArrayBuffer> {
  const out = new Writer(LENGTH[TYPE.input], TYPE.input, 0, input.seq);
  out.u64(input.clientTimeUs);
  out.camera(input.camera);
  out.u16(input.width);
  out.u16(input.height);
  return out.bytes;
}

export function decodeInput(bytes: Uint8Array): Input {
  const [header, body] = open(bytes, TYPE.input);
  return {
    seq: header.seq,
    clientTimeUs: body.u64(),
    camera: body.camera(),
    width: body.u16(),
    height: body.u16(),
  };
}

export function encodePing(ping: Ping): Uint8Array<ArrayBuffer> {
  const out = new Writer(LENGTH[TYPE.ping], TYPE.ping, 0, ping.seq);
  out.u64(ping.clientTimeUs);
  return out.bytes;
}

export function decodePing(bytes: Uint8Array): Ping {
  const [header, body] = open(bytes, TYPE.ping);
  return { seq: header.seq, clientTimeUs: body.u64() };
}

export function encodePong(pong: Pong): Uint8Array<ArrayBuffer> {
  const out = new Writer(LENGTH[TYPE.pong], TYPE.pong, 0, pong.seq);
  out.u64(pong.clientTimeUs);
  out.u64(pong.hostTimeUs);
  return out.bytes;
}

export function decodePong(bytes: Uint8Array): Pong {
  const [header, body] = open(bytes, TYPE.pong);
  return { seq: header.seq, clientTimeUs: body.u64(), hostTimeUs: body.u64() };
}

export function encodeFrame(frame: Frame): Uint8Array<ArrayBuffer> {
  const out = new Writer(LENGTH[TYPE.frame], TYPE.frame, frame.flags, frame.frameId);
  out.u32(frame.rtpTime);
  out.u32(frame.inputSeq);
  out.camera(frame.camera);
  out.f32(frame.nearM);
  out.f32(frame.farM);
  out.u16(frame.width);
  out.u16(frame.height);
  for (const number of [frame.queueUs, frame.renderUs, frame.encodeUs, frame.triangles, frame.bytes]) {
    out.u32(number);
  }
  return out.bytes;
}

export function decodeFrame(bytes: Uint8Array): Frame {
  const [header, body] = open(bytes, TYPE.frame);
  return {
    frameId: header.seq,
    flags: header.flags,
    rtpTime: body.u32(),
    inputSeq: body.u32(),
    camera: body.camera(),
    nearM: body.f32(),
    farM: body.f32(),
    width: body.u16(),
    height: body.u16(),
    queueUs: body.u32(),
    renderUs: body.u32(),
    encodeUs: body.u32(),
    triangles: body.u32(),
    bytes: body.u32(),
  };
}

/** Whether sequence number `a` is newer than `b`, both wrapping at 2^32. */
export function isNewer(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

function open(bytes: Uint8Array, type: keyof typeof LENGTH): [Header, Reader] {
  const header = decodeHeader(bytes);
  if (header.type !== type) throw new DecodeError("type", `unexpected message type ${header.type}`);
  if (bytes.length !== LENGTH[type]) {
    throw new DecodeError("length", `message of ${bytes.length} bytes, expected ${LENGTH[type]}`);
  }
  return [header, new Reader(viewOf(bytes))];
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Reads fields from a message whose length was checked before. */
class Reader {
  #at = HEADER_BYTES;
  constructor(readonly view: DataView) {}
  #next(size: number): number {
    this.#at += size;
    return this.#at - size;
  }
  u16 = () => this.view.getUint16(this.#next(2), true);
  u32 = () => this.view.getUint32(this.#next(4), true);
  f32 = () => this.view.getFloat32(this.#next(4), true);
  // Microseconds stay below 2^53 for 285 years.
  u64 = () => Number(this.view.getBigUint64(this.#next(8), true));
  camera(): Camera {
    return {
      eye: [this.f32(), this.f32(), this.f32()],
      orientation: [this.f32(), this.f32(), this.f32(), this.f32()],
      fovY: this.f32(),
    };
  }
}

/** Writes fields behind a header. */
class Writer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;
  constructor(length: number, type: number, flags: number, seq: number) {
    this.bytes = new Uint8Array(length);
    this.#view = viewOf(this.bytes);
    this.#view.setUint8(this.#next(1), VERSION);
    this.#view.setUint8(this.#next(1), type);
    this.u16(flags);
    this.u32(seq);
  }
  #next(size: number): number {
    this.#at += size;
    return this.#at - size;
  }
  u16(value: number): void {
    this.#view.setUint16(this.#next(2), value, true);
  }
  u32(value: number): void {
    this.#view.setUint32(this.#next(4), value, true);
  }
  f32(value: number): void {
    this.#view.setFloat32(this.#next(4), value, true);
  }
  u64(value: number): void {
    this.#view.setBigUint64(this.#next(8), BigInt(Math.max(0, Math.round(value))), true);
  }
  camera(camera: Camera): void {
    for (const number of [...camera.eye, ...camera.orientation, camera.fovY]) this.f32(number);
  }
}
