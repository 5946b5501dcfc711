/** The statistics over the picture. */
import { type Connection, live, type Quantiles, type SceneInfo } from "@belvedere/sdk";
import { show } from "./dom";
import { count, quality } from "./words";

const EVERY_MS = 500;

export class Overlay {
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    readonly panel: HTMLElement,
    readonly button: HTMLElement,
    readonly connection: Connection,
    readonly scene: () => SceneInfo | undefined,
  ) {}

  toggle(): void {
    const open = this.panel.hidden !== false;
    show(this.panel, open);
    this.button.setAttribute("aria-pressed", String(open));
    clearInterval(this.#timer);
    if (open) {
      void this.#update();
      this.#timer = setInterval(() => void this.#update(), EVERY_MS);
    }
  }

  async #update(): Promise<void> {
    const summary = this.connection.meter.summary(performance.now());
    const video = await this.connection.videoStatistics();
    const frame = this.connection.lastFrame;
    const scene = this.scene();
    const moving = summary.framesPerSecond > 0;
    const rows: [string, string][][] = [
      [
        ["Frames", moving ? `${summary.framesPerSecond.toFixed(0)} / s` : "at rest"],
        ["Bit rate", moving ? `${(summary.kilobitsPerSecond / 1000).toFixed(1)} Mbit/s` : "0"],
        ["Quality", frame ? quality(live.stepOf(frame)) : "–"],
        ["Picture", video && video.width > 0 ? `${video.width} × ${video.height} ${video.codec}` : "–"],
      ],
      [
        ["Input to frame", both(summary.inputToFrameMs)],
        ["Input to picture", both(summary.inputToPictureMs)],
        ["Input to screen", both(summary.inputToPhotonMs)],
        ["Round trip", ms(summary.roundTripMs)],
        ["Decode", ms(video?.decodeMsMean)],
      ],
      [
        ["Render", both(summary.renderMs)],
        ["Encode", both(summary.encodeMs)],
        ["Triangles drawn", frame ? count(frame.triangles) : "–"],
        ["Triangles in the model", scene ? count(scene.triangles) : "–"],
      ],
    ];
    const list = document.createElement("dl");
    rows.forEach((group, i) => {
      if (i > 0) list.append(Object.assign(document.createElement("div"), { className: "rule" }));
      for (const [name, value] of group) {
        list.append(
          Object.assign(document.createElement("dt"), { textContent: name }),
          Object.assign(document.createElement("dd"), { textContent: value }),
        );
      }
    });
    this.panel.replaceChildren(list);
  }
}

/** Median, and what 19 of 20 stay below. */
function both(quantiles: Quantiles | undefined): string {
  return quantiles ? `${quantiles.p50.toFixed(1)} · ${quantiles.p95.toFixed(1)} ms` : "–";
}
function ms(number: number | undefined): string {
  return number === undefined ? "–" : `${number.toFixed(1)} ms`;
}
