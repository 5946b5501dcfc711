/** Connects a page to a Belvedere session. No UI; protobuf-es is the only dependency. */
export * from "./camera";
export { Connection, type Listener, type Milestones, type VideoStatistics } from "./connection";
export type { EndReason, Link, Millis } from "./link";
export * as live from "./live";
export type { Camera, Frame, Quat, Vec3 } from "./live";
export { Meter, quantile, type Quantiles, type Summary } from "./meter";
export {
  readError,
  readSession,
  RestClient,
  RestError,
  tokenExpiry,
  type RefusalReason,
  type Session,
  type SessionAddress,
  type SessionStatus,
} from "./rest";
export { RpcError } from "./rpc";
export { Look_Sky as Sky, Look_ToneMapping as ToneMapping } from "./gen/live_pb";
export type { LoadProgress, Look, ModelList, PickResult, SceneInfo } from "./gen/live_pb";
