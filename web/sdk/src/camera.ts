/**
 * Camera maths: pure functions over an orbit around a target.
 *
 * World is right-handed with y up, metres. Yaw turns around +y from +z towards +x, pitch lifts the eye above the
 * horizon; both in radians. Points on the screen are in NDC: x to the right and y up, -1 to 1.
 */
import type { Camera, Quat, Vec3 } from "./live";

/** A camera that looks at a target. */
export interface Orbit {
  readonly target: Vec3;
  readonly yaw: number;
  readonly pitch: number;
  /** From the target to the eye, metres. */
  readonly distance: number;
  readonly fovY: number;
}

/** Axis-aligned bounds in world space. */
export interface Bounds {
  readonly min: Vec3;
  readonly max: Vec3;
}

const DEGREE = Math.PI / 180;
export const FOV_Y = 45 * DEGREE;
const START_YAW = 35 * DEGREE;
const START_PITCH = 20 * DEGREE;
const MAX_PITCH = 90 * DEGREE;

/** Standard views as yaw and pitch. */
export const VIEWS = {
  front: [0, 0],
  back: [Math.PI, 0],
  right: [Math.PI / 2, 0],
  left: [-Math.PI / 2, 0],
  top: [0, MAX_PITCH],
  bottom: [0, -MAX_PITCH],
} as const;
export type StandardView = keyof typeof VIEWS;

export function center({ min, max }: Bounds): Vec3 {
  return [(min[0] + max[0]) / 2, (min[1] + max[1]) / 2, (min[2] + max[2]) / 2];
}

/** Half the diagonal; 1 for no bounds or a point. */
export function radius(bounds: Bounds | undefined): number {
  if (!bounds) return 1;
  const half = length(subtract(bounds.max, bounds.min)) / 2;
  return half > 0 && Number.isFinite(half) ? half : 1;
}

/** The camera that shows the whole model, slightly from above; the twin of `render::frame_camera`. */
export function frameCamera(bounds: Bounds | undefined, aspect: number): Orbit {
  return fit({ target: [0, 0, 0], yaw: START_YAW, pitch: START_PITCH, distance: 1, fovY: FOV_Y }, bounds, aspect);
}

/**
 * The same direction, with all corners of the bounds in the picture and a margin of 5 %. A long model seen from its end
 * keeps some more distance, so that it does not fill much more than the picture when the camera goes around it.
 */
export function fit(orbit: Orbit, bounds: Bounds | undefined, aspect: number): Orbit {
  const tanY = Math.tan(orbit.fovY / 2);
  const tanX = tanY * aspect;
  const sphereFits = radius(bounds) / Math.sin(Math.atan(Math.min(tanX, tanY)));
  const half: Vec3 = bounds ? scale(subtract(bounds.max, bounds.min), 0.5) : [0, 0, 0];
  const empty = !(length(half) > 0 && Number.isFinite(length(half)));
  const distance = (empty ? sphereFits : Math.max(boxFits(orbit, half, tanX, tanY), 0.75 * sphereFits)) * 1.05;
  return { ...orbit, target: bounds ? center(bounds) : [0, 0, 0], distance };
}

/** From where all corners of a box with these half edges are just in the picture. */
function boxFits(orbit: Orbit, half: Vec3, tanX: number, tanY: number): number {
  const orientation = orientationOf(orbit);
  const [right, up, back] = ([[1, 0, 0], [0, 1, 0], [0, 0, 1]] as Vec3[]).map((axis) => rotate(orientation, axis)) as [Vec3, Vec3, Vec3];
  // Corners come in pairs that mirror each other at the middle, so four signs and an absolute value do for eight.
  const signs = [[1, 1], [1, -1], [-1, 1], [-1, -1]] as const;
  const distances = signs.map(([x, y]) => {
    const corner: Vec3 = [half[0] * x, half[1] * y, half[2]];
    const aside = Math.max(Math.abs(dot(corner, right)) / tanX, Math.abs(dot(corner, up)) / tanY);
    return Math.abs(dot(corner, back)) + aside;
  });
  return Math.max(...distances);
}

/** What the host needs. */
export function cameraOf(orbit: Orbit): Camera {
  const orientation = orientationOf(orbit);
  return { eye: add(orbit.target, rotate(orientation, [0, 0, orbit.distance])), orientation, fovY: orbit.fovY };
}

/** World from view: yaw around world y, then pitch around the view's own x. */
export function orientationOf({ yaw, pitch }: Pick<Orbit, "yaw" | "pitch">): Quat {
  const [sy, cy] = [Math.sin(yaw / 2), Math.cos(yaw / 2)];
  const [sp, cp] = [Math.sin(-pitch / 2), Math.cos(-pitch / 2)];
  return [cy * sp, sy * cp, -sy * sp, cy * cp];
}

/** Turns around the target by angles in radians. */
export function orbitBy(orbit: Orbit, yaw: number, pitch: number): Orbit {
  return { ...orbit, yaw: wrap(orbit.yaw + yaw), pitch: clamp(orbit.pitch + pitch, -MAX_PITCH, MAX_PITCH) };
}

/** Moves so that what was at the target follows the pointer by `dx`, `dy` in NDC. */
export function panBy(orbit: Orbit, aspect: number, dx: number, dy: number): Orbit {
  return { ...orbit, target: subtract(orbit.target, onTargetPlane(orbit, aspect, dx, dy)) };
}

/** Scales the distance by `factor`; what is under the pointer (NDC), as deep as the target, stays there. */
export function zoomBy(orbit: Orbit, aspect: number, factor: number, x: number, y: number, range: readonly [number, number]): Orbit {
  const distance = clamp(orbit.distance * factor, range[0], range[1]);
  const shift = onTargetPlane(orbit, aspect, x, y);
  return { ...orbit, distance, target: add(orbit.target, scale(shift, 1 - distance / orbit.distance)) };
}

/** Nearest and farthest sensible distance for a model. */
export function zoomRange(bounds: Bounds | undefined): readonly [number, number] {
  const r = radius(bounds);
  return [r / 500, r * 40];
}

/** Between two orbits, `t` from 0 to 1: the short way round, distances geometrically. */
export function blend(from: Orbit, to: Orbit, t: number): Orbit {
  const mix = (a: number, b: number): number => a + (b - a) * t;
  return {
    target: [mix(from.target[0], to.target[0]), mix(from.target[1], to.target[1]), mix(from.target[2], to.target[2])],
    yaw: wrap(from.yaw + wrap(to.yaw - from.yaw) * t),
    pitch: mix(from.pitch, to.pitch),
    distance: from.distance * (to.distance / from.distance) ** t,
    fovY: mix(from.fovY, to.fovY),
  };
}

/** Slow start, slow end. */
export function ease(t: number): number {
  return t < 0.5 ? 4 * t ** 3 : 1 - (2 - 2 * t) ** 3 / 2;
}

/** Offset in world space of a point of the screen on the plane through the target, seen from the target. */
function onTargetPlane(orbit: Orbit, aspect: number, x: number, y: number): Vec3 {
  const halfHeight = Math.tan(orbit.fovY / 2) * orbit.distance;
  return rotate(orientationOf(orbit), [x * halfHeight * aspect, y * halfHeight, 0]);
}

/** Into (-π, π]. */
function wrap(angle: number): number {
  return angle - 2 * Math.PI * Math.ceil((angle - Math.PI) / (2 * Math.PI));
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

function rotate([x, y, z, w]: Quat, v: Vec3): Vec3 {
  // v + 2w(q × v) + 2 q × (q × v)
  const c: Vec3 = [y * v[2] - z * v[1], z * v[0] - x * v[2], x * v[1] - y * v[0]];
  return [
    v[0] + 2 * (w * c[0] + y * c[2] - z * c[1]),
    v[1] + 2 * (w * c[1] + z * c[0] - x * c[2]),
    v[2] + 2 * (w * c[2] + x * c[1] - y * c[0]),
  ];
}
const add = (a: Vec3, b: Vec3): Vec3 => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
const subtract = (a: Vec3, b: Vec3): Vec3 => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const scale = (a: Vec3, s: number): Vec3 => [a[0] * s, a[1] * s, a[2] * s];
const dot = (a: Vec3, b: Vec3): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const length = (a: Vec3): number => Math.hypot(a[0], a[1], a[2]);
