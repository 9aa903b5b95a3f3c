/**
 * What the checks of `doctor` work on: a store's backend, bare, and what has been found out so far.
 *
 * On S3 the backend is a daring one: it asks also for what the profile says that the service cannot do, since that is
 * what is to be found out.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Backend, Capabilities, ObjectInfo, PutOptions } from "../../backend.ts"
import { type Profile, profileOf, profiles, type S3Options } from "../../backends/s3/mod.ts"
import type { R2Options } from "../../backends/s3/r2.ts"
import { StoreError } from "../../error.ts"
import { withPolicy } from "../../policy.ts"
import { type Environment, type Location, parseStoreUrl } from "../../store-url.ts"
import { crc32 } from "../../streams/crc32.ts"
import { fromStore } from "../flags.ts"
import { Wire } from "./wire.ts"

/** A condition that a service may or may not check. */
export type Condition = keyof Capabilities["conditional"]

/** What has been seen of the service, as far as a profile speaks of it. */
export interface Observed extends Partial<Record<Condition, boolean>> {
  /** An etag in `If-Match` has its quotes. */
  quotedIfMatch?: boolean
  /** All parts but the last must have one size. */
  equalSize?: boolean
}

/** A store under test. */
export interface Bench {
  /** What its URL says. */
  readonly location: Location
  /** Tries again what is transient. */
  readonly backend: Backend
  /** The same with etags in the other form; S3 only. */
  readonly otherForm: Backend | undefined
  /** What the store counts on as it is used. */
  readonly told: Capabilities
  /** What is known of the service; S3 only. */
  readonly profile: Profile | undefined
  /** What is sent and answered; absent where nothing leaves this machine. */
  readonly wire: Wire | undefined
  /** Below which all objects of the test are, unless the test only reads. */
  readonly prefix: string
  /** Names of everything that was saved. */
  readonly made: Set<string>
  /** What the checks have seen so far. */
  readonly observed: Observed
  /** An object to read: one of the test, or one of the store's own where the test only reads. */
  sample:
    | { readonly key: string; readonly bytes: Uint8Array | undefined; readonly info: ObjectInfo | undefined }
    | undefined
  /** How the first request of all ended. */
  first: StoreError | undefined
}

/** Time for one request: long enough for a part over a slow line, and bearable for somebody who waits. */
const attemptTimeout = "30 seconds"

const policed = (backend: Backend): Backend => withPolicy(backend, { breaker: "none", attemptTimeout })

/** The profile with all that can be asked for, so that the service itself has to say no. */
const daring = (profile: Profile, quotedIfMatch: boolean): Profile => ({
  ...profile,
  quotedIfMatch,
  conditional: {
    ...profile.conditional,
    create: true,
    replace: true,
    inVersions: true,
    complete: true,
    copy: true,
    remove: true,
  },
  versions: true,
  listsUploads: true,
})

const profileFor = ({ profile, endpoint }: S3Options): Profile | undefined => {
  if (typeof profile === "object") return profile
  const name = profile ??
    (endpoint === undefined ? "aws" : URL.canParse(endpoint) ? profileOf(new URL(endpoint).hostname) : "generic")
  return Object.hasOwn(profiles, name) ? profiles[name] : undefined
}

/** Opens the store of a URL for the test. Nothing is asked of it yet. */
export const openBench = (url: string, env: Environment): Effect.Effect<Bench, StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const location = yield* fromStore(() => Promise.try(() => parseStoreUrl(url, env)))
    const wire = location.kind === "memory" || location.kind === "disk" ? undefined : new Wire()
    const { backend, otherForm, told, profile } = yield* openPlace(location, wire)
    const id = crypto.randomUUID().slice(0, 13)
    return {
      location,
      backend: policed(backend),
      otherForm: otherForm && policed(otherForm),
      told,
      profile,
      wire,
      prefix: `.holdfast-doctor-${id}/`,
      made: new Set<string>(),
      observed: {},
      sample: undefined,
      first: undefined,
    }
  })

interface Opened {
  readonly backend: Backend
  readonly otherForm?: Backend
  readonly told: Capabilities
  readonly profile?: Profile
}

const openPlace = (
  location: Location,
  wire: Wire | undefined,
): Effect.Effect<Opened, StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const fetch = wire?.fetch
    switch (location.kind) {
      case "memory": {
        const backend = yield* (yield* Effect.promise(() => import("../../backends/memory.ts"))).make()
        return { backend, told: backend.capabilities }
      }
      case "disk": {
        const { make } = yield* Effect.promise(() => import("../../backends/disk/mod.ts"))
        const backend = yield* make({ root: location.root })
        return { backend, told: backend.capabilities }
      }
      case "remote": {
        const { make } = yield* Effect.promise(() => import("../../backends/http/mod.ts"))
        const backend = yield* make({ ...location.options, fetch })
        return { backend, told: backend.capabilities }
      }
      case "webdav": {
        const { make } = yield* Effect.promise(() => import("../../backends/webdav/mod.ts"))
        const backend = yield* make({ ...location.options, fetch })
        return { backend, told: backend.capabilities }
      }
      case "r2": {
        const { make } = yield* Effect.promise(() => import("../../backends/s3/r2.ts"))
        // Names that the types do not allow are refused there.
        const backend = yield* make({ ...location.options as R2Options, fetch })
        return { backend, told: backend.capabilities, profile: profiles.r2 }
      }
      case "s3": {
        const { make } = yield* Effect.promise(() => import("../../backends/s3/mod.ts"))
        const options: S3Options = { ...location.options as S3Options, fetch }
        const plain = yield* make(options)
        const profile = profileFor(options)
        if (profile === undefined) return { backend: plain, told: plain.capabilities }
        const { quotedIfMatch } = profile
        const backend = yield* make({ ...options, profile: daring(profile, quotedIfMatch) })
        const otherForm = yield* make({ ...options, profile: daring(profile, !quotedIfMatch) })
        return { backend, otherForm, told: plain.capabilities, profile }
      }
    }
  })

const encoder = new TextEncoder()

/** A key of the test. It is removed at the end. */
export const keyOf = (bench: Bench, name: string): string => {
  const key = bench.prefix + name
  bench.made.add(key)
  return key
}

/** Saves some text under a key of the test. */
export const put = (
  bench: Bench,
  key: string,
  text: string,
  options: Partial<PutOptions> = {},
  backend: Backend = bench.backend,
): Effect.Effect<ObjectInfo, StoreError> => {
  const bytes = encoder.encode(text)
  return backend.put(key, bytes, { writeId: crypto.randomUUID(), crc32: crc32(bytes), ...options })
}

/** The bytes of a body. */
export const readAll = (body: ReadableStream<Uint8Array>): Effect.Effect<Uint8Array, StoreError> =>
  Effect.tryPromise({
    try: async () => await new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>).bytes(),
    catch: (error) =>
      StoreError.is(error) ? error : new StoreError({
        reason: "Unavailable",
        detail: "the bytes stopped coming",
        operation: "load",
        cause: error,
      }),
  })

/** Whether two runs of bytes are the same. */
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, at) => byte === b[at])
