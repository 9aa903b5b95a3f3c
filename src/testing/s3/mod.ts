/**
 * A scripted S3 service in this process, to test programs that speak S3.
 *
 * @module
 */
export type { PeerCredentials } from "./auth.ts"
export type { PeerTrailers } from "./chunked.ts"
export type { PeerFault, PeerMoment, PeerRule } from "./faults.ts"
export type { PeerFetch } from "./fetch.ts"
export type { PeerClose, PeerDelivery, PeerFraming, PeerRequest, PeerResponse } from "./message.ts"
export type { PeerOperation } from "./operation.ts"
export {
  makeS3Peer,
  peerCredentials,
  type PeerObject,
  type PeerRecord,
  type PeerUpload,
  type S3Peer,
  type S3PeerOptions,
} from "./peer.ts"
export { type PeerConditions, type PeerQuirks, peerQuirks } from "./quirks.ts"
export type { PeerServer } from "./server.ts"
