/** What a person reads: each state in words they can act on. */
import type { EndReason, Link } from "@belvedere/sdk";

export interface Words {
  readonly title: string;
  readonly text: string;
  /** What the host or service said, verbatim. */
  readonly detail?: string;
  /** `retry`: trying again may help. `another`: only another session or token will. */
  readonly action?: "retry" | "another";
  /** Something is under way. */
  readonly busy?: true;
}

/** Undefined when the picture speaks for itself. */
export function wordsFor(link: Link): Words | undefined {
  switch (link.phase) {
    case "idle":
    case "live":
      return undefined;
    case "checking":
    case "connecting":
      return link.attempt > 0
        ? { title: "Reconnecting", text: "The connection was interrupted.", busy: true }
        : { title: "Connecting", text: "", busy: true };
    case "waiting":
      return { title: "Getting the session ready", text: "It has no host yet. This page connects as soon as it has one.", busy: true };
    case "ended": {
      const words = ENDED[link.reason];
      return link.message === "" || !VERBATIM.has(link.reason) ? words : { ...words, detail: link.message };
    }
  }
}

/** While a model is loaded and there is nothing to look at yet. */
export function wordsForOpening(source: string, stage: string): Words {
  return { title: `Opening ${modelName(source).name}`, text: stage, busy: true };
}

/** Ends about which the other side knows more than we do; its words are shown too. */
const VERBATIM = new Set<EndReason>(["hostFailed", "hostUnavailable", "forbidden", "noCodec", "unsupported", "other"]);

const ENDED: Record<EndReason, Words> = {
  leaseExpired: {
    title: "The lease has run out",
    text: "The session’s time is over and its host was released. Start a new session to go on.",
    action: "another",
  },
  stopped: { title: "The session was stopped", text: "Somebody ended it. Start a new session to go on.", action: "another" },
  hostFailed: {
    title: "The session ended unexpectedly",
    text: "Its host stopped working. What it showed is lost; start a new session to go on.",
    action: "another",
  },
  shutdown: { title: "The service is shutting down", text: "The host said goodbye. Try again in a moment.", action: "retry" },
  replaced: { title: "Another client took over", text: "It controls this session now.", action: "retry" },
  inUse: {
    title: "Another client is connected",
    text: "Another client is connected to this session, and only one at a time can control it. Try again when it has left.",
    action: "retry",
  },
  unauthorized: {
    title: "The access token was refused",
    text: "It is not valid for this account. Open a fresh link, or paste another token.",
    action: "another",
  },
  tokenExpired: { title: "The access token has expired", text: "Open a fresh link, or paste a new token.", action: "another" },
  forbidden: { title: "No access to this session", text: "The access token does not allow connecting to it.", action: "another" },
  sessionNotFound: {
    title: "There is no such session",
    text: "It may have ended a while ago, or the link is not complete.",
    action: "another",
  },
  unreachable: { title: "The service cannot be reached", text: "Check that it runs, and your network, then try again.", action: "retry" },
  hostUnavailable: {
    title: "The session’s host does not answer",
    text: "It may be busy or restarting. Try again in a moment.",
    action: "retry",
  },
  noCodec: {
    title: "No video format in common",
    text: "This browser and the host share no video format. Try a current Chrome, Edge or Safari.",
    action: "retry",
  },
  timeout: {
    title: "No path for the video",
    text: "The host answered, but no direct connection could be opened. A firewall may block UDP between this computer and the host.",
    action: "retry",
  },
  unsupported: {
    title: "This browser cannot show the stream",
    text: "It lacks something that is needed. Try a current Chrome, Edge or Safari; in Firefox, allow the OpenH264 plugin.",
  },
  left: { title: "You left the session", text: "It goes on until its lease ends.", action: "retry" },
  other: { title: "The connection was refused", text: "", action: "retry" },
};

/** A model's source as people name it: the file, and the folder it is in. */
export function modelName(source: string): { name: string; folder: string } {
  if (source === "builtin://demo") return { name: "Demo", folder: "built in" };
  const cut = source.lastIndexOf("/");
  return { name: source.slice(cut + 1), folder: cut > 0 ? source.slice(0, cut) : "" };
}

/** Why a model could not be shown. */
export function refusalTitle(code: string, source: string): string {
  const { name } = modelName(source);
  switch (code) {
    case "ModelNotFound":
      return `There is no model “${name}”`;
    case "ModelTooLarge":
      return `“${name}” is too large for this session`;
    case "Busy":
      return "The host is still loading another model";
    default:
      return `“${name}” could not be shown`;
  }
}

/** Whole numbers with thin spaces, as in 1 234 567. */
export function count(n: number | bigint): string {
  return n.toLocaleString("en").replaceAll(",", "\u2009");
}

/** How fine pictures in motion are, by `live.stepOf`. */
export function quality(step: number): string {
  return ["full", "less detail", "¾ size in motion", "½ size in motion"][step] ?? "½ size, fewer frames in motion";
}
