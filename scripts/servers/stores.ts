/**
 * What tests on real services are written with: stores on a target, and calls that must fail.
 *
 * @module
 */
import { inspect } from "node:util"
import * as Effect from "effect/Effect"
import type { Backend } from "../../src/backend.ts"
import * as S3 from "../../src/backends/s3/mod.ts"
import { type Reason, StoreError } from "../../src/error.ts"
import { openBackend, type Store } from "../../src/store.ts"
import type { LoadOptions, StoreOptions } from "../../src/options.ts"
import type { Target } from "./server.ts"

/** All that this run stores is below it, so that a bucket may be shared. */
const prefix = `holdfast-test-${crypto.randomUUID()}/`

/** How a target is opened. */
export const optionsOf = ({ endpoint, region, bucket, profile, credentials }: Target): S3.S3Options => ({
  ...{ endpoint, region, bucket, profile, credentials, prefix },
})

/** A store on a target, without compression. */
export const openStore = (target: Target, more?: Partial<S3.S3Options>, stores?: StoreOptions): Promise<Store> =>
  openBackend(S3.make({ ...optionsOf(target), ...more }), { compression: "none", ...stores })

/** The backend below such a store. */
export const backendOn = (target: Target): Promise<Backend> => Effect.runPromise(S3.make(optionsOf(target)))

/** What is known of a target's service. */
export const profileOf = ({ profile, endpoint }: Target): S3.Profile =>
  typeof profile === "object"
    ? profile
    : S3.profiles[profile ?? (endpoint === undefined ? "aws" : S3.profileOf(new URL(endpoint).hostname))]

/** The error with which a call fails. Rejects unless it has one of `reasons`. */
export const failure = async (call: Promise<unknown>, ...reasons: ReadonlyArray<Reason>): Promise<StoreError> => {
  const error = await call.then((value) => new Error(`succeeded with ${inspect(value)}`), (error: unknown) => error)
  if (!StoreError.is(error) || !reasons.includes(error.reason)) throw error
  return error
}

/** An object's bytes. */
export const loadBytes = async (store: Store, key: string, options?: LoadOptions): Promise<Uint8Array> =>
  await (await store.load(key, options)).bytes()

/** All that an iterable gives. */
export const all = async <A>(items: AsyncIterable<A>): Promise<Array<A>> => {
  const list: Array<A> = []
  for await (const item of items) list.push(item)
  return list
}

/** Removes what the tests have left in a target's bucket. */
export const clear = async (target: Target): Promise<void> => {
  await using store = await openStore(target)
  await store.removeMany((await all(store.list())).map(({ key }) => key))
}
