/**
 * What the tests of this folder share: the scripted peer, and a store on it.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Backend } from "../../backend.ts"
import type { StoreError } from "../../error.ts"
import { makeObjectStore, type ObjectStoreService } from "../../object-store.ts"
import type { StoreOptions } from "../../options.ts"
import type { Case } from "../conformance.ts"
import { makeS3Peer, peerCredentials, type S3Peer, type S3PeerOptions } from "../../testing/s3/mod.ts"
import { make, profiles, type S3Options } from "./mod.ts"
import type { Profile } from "./profiles.ts"

/** Least bytes of a part, where a test makes many. */
export const minPartSize = 1000

/** A profile with parts that are quick to make. */
export const quick = (profile: Profile): Profile => ({
  ...profile,
  parts: { ...profile.parts, minSize: minPartSize, recommendedSize: minPartSize },
})

/** Which of the peer's services goes with which profile. */
export const services: ReadonlyArray<
  readonly [name: string, profile: Profile, quirks: NonNullable<S3PeerOptions["quirks"]>]
> = [
  ["aws", profiles.aws, "aws"],
  ["r2", profiles.r2, "r2"],
  ["ceph", profiles.ceph, "ceph16"],
  ["minio", profiles.minio, "minio"],
  ["generic", profiles.generic, "generic"],
]

/** A store on a peer. */
export interface Bench {
  readonly peer: S3Peer
  readonly backend: Backend
  readonly store: ObjectStoreService
}

/** Retries without a wait, as often as the default has it. */
export const atOnce: NonNullable<StoreOptions["policy"]> = {
  retry: Schedule.recurs(4),
  breaker: "none",
}

/** A peer, and a store on it without compression that tries again at once. */
export const open: (
  options?: Partial<S3Options> & { readonly peer?: S3PeerOptions; readonly stores?: StoreOptions },
) => Effect.Effect<Bench, StoreError> = Effect.fnUntraced(function* (options = {}) {
  const { peer: peerOptions, stores, ...rest } = options
  const peer = makeS3Peer({ seed: 1, minPartSize, ...peerOptions })
  const backend = yield* make({
    bucket: "test",
    region: "us-east-1",
    profile: quick(profiles.aws),
    ...(rest.credentials === undefined ? peerCredentials : {}),
    fetch: peer.fetch,
    ...rest,
  })
  const store = yield* makeObjectStore(backend, { compression: "none", policy: atOnce, ...stores })
  return { peer, backend, store }
})

/** Cases that ask for more than S3 has, and what becomes of it; `head.test.ts` tries what there is. */
const beyond: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  r2: {
    "list() orders keys by their UTF-8 bytes": "R2 folds keys to NFC, so others are refused",
    "list() takes a prefix as text, not as a folder": "R2 folds keys to NFC, so others are refused",
    "list() in pages of 1, 2 and 3 loses and repeats nothing": "R2 folds keys to NFC, so others are refused",
    "keys that look alike are different objects": "R2 folds keys to NFC, so others are refused",
  },
  prefix: {
    "a key of 1,024 bytes is stored, in one segment and in many": "the prefix is part of the 1,024 bytes",
  },
}

/** The cases, with those marked as skipped that ask for more than S3, or a store called `name`, has. */
export const except = (cases: ReadonlyArray<Case>, name: string): ReadonlyArray<Case> => {
  const reasons = beyond[name] ?? {}
  return cases.map((one) => {
    const title = one.name.slice(one.name.indexOf(": ") + 2)
    return { ...one, skipped: one.skipped ?? reasons[title] }
  })
}
