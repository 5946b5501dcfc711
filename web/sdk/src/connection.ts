/**
 * Runs a connection: the thin shell around `link.ts` that owns the peer connection, its channels and the timers.
 *
 * One object lives through any number of attempts; `link` tells where it is. Every callback comes from the page's
 * event loop, never from inside a call to this object.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  Error as HostError,
  HostMessage,
  LoadProgress,
  Look,
  LookSchema,
  ModelList,
  PickResult,
  SceneInfo,
} from "./gen/live_pb";
import { SessionEnding_Reason } from "./gen/live_pb";
import { step, wakeAt, type Link, type Millis, type News } from "./link";
import * as live from "./live";
import { Meter } from "./meter";
import { RestClient, RestError, type SessionAddress } from "./rest";
import { Rpc, RpcError, type RequestBody } from "./rpc";

/** What a page hears. All optional. */
export interface Listener {
  onLink?(link: Link, before: Link): void;
  /** The scene as the host has it: on connecting and whenever it changes. */
  onScene?(scene: SceneInfo): void;
  onProgress?(progress: LoadProgress): void;
  onFrame?(frame: live.Frame): void;
  /** The host could not do what nobody here asked for, such as showing the operator's model. */
  onHostError?(error: HostError): void;
  /** The first picture from the page's own camera is on the screen. */
  onPicture?(): void;
}

/** When the steps of the newest attempt were done, on the page's clock (`performance.now()`). */
export interface Milestones {
  readonly startedAt?: Millis;
  readonly offeredAt?: Millis;
  readonly answeredAt?: Millis;
  readonly connectedAt?: Millis;
  readonly pictureAt?: Millis;
}

/** What the browser's own counters say about the video. */
export interface VideoStatistics {
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  readonly framesDecoded: number;
  readonly framesDropped: number;
  readonly freezes: number;
  readonly packetsLost: number;
  readonly bytesReceived: number;
  /** Of all frames so far. */
  readonly decodeMsMean: number;
  readonly jitterBufferMsMean: number;
  /** Of the media path, if it was measured. */
  readonly roundTripMs: number | undefined;
}

/** Two inputs are at least this far apart: 120 a second, with room for timers that fire early. */
const INPUT_GAP_MS = 7;
/** `input` may lose messages: the newest is repeated until a frame shows it, so often at most. */
const REPEAT_MS = 100;
const MAX_REPEATS = 20;
const PING_MS = 1_000;
/** Picking and listing are quick. */
const CALL_MS = 10_000;
/** Large models take their time; progress events show that the host is at it. */
const LOAD_MS = 600_000;

interface View {
  readonly camera: live.Camera;
  readonly width: number;
  readonly height: number;
}

interface Peer {
  readonly pc: RTCPeerConnection;
  readonly input: RTCDataChannel;
  readonly rpc: Rpc;
  location: string;
  /** RTP time of the newest picture on the screen. */
  shownRtpTime: number | undefined;
}

/** Waits for an input to be on the screen. */
interface Mark {
  readonly seq: number;
  /** Of the first frame that shows the input. */
  rtpTime: number | undefined;
  readonly resolve: (at: Millis) => void;
}

/** The oldest are dropped. */
const MAX_MARKS = 64;

export class Connection {
  readonly rest: RestClient;
  readonly meter = new Meter();
  #link: Link = { phase: "idle" };
  #peer: Peer | undefined;
  #video: HTMLVideoElement | undefined;
  #stream: MediaStream | undefined;
  #milestones: Milestones = {};
  #wake: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;
  #pingSeq = 0;
  #fetching = false;

  #view: View | undefined;
  #seq = 0;
  #sentAt: Millis = -Infinity;
  #inputTimer: ReturnType<typeof setTimeout> | undefined;
  #repeats = 0;
  #shownSeq = 0;
  #lastFrame: live.Frame | undefined;
  #marks: Mark[] = [];

  constructor(
    address: SessionAddress,
    readonly listener: Listener = {},
    fetch?: typeof globalThis.fetch,
  ) {
    this.rest = new RestClient(address, fetch);
    globalThis.addEventListener?.("pagehide", () => this.leave());
  }

  get link(): Link {
    return this.#link;
  }

  get milestones(): Milestones {
    return this.#milestones;
  }

  /** What came with the newest frame. */
  get lastFrame(): live.Frame | undefined {
    return this.#lastFrame;
  }

  /** Sequence number of the newest input. */
  get inputSeq(): number {
    return this.#seq;
  }

  /** Connects, or tries again after an end. */
  start(): void {
    this.#milestones = { startedAt: performance.now() };
    this.#news({ kind: "start" });
  }

  /** Leaves, and frees the place for another client. */
  leave(): void {
    this.#news({ kind: "leave" });
  }

  /** Shows the stream in a video element. */
  attach(video: HTMLVideoElement): void {
    this.#video = video;
    if (this.#stream) video.srcObject = this.#stream;
    const watch = (_now: number, metadata: VideoFrameCallbackMetadata): void => {
      video.requestVideoFrameCallback(watch);
      const { rtpTimestamp, expectedDisplayTime } = metadata;
      if (rtpTimestamp !== undefined) this.meter.presented(performance.now(), expectedDisplayTime, rtpTimestamp);
      if (!this.#peer) return;
      // A browser that does not tell RTP times shows what arrived last, near enough.
      this.#peer.shownRtpTime = rtpTimestamp ?? this.#lastFrame?.rtpTime;
      this.#checkMarks();
    };
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(watch);
  }

  /**
   * From where to render, and how large. The newest call wins.
   * @param at When the person did it (`event.timeStamp`), for the measured latency.
   */
  setView(camera: live.Camera, width: number, height: number, at: Millis = performance.now()): void {
    const view = { camera, width, height };
    // The host makes no new frame for what it shows already, and so would never answer the new number.
    if (this.#view && sameView(this.#view, view)) return;
    this.#view = view;
    this.#seq = (this.#seq + 1) >>> 0;
    this.#repeats = 0;
    this.meter.sent(this.#seq, at);
    const wait = this.#sentAt + INPUT_GAP_MS - performance.now();
    if (wait <= 0) this.#sendInput();
    else {
      clearTimeout(this.#inputTimer);
      this.#inputTimer = setTimeout(() => this.#sendInput(), wait);
    }
  }

  /** Resolves when a picture made with the input `seq` (or a newer one) is on the screen, with the time. */
  whenShown(seq = this.#seq): Promise<Millis> {
    return new Promise((resolve) => {
      this.#marks.push({ seq, rtpTime: undefined, resolve });
      if (this.#marks.length > MAX_MARKS) this.#marks.shift();
    });
  }

  /** Replaces the scene. The old one stays when this rejects. */
  async loadModel(source: string): Promise<SceneInfo> {
    const body = await this.#call({ case: "loadModel", value: { source } }, LOAD_MS);
    if (body.case === "scene") return body.value;
    throw unexpected(body);
  }

  /** What is under a point of the picture? From the left and top edges, 0 to 1. */
  async pick(x: number, y: number): Promise<PickResult> {
    const body = await this.#call({ case: "pick", value: { x, y } }, CALL_MS);
    if (body.case === "pick") return body.value;
    throw unexpected(body);
  }

  /** Lights the scene so until the connection ends; what is left out is the default. Resolves when the host has it. */
  async setLook(look: MessageInitShape<typeof LookSchema>): Promise<Look> {
    const body = await this.#call({ case: "setLook", value: look }, CALL_MS);
    if (body.case === "look") return body.value;
    throw unexpected(body);
  }

  async listModels(): Promise<ModelList> {
    const body = await this.#call({ case: "listModels", value: {} }, CALL_MS);
    if (body.case === "models") return body.value;
    throw unexpected(body);
  }

  async videoStatistics(): Promise<VideoStatistics | undefined> {
    const report = await this.#peer?.pc.getStats();
    if (!report) return undefined;
    // The library's types leave the members of each kind of statistics open.
    const all = [...report.values()] as Record<string, unknown>[];
    const video = all.find((entry) => entry["type"] === "inbound-rtp" && entry["kind"] === "video");
    if (!video) return undefined;
    const codec = all.find((entry) => entry["id"] === video["codecId"]);
    const pair = all.find((entry) => entry["type"] === "candidate-pair" && entry["nominated"] === true);
    const number = (name: string): number => (typeof video[name] === "number" ? video[name] : 0);
    const mean = (sum: string, n: string): number => (number(n) > 0 ? (number(sum) * 1000) / number(n) : 0);
    const rtt = pair?.["currentRoundTripTime"];
    return {
      codec: typeof codec?.["mimeType"] === "string" ? codec["mimeType"].replace("video/", "") : "",
      width: number("frameWidth"),
      height: number("frameHeight"),
      framesDecoded: number("framesDecoded"),
      framesDropped: number("framesDropped"),
      freezes: number("freezeCount"),
      packetsLost: number("packetsLost"),
      bytesReceived: number("bytesReceived"),
      decodeMsMean: mean("totalDecodeTime", "framesDecoded"),
      jitterBufferMsMean: mean("jitterBufferDelay", "jitterBufferEmittedCount"),
      roundTripMs: typeof rtt === "number" ? rtt * 1000 : undefined,
    };
  }

  #news(news: News): void {
    const before = this.#link;
    const now = performance.now();
    const [link, commands] = step(now, before, news);
    this.#link = link;
    for (const command of commands) {
      switch (command) {
        case "fetchSession":
          void this.#fetchSession();
          break;
        case "offer":
          void this.#offer();
          break;
        case "hangUp":
          this.#hangUp();
          break;
      }
    }
    clearTimeout(this.#wake);
    const at = wakeAt(now, this.#link);
    if (at !== undefined) this.#wake = setTimeout(() => this.#news({ kind: "tick" }), Math.max(0, at - now));
    if (link.phase !== before.phase || ("session" in link && "session" in before && link.session !== before.session)) {
      this.listener.onLink?.(link, before);
    }
  }

  async #fetchSession(): Promise<void> {
    if (this.#fetching) return;
    this.#fetching = true;
    let news: News;
    try {
      news = { kind: "session", session: await this.rest.session(AbortSignal.timeout(CALL_MS)) };
    } catch (error) {
      news = failure(error);
    }
    this.#fetching = false;
    this.#news(news);
  }

  async #offer(): Promise<void> {
    const codecs = h264Codecs();
    if (typeof RTCPeerConnection === "undefined" || codecs.length === 0) {
      const missing = typeof RTCPeerConnection === "undefined" ? "It has no WebRTC." : "It cannot decode H.264 video.";
      // Not from inside `#news`: the state that asked for the offer must be in place first.
      queueMicrotask(() => this.#news({ kind: "failed", problem: { reason: "unsupported", message: missing } }));
      return;
    }
    const pc = new RTCPeerConnection();
    const transceiver = pc.addTransceiver("video", { direction: "recvonly" });
    transceiver.setCodecPreferences?.(codecs);
    // The host asks for a playout delay of 0 as well, which is what counts in Chromium.
    if ("jitterBufferTarget" in transceiver.receiver) transceiver.receiver.jitterBufferTarget = 0;
    const newest: RTCDataChannelInit = { ordered: false, maxRetransmits: 0 };
    const [input, frame, rpcChannel] = [
      pc.createDataChannel("input", newest),
      pc.createDataChannel("frame", newest),
      pc.createDataChannel("rpc"),
    ];
    const channels = [input, frame, rpcChannel];
    const rpc = new Rpc(
      (bytes) => rpcChannel.send(bytes),
      (body) => this.#event(body),
    );
    const peer: Peer = { pc, input, rpc, location: "", shownRtpTime: undefined };
    this.#peer = peer;
    // News of a peer that was replaced is no news.
    const news = (news: News): void => {
      if (this.#peer === peer) this.#news(news);
    };

    for (const channel of channels) {
      channel.binaryType = "arraybuffer";
      channel.onopen = () => {
        if (!channels.every((each) => each.readyState === "open")) return;
        this.#milestones = { ...this.#milestones, connectedAt: performance.now() };
        this.#shownSeq = 0;
        this.#lastFrame = undefined;
        void this.whenShown((this.#seq + (this.#view ? 0 : 1)) >>> 0).then((at) => {
          if (this.#peer !== peer) return;
          this.#milestones = { ...this.#milestones, pictureAt: at };
          this.listener.onPicture?.();
        });
        news({ kind: "connected" });
        if (this.#peer !== peer) return;
        this.#ping();
        this.#pings = setInterval(() => this.#ping(), PING_MS);
        if (this.#view) this.#sendInput();
      };
      channel.onclose = () => news({ kind: "lost" });
    }
    frame.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (data instanceof ArrayBuffer && this.#peer === peer) this.#frame(new Uint8Array(data));
    };
    rpcChannel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (!(data instanceof ArrayBuffer) || this.#peer !== peer) return;
      news({ kind: "heard" });
      try {
        rpc.receive(new Uint8Array(data));
      } catch (error) {
        console.warn("belvedere: bad message on rpc:", error);
        news({ kind: "lost" });
      }
    };
    pc.ontrack = ({ track, streams }) => {
      this.#stream = streams[0] ?? new MediaStream([track]);
      if (this.#video) this.#video.srcObject = this.#stream;
    };
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "failed" || pc.connectionState === "closed") news({ kind: "lost" });
    };

    try {
      await pc.setLocalDescription();
      // Candidates are not waited for: the host learns our address from the first packet.
      this.#milestones = { ...this.#milestones, offeredAt: performance.now() };
      const accepted = await this.rest.connect(pc.localDescription?.sdp ?? "");
      peer.location = accepted.location;
      if (this.#peer !== peer) {
        // Given up meanwhile, and accepted nevertheless: free the place.
        void this.rest.disconnect(accepted.location).catch(() => undefined);
        return;
      }
      this.#milestones = { ...this.#milestones, answeredAt: performance.now() };
      await pc.setRemoteDescription({ type: "answer", sdp: accepted.answer });
    } catch (error) {
      news(failure(error));
    }
  }

  #hangUp(): void {
    const peer = this.#peer;
    if (!peer) return;
    this.#peer = undefined;
    clearInterval(this.#pings);
    clearTimeout(this.#inputTimer);
    // An offer in flight is let through: its answer names what to DELETE. A closing page cannot wait for it.
    peer.rpc.close();
    peer.pc.close();
    void this.rest.disconnect(peer.location).catch(() => undefined);
  }

  #event(body: HostMessage["body"]): void {
    switch (body.case) {
      case "scene":
        this.listener.onScene?.(body.value);
        break;
      case "progress":
        this.listener.onProgress?.(body.value);
        break;
      case "error":
        this.listener.onHostError?.(body.value);
        break;
      case "ending":
        this.#news({ kind: "ending", reason: endingReason(body.value.reason) });
        break;
    }
  }

  #frame(bytes: Uint8Array): void {
    const now = performance.now();
    this.#news({ kind: "heard" });
    try {
      const { type } = live.decodeHeader(bytes);
      if (type === live.TYPE.pong) this.meter.pong(now, live.decodePong(bytes));
      if (type !== live.TYPE.frame) return;
      const frame = live.decodeFrame(bytes);
      this.meter.frame(now, frame);
      if (live.isNewer(frame.inputSeq, this.#shownSeq)) this.#shownSeq = frame.inputSeq;
      // The channel is unordered.
      if (this.#lastFrame && live.isNewer(this.#lastFrame.frameId, frame.frameId)) return;
      this.#lastFrame = frame;
      for (const mark of this.#marks) {
        if (mark.rtpTime === undefined && !live.isNewer(mark.seq, frame.inputSeq)) mark.rtpTime = frame.rtpTime;
      }
      this.#checkMarks();
      this.listener.onFrame?.(frame);
    } catch (error) {
      console.warn("belvedere: bad message on frame:", error);
    }
  }

  #checkMarks(): void {
    const shown = this.#peer?.shownRtpTime;
    // Without a way to learn what is on the screen, arrival has to do.
    const blind = this.#video !== undefined && !("requestVideoFrameCallback" in this.#video);
    const now = performance.now();
    this.#marks = this.#marks.filter(({ rtpTime, resolve }) => {
      if (rtpTime === undefined) return true;
      if (!blind && (shown === undefined || live.isNewer(rtpTime, shown))) return true;
      resolve(now);
      return false;
    });
  }

  #sendInput(): void {
    const peer = this.#peer;
    const view = this.#view;
    clearTimeout(this.#inputTimer);
    if (!peer || !view || peer.input.readyState !== "open") return;
    const now = performance.now();
    this.#sentAt = now;
    peer.input.send(live.encodeInput({ seq: this.#seq, clientTimeUs: now * 1000, ...view }));
    this.#inputTimer = setTimeout(() => {
      if (!live.isNewer(this.#seq, this.#shownSeq) || this.#repeats >= MAX_REPEATS) return;
      this.#repeats += 1;
      this.#sendInput();
    }, REPEAT_MS);
  }

  #ping(): void {
    if (this.#peer?.input.readyState !== "open") return;
    this.#pingSeq = (this.#pingSeq + 1) >>> 0;
    this.#peer.input.send(live.encodePing({ seq: this.#pingSeq, clientTimeUs: performance.now() * 1000 }));
  }

  #call(body: RequestBody, timeoutMs: number): Promise<HostMessage["body"]> {
    if (!this.#peer || this.#link.phase !== "live") {
      return Promise.reject(new RpcError("closed", "", "There is no connection."));
    }
    return this.#peer.rpc.call(body, timeoutMs);
  }
}

function sameView(a: View, b: View): boolean {
  const numbers = ({ camera: { eye, orientation, fovY }, width, height }: View): number[] => [
    ...eye, ...orientation, fovY, width, height,
  ];
  const other = numbers(b);
  // As the host gets them: in single precision.
  return numbers(a).every((number, i) => Math.fround(number) === Math.fround(other[i] ?? NaN));
}

/** H.264 as the host sends it (packetization mode 1, constrained baseline first), and its retransmissions. */
function h264Codecs(): RTCRtpCodec[] {
  const codecs = globalThis.RTCRtpReceiver?.getCapabilities?.("video")?.codecs ?? [];
  const h264 = codecs.filter(
    ({ mimeType, sdpFmtpLine }) => mimeType.toLowerCase() === "video/h264" && sdpFmtpLine?.includes("packetization-mode=1"),
  );
  const rank = (codec: RTCRtpCodec): number => (/profile-level-id=42e0/i.test(codec.sdpFmtpLine ?? "") ? 0 : 1);
  h264.sort((a, b) => rank(a) - rank(b));
  return h264.length === 0 ? [] : [...h264, ...codecs.filter(({ mimeType }) => mimeType.toLowerCase() === "video/rtx")];
}

function failure(error: unknown): News {
  const problem =
    error instanceof RestError
      ? { reason: error.reason, message: error.message }
      : { reason: "other" as const, message: error instanceof Error ? error.message : String(error) };
  return { kind: "failed", problem };
}

function endingReason(reason: SessionEnding_Reason): "leaseExpired" | "stopped" | "shutdown" | "replaced" {
  switch (reason) {
    case SessionEnding_Reason.LEASE_EXPIRED:
      return "leaseExpired";
    case SessionEnding_Reason.STOPPED:
      return "stopped";
    case SessionEnding_Reason.REPLACED:
      return "replaced";
    case SessionEnding_Reason.SHUTDOWN:
    case SessionEnding_Reason.REASON_UNSPECIFIED:
      return "shutdown";
  }
}

function unexpected(body: HostMessage["body"]): RpcError {
  return new RpcError("unexpected", "", `The host answered with ${body.case ?? "nothing"}.`);
}
