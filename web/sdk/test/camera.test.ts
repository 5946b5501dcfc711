import { describe, expect, it } from "vitest";
import { blend, cameraOf, fit, FOV_Y, frameCamera, orbitBy, panBy, VIEWS, zoomBy, zoomRange, type Bounds, type Orbit } from "../src/camera";
import type { Vec3 } from "../src/live";

const bounds: Bounds = { min: [-1, 0, -2], max: [3, 4, 2] };
const orbit: Orbit = { target: [1, 2, 3], yaw: 0.4, pitch: 0.3, distance: 5, fovY: FOV_Y };

/** NDC of a world point, from first principles: the inverse rotation of a quaternion is its conjugate. */
function project(o: Orbit, aspect: number, point: Vec3): [number, number] {
  const { eye, orientation: [qx, qy, qz, qw], fovY } = cameraOf(o);
  const [x, y, z] = [point[0] - eye[0], point[1] - eye[1], point[2] - eye[2]];
  const m = [
    [1 - 2 * (qy * qy + qz * qz), 2 * (qx * qy - qw * qz), 2 * (qx * qz + qw * qy)],
    [2 * (qx * qy + qw * qz), 1 - 2 * (qx * qx + qz * qz), 2 * (qy * qz - qw * qx)],
    [2 * (qx * qz - qw * qy), 2 * (qy * qz + qw * qx), 1 - 2 * (qx * qx + qy * qy)],
  ] as const;
  const view = [0, 1, 2].map((i) => m[0][i]! * x + m[1][i]! * y + m[2][i]! * z) as [number, number, number];
  const tan = Math.tan(fovY / 2);
  return [view[0] / (-view[2] * tan * aspect), view[1] / (-view[2] * tan)];
}
const close = (actual: readonly number[], expected: readonly number[]): void => {
  expect(actual).toHaveLength(expected.length);
  actual.forEach((value, i) => expect(value).toBeCloseTo(expected[i] as number, 9));
};

describe("the starting camera", () => {
  it("follows the formula shared with the host", () => {
    const { eye, fovY } = cameraOf(frameCamera(bounds, 16 / 9));
    const d = 9.209181606413418;
    const [yaw, pitch] = [(35 * Math.PI) / 180, (20 * Math.PI) / 180];
    close(eye, [
      1 + d * Math.sin(yaw) * Math.cos(pitch),
      2 + d * Math.sin(pitch),
      d * Math.cos(yaw) * Math.cos(pitch),
    ]);
    expect(fovY).toBeCloseTo(0.7853982, 6);
    close(project(frameCamera(bounds, 16 / 9), 16 / 9, [1, 2, 0]), [0, 0]);
  });

  // The same numbers are in crates/render/src/view.rs.
  it.each([
    { half: [2, 2, 2], aspect: 16 / 9, distance: 9.209181606413418 },
    { half: [1, 5, 1], aspect: 0.5, distance: 20.17706752059712 },
    { half: [0.1, 0.1, 10], aspect: 16 / 9, distance: 20.580424430591066 },
  ] as const)("is as far from $half as the host's at aspect $aspect", ({ half: [x, y, z], aspect, distance }) => {
    expect(frameCamera({ min: [-x, -y, -z], max: [x, y, z] }, aspect).distance).toBeCloseTo(distance, 9);
  });

  it.each([0.4, 1, 16 / 9, 3])("shows every corner at aspect %f", (aspect) => {
    for (const x of [-1, 3]) for (const y of [0, 4]) for (const z of [-2, 2]) {
      const ndc = project(frameCamera(bounds, aspect), aspect, [x, y, z]);
      expect(Math.max(...ndc.map(Math.abs))).toBeLessThan(1);
    }
  });

  it("is sensible without a model, and for a point", () => {
    expect(frameCamera(undefined, 1)).toMatchObject({ target: [0, 0, 0] });
    expect(frameCamera({ min: [2, 2, 2], max: [2, 2, 2] }, 1)).toMatchObject({ target: [2, 2, 2] });
    expect(frameCamera(undefined, 1).distance).toBeCloseTo(1.05 / Math.sin(Math.PI / 8), 9);
  });
});

describe("orbit", () => {
  it("keeps the target in the middle and upright", () => {
    for (const [yaw, pitch] of Object.values(VIEWS)) {
      const o = { ...orbit, yaw, pitch };
      close(project(o, 1.5, o.target), [0, 0]);
    }
    const [x, y] = project(orbit, 1.5, [1, 2.5, 3]);
    expect(x).toBeCloseTo(0, 9);
    expect(y).toBeGreaterThan(0);
  });

  it("stops at the poles and wraps around", () => {
    expect(orbitBy(orbit, 0, 9).pitch).toBeCloseTo(Math.PI / 2, 12);
    expect(orbitBy(orbit, 0, -9).pitch).toBeCloseTo(-Math.PI / 2, 12);
    expect(orbitBy(orbit, 2 * Math.PI, 0).yaw).toBeCloseTo(orbit.yaw, 12);
    close(cameraOf({ ...orbit, yaw: 0, pitch: Math.PI / 2 }).eye, [1, 7, 3]);
    close(cameraOf({ ...orbit, yaw: Math.PI / 2, pitch: 0 }).eye, [6, 2, 3]);
  });
});

it("pan: what was at the target follows the pointer", () => {
  close(project(panBy(orbit, 1.5, 0.3, -0.2), 1.5, orbit.target), [0.3, -0.2]);
});

describe("zoom", () => {
  const range = zoomRange(bounds);
  it("keeps what is under the pointer there", () => {
    const under = panBy(orbit, 1.5, -0.6, -0.4).target;
    close(project(orbit, 1.5, under), [0.6, 0.4]);
    close(project(zoomBy(orbit, 1.5, 0.5, 0.6, 0.4, range), 1.5, under), [0.6, 0.4]);
  });
  it("stays in its range and, there, does not drift", () => {
    const near = zoomBy(orbit, 1, 1e-9, 0.5, 0.5, range);
    expect(near.distance).toBe(range[0]);
    expect(zoomBy(near, 1, 0.5, 0.5, 0.5, range)).toEqual(near);
    expect(zoomBy(orbit, 1, 1e9, 0, 0, range).distance).toBe(range[1]);
  });
});

describe("moves", () => {
  it("go the short way round and end exactly", () => {
    const [from, to] = [{ ...orbit, yaw: 3 }, { ...orbit, yaw: -3, distance: 20 }];
    expect(Math.abs(blend(from, to, 0.5).yaw)).toBeGreaterThan(3);
    expect(blend(from, to, 0.5).distance).toBeCloseTo(10, 9);
    close(cameraOf(blend(from, to, 1)).eye, cameraOf(to).eye);
    close(cameraOf(blend(from, to, 0)).eye, cameraOf(from).eye);
  });
  it("fit keeps the direction", () => {
    expect(fit(orbit, bounds, 1)).toMatchObject({ yaw: orbit.yaw, pitch: orbit.pitch, target: [1, 2, 0] });
  });
});
