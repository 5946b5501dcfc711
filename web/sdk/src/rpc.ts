/** Requests and events over the reliable `rpc` channel: a header, then a message of `api/live.proto`. */
import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { ClientMessageSchema, HostMessageSchema, type ClientMessage, type HostMessage } from "./gen/live_pb";
import { decodeHeader, encodeHeader, FLAG_MORE, MAX_MESSAGE_BYTES, MAX_RPC_BYTES, TYPE } from "./live";

/** What a request carries. */
export type RequestBody = NonNullable<MessageInitShape<typeof ClientMessageSchema>["body"]>;
/** What a response or event carries. */
export type HostBody = HostMessage["body"];

/** Why a request has no answer, or a bad one. */
export class RpcError extends Error {
  constructor(
    /** `refused`: the host said no, see `code`. */
    readonly reason: "refused" | "timeout" | "closed" | "tooMany" | "tooLarge" | "unexpected",
    /** The host's code, such as `ModelNotFound`; empty unless refused. */
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = "RpcError";
  }
}

/** At most this many requests may be unanswered: the host's bound. */
export const MAX_IN_FLIGHT = 64;

const HEADER_BYTES = 8;

/** Cuts a message into what fits on the channel. */
export function split(seq: number, message: Uint8Array): Uint8Array<ArrayBuffer>[] {
  const room = MAX_MESSAGE_BYTES - HEADER_BYTES;
  const n = Math.max(1, Math.ceil(message.length / room));
  return Array.from({ length: n }, (_, i) => {
    const part = message.subarray(i * room, (i + 1) * room);
    const out = new Uint8Array(HEADER_BYTES + part.length);
    out.set(encodeHeader({ type: TYPE.rpc, flags: i < n - 1 ? FLAG_MORE : 0, seq }));
    out.set(part, HEADER_BYTES);
    return out;
  });
}

/** Puts the parts of a message together again. */
export class Joiner {
  #parts: Uint8Array[] = [];
  #size = 0;

  /** The whole message when `bytes` completes one. Unknown types are skipped. Throws on nonsense. */
  push(bytes: Uint8Array): Uint8Array | undefined {
    const header = decodeHeader(bytes);
    if (header.type !== TYPE.rpc) return undefined;
    const part = bytes.subarray(HEADER_BYTES);
    this.#parts.push(part);
    this.#size += part.length;
    if (this.#size > MAX_RPC_BYTES || this.#parts.length > MAX_RPC_BYTES / 64) {
      this.#reset();
      throw new RpcError("tooLarge", "", `The host sent a message of more than ${MAX_RPC_BYTES} bytes.`);
    }
    if (header.flags & FLAG_MORE) return undefined;
    const whole = new Uint8Array(this.#size);
    let at = 0;
    for (const piece of this.#parts) {
      whole.set(piece, at);
      at += piece.length;
    }
    this.#reset();
    return whole;
  }

  #reset(): void {
    this.#parts = [];
    this.#size = 0;
  }
}

interface Pending {
  resolve(body: HostBody): void;
  reject(error: RpcError): void;
  timer: ReturnType<typeof setTimeout>;
}

/** Numbers requests and brings their answers back. */
export class Rpc {
  readonly #pending = new Map<number, Pending>();
  readonly #joiner = new Joiner();
  #next = 1;
  #closed = false;

  constructor(
    readonly send: (bytes: Uint8Array<ArrayBuffer>) => void,
    readonly onEvent: (body: HostBody) => void,
  ) {}

  /** Sends a request; rejects with an [`RpcError`] after `timeoutMs` without an answer. */
  call(body: RequestBody, timeoutMs: number): Promise<HostBody> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new RpcError("closed", "", "The connection is closed."));
      if (this.#pending.size >= MAX_IN_FLIGHT) {
        return reject(new RpcError("tooMany", "", `${MAX_IN_FLIGHT} requests are unanswered already.`));
      }
      const request = this.#next;
      const message: ClientMessage = create(ClientMessageSchema, { request, body });
      const bytes = toBinary(ClientMessageSchema, message);
      if (bytes.length > MAX_RPC_BYTES) {
        return reject(new RpcError("tooLarge", "", `A request of ${bytes.length} bytes is too large.`));
      }
      this.#next = this.#next === 0xffff_ffff ? 1 : this.#next + 1;
      const timer = setTimeout(() => {
        this.#pending.delete(request);
        reject(new RpcError("timeout", "", "The host did not answer in time."));
      }, timeoutMs);
      this.#pending.set(request, { resolve, reject, timer });
      try {
        for (const part of split(request, bytes)) this.send(part);
      } catch {
        this.close();
      }
    });
  }

  /** Takes a message from the channel. Throws when it is not one. */
  receive(bytes: Uint8Array): void {
    const whole = this.#joiner.push(bytes);
    if (!whole) return;
    const message = fromBinary(HostMessageSchema, whole);
    if (message.request === 0) return this.onEvent(message.body);
    const pending = this.#pending.get(message.request);
    // An answer after its timeout is nobody's.
    if (!pending) return;
    this.#pending.delete(message.request);
    clearTimeout(pending.timer);
    if (message.body.case === "error") {
      pending.reject(new RpcError("refused", message.body.value.code, message.body.value.message));
    } else {
      pending.resolve(message.body);
    }
  }

  /** Rejects whatever waits. */
  close(): void {
    this.#closed = true;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new RpcError("closed", "", "The connection closed before the host answered."));
    }
    this.#pending.clear();
  }
}
