/**
 * A session host in the page, for work on the page itself: `npm run dev`, then `?mock=1`. Never in a build.
 *
 * Answers the two requests that a connection makes; the other end of the peer connection draws boxes on a canvas.
 * `?mock=inUse`, `?mock=Expired`, `?mock=Starting` … show the other states.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { live, type Camera, type Vec3 } from "@belvedere/sdk";
import { ClientMessageSchema, HostMessageSchema, type HostMessage } from "../../sdk/src/gen/live_pb";
import { Joiner, split } from "../../sdk/src/rpc";

const json = (status: number, value: object): Response => Response.json(value, { status });

export function mockFetch(query: URLSearchParams): typeof fetch {
  const kind = query.get("mock") ?? "";
  return async (url, init) => {
    const { pathname } = new URL(String(url));
    if (init?.method === "DELETE") return new Response(null, { status: 204 });
    if (pathname.endsWith("/connection")) {
      if (kind === "inUse") return json(409, { error: { code: "ConnectionInUse", message: "" } });
      return new Response(await answer(String(init?.body)), { status: 201, headers: { Location: `${pathname}/1` } });
    }
    if (kind === "401") return json(401, { error: { code: "Unauthorized", message: "The signature does not match." } });
    if (kind === "404") return json(404, { error: { code: "NotFound", message: "" } });
    const status = ["Starting", "Stopped", "Expired", "Error"].find((name) => name === kind) ?? "Ready";
    return json(200, {
      id: "mock",
      status,
      size: "Standard",
      creationTime: "2026-11-21T23:12:01+00:00",
      elapsedTimeMinutes: 17,
      maxLeaseTimeMinutes: 60,
      ...(status === "Error" ? { error: { code: "HostLost", message: "The host process was ended by signal 9." } } : {}),
    });
  };
}

type Box = readonly [min: Vec3, max: Vec3, hue: string];
/** A pavilion on steps. */
const BOXES: Box[] = [
  [[-4, -0.4, -4], [4, 0, 4], "90 12"],
  [[-2.4, 0, -2.4], [2.4, 0.3, 2.4], "40 8"],
  ...[-1.9, 1.5].flatMap((x): Box[] => [-1.9, 1.5].map((z): Box => [[x, 0.3, z], [x + 0.4, 3, z + 0.4], "38 16"])),
  [[-2.3, 3, -2.3], [2.3, 3.4, 2.3], "24 30"],
  [[-1.5, 3.4, -1.5], [1.5, 3.9, 1.5], "22 34"],
  [[-0.4, 3.9, -0.4], [0.4, 4.8, 0.4], "40 70"],
];

function draw(context: CanvasRenderingContext2D, { eye, orientation: [qx, qy, qz, qw], fovY }: Camera): void {
  const { width, height } = context.canvas;
  const sky = context.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, "#3a4149");
  sky.addColorStop(1, "#1b1e22");
  context.fillStyle = sky;
  context.fillRect(0, 0, width, height);
  const rows = [
    [1 - 2 * (qy * qy + qz * qz), 2 * (qx * qy + qw * qz), 2 * (qx * qz - qw * qy)],
    [2 * (qx * qy - qw * qz), 1 - 2 * (qx * qx + qz * qz), 2 * (qy * qz + qw * qx)],
    [2 * (qx * qz + qw * qy), 2 * (qy * qz - qw * qx), 1 - 2 * (qx * qx + qy * qy)],
  ] as const;
  const f = height / 2 / Math.tan(fovY / 2);
  const place = (p: Vec3): Vec3 => {
    const d = [p[0] - eye[0], p[1] - eye[1], p[2] - eye[2]] as const;
    const [x, y, z] = rows.map((row) => row[0] * d[0] + row[1] * d[1] + row[2] * d[2]) as [number, number, number];
    return [width / 2 + (x * f) / -z, height / 2 - (y * f) / -z, -z];
  };
  const faces = BOXES.flatMap(([min, max, hue]) =>
    [0, 1, 2].flatMap((axis) =>
      [min, max].flatMap((side, sign) => {
        // Facing away?
        if (sign === 1 ? eye[axis]! <= max[axis]! : eye[axis]! >= min[axis]!) return [];
        const corners = [0, 1, 3, 2].map((bits): Vec3 => {
          const p: [number, number, number] = [0, 0, 0];
          p[axis] = side[axis]!;
          p[(axis + 1) % 3] = (bits & 1 ? max : min)[(axis + 1) % 3]!;
          p[(axis + 2) % 3] = (bits & 2 ? max : min)[(axis + 2) % 3]!;
          return p;
        });
        const light = [0.62, 0.9, sign ? 0.75 : 0.4][axis]!;
        const points = corners.map(place);
        return [{ points, depth: points.reduce((sum, p) => sum + p[2], 0), color: `hsl(${hue.replace(" ", " ")}% ${light * 62}%)` }];
      }),
    ),
  );
  faces.sort((a, b) => b.depth - a.depth);
  for (const { points, color } of faces) {
    if (points.some((p) => p[2] < 0.05)) continue;
    context.fillStyle = color;
    context.beginPath();
    points.forEach((p, i) => (i === 0 ? context.moveTo(p[0], p[1]) : context.lineTo(p[0], p[1])));
    context.fill();
  }
}

async function answer(offer: string): Promise<string> {
  const pc = new RTCPeerConnection();
  const canvas = Object.assign(document.createElement("canvas"), { width: 1280, height: 720 });
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const stream = canvas.captureStream();
  const channels: Record<string, RTCDataChannel> = {};
  const revision = { current: 1 };
  let frameId = 0;
  let inputSeq = 0;

  const say = (request: number, message: object): void => {
    const bytes = toBinary(HostMessageSchema, create(HostMessageSchema, { request, body: message as HostMessage["body"] }));
    for (const part of split(request, bytes)) channels["rpc"]?.send(part);
  };
  const scene = (source: string): object => ({
    case: "scene",
    value: {
      revision: revision.current,
      source,
      boundsMin: { x: -4, y: -0.4, z: -4 },
      boundsMax: { x: 4, y: 4.8, z: 4 },
      triangles: 1_204_316n,
    },
  });
  const render = (input: live.Input): void => {
    if (!live.isNewer(input.seq, inputSeq)) return;
    inputSeq = input.seq;
    if (canvas.width !== input.width || canvas.height !== input.height) Object.assign(canvas, { width: input.width, height: input.height });
    const began = performance.now();
    draw(context, input.camera);
    newest = input.camera;
    frameId += 1;
    const renderUs = Math.round((performance.now() - began) * 1000);
    const { camera, width, height } = input;
    channels["frame"]?.send(
      live.encodeFrame({
        frameId,
        flags: 0,
        rtpTime: frameId,
        inputSeq,
        camera,
        nearM: 0.1,
        farM: 100,
        width,
        height,
        queueUs: 80,
        renderUs,
        encodeUs: 2_400,
        triangles: 84_213,
        bytes: 9_000,
      }),
    );
  };
  const joiner = new Joiner();
  const request = async (bytes: Uint8Array): Promise<void> => {
    const whole = joiner.push(bytes);
    if (!whole) return;
    const message = fromBinary(ClientMessageSchema, whole);
    switch (message.body.case) {
      case "listModels":
        return say(message.request, {
          case: "models",
          value: { sources: ["builtin://demo", "machines/2CylinderEngine.glb", "machines/broken.glb", "spot.obj"] },
        });
      case "setLook":
        return say(message.request, { case: "look", value: message.body.value });
      case "pick":
        return say(message.request, { case: "pick", value: { hit: true, position: { x: 0, y: 4, z: 0 }, node: "lantern" } });
      case "loadModel": {
        const { source } = message.body.value;
        for (let i = 0; i < 8; i += 1) {
          say(0, { case: "progress", value: { source, fraction: i / 8, stage: "reading" } });
          await new Promise((resolve) => setTimeout(resolve, 80));
        }
        if (source.includes("broken")) {
          const text = "The file ends in the middle of its mesh data: the buffer view 3 needs 4096 bytes, 1200 are there.";
          return say(message.request, { case: "error", value: { code: "ModelInvalid", message: text } });
        }
        revision.current += 1;
        return say(message.request, scene(source));
      }
    }
  };

  for (const track of stream.getTracks()) {
    track.contentHint = "detail";
    pc.addTrack(track, stream);
  }
  // The encoder of a call sharpens only while frames come.
  let newest: Camera | undefined;
  setInterval(() => newest && draw(context, newest), 100);
  pc.ondatachannel = ({ channel }) => {
    channel.binaryType = "arraybuffer";
    channels[channel.label] = channel;
    channel.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
      const bytes = new Uint8Array(data);
      if (channel.label === "rpc") return void request(bytes);
      if (live.decodeHeader(bytes).type === live.TYPE.ping) {
        const ping = live.decodePing(bytes);
        channels["frame"]?.send(live.encodePong({ ...ping, hostTimeUs: 0 }));
      } else {
        render(live.decodeInput(bytes));
      }
    };
    if (channel.label === "rpc") {
      const greet = (): void => say(0, scene("builtin://demo"));
      if (channel.readyState === "open") greet();
      else channel.onopen = greet;
    }
  };
  await pc.setRemoteDescription({ type: "offer", sdp: offer });
  await pc.setLocalDescription();
  await new Promise<void>((resolve) => {
    if (pc.iceGatheringState === "complete") resolve();
    pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && resolve();
  });
  return pc.localDescription?.sdp ?? "";
}
