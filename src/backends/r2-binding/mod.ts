/**
 * Objects in a Cloudflare R2 bucket that is bound to the Worker this runs in: no credentials, no signatures.
 *
 * `env.BUCKET` belongs to the request at hand, so make the store in the handler; that costs nothing. R2 checks the
 * SHA-256 of what is saved by one put; it has no checksum for the parts of a larger object, which only the checksums in
 * compressed objects cover. It checks conditions on a put, and none on the end of an upload.
 *
 * A maintainer must keep one thing: whatever R2 answers after its caller has gone is freed here, since nobody else will.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Backend, Capabilities, GetOptions, ListPage, PutOptions, Upload } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { prefixFlaw } from "../../key.ts"
import { ObjectStore } from "../../object-store.ts"
import type { StoreOptions } from "../../options.ts"
import { bodyOf, emptyBody } from "./body.ts"
import type { R2Bucket, R2GetOptions, R2MultipartUpload, R2Object, R2PutOptions } from "./bucket.ts"
import { fail, r2Error } from "./errors.ts"
import { describe, etagOf, headOptions, hexKey, r2Etag } from "./facts.ts"
import { keysOf } from "./keys.ts"

export type * from "./bucket.ts"

/** Options of {@link make}. */
export interface R2BindingOptions {
  /**
   * Where in the bucket the store lives: its keys are put behind this, and nothing else is seen. `"agents"` and
   * `"agents/"` are the same. Default: the whole bucket.
   */
  readonly prefix?: string | undefined
  /**
   * Cloudflare has turned off the folding of keys for this account. Default `false`: R2 takes keys that differ only in
   * how Unicode composes their letters for the same one, so a key that is not in composed form (NFC) is `InvalidKey`.
   */
  readonly exactKeys?: boolean | undefined
}

const MiB = 2 ** 20
const GiB = 2 ** 30

/** https://developers.cloudflare.com/r2/platform/limits/ */
const capabilities: Capabilities = {
  parts: {
    minSize: 5 * MiB,
    maxSize: 5 * GiB - 5 * MiB,
    // With three of them in flight a save holds 32 MiB of the 128 MiB that a Worker has.
    recommendedSize: 8 * MiB,
    maxCount: 10_000,
    equalSize: true,
    sequential: false,
    concurrency: 3,
  },
  maxPut: 5 * GiB - 5 * MiB,
  conditional: { create: true, replace: true, complete: false, copy: false, remove: false },
  // Of a put R2 checks the SHA-256 that we give it, of a part nothing.
  enforcedChecksum: false,
  copy: false,
  move: false,
  // A Worker may have six connections open at a time.
  parallelRanges: false,
  nestedKeys: true,
  encryption: ["sse-c"],
  storageClasses: true,
}

/**
 * Provides an {@link ObjectStore} in a bound bucket.
 *
 * @example In a Worker
 * ```ts
 * import { ObjectStore } from "@holdfast/holdfast"
 * import * as R2Binding from "@holdfast/holdfast/r2-binding"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const store = yield* ObjectStore
 *   const { size } = yield* store.save("notes/1", "hello", { ifNoneMatch: "*" })
 *   return new Response(`saved ${size} bytes`)
 * })
 *
 * // export default { fetch }
 * const fetch = (_request: Request, env: { readonly BUCKET: R2Binding.R2Bucket }): Promise<Response> =>
 *   Effect.runPromise(Effect.provide(program, R2Binding.layer(env.BUCKET, { prefix: "agents" })))
 * console.assert(typeof fetch === "function")
 * ```
 */
export const layer = (
  bucket: R2Bucket,
  options?: R2BindingOptions & StoreOptions,
): Layer.Layer<ObjectStore, StoreError> => ObjectStore.layer(make(bucket, options), options)

/** Makes the backend. Nothing is asked of R2; what is no bucket, or no usable prefix, is `Config`. */
export const make = (bucket: R2Bucket, options: R2BindingOptions = {}): Effect.Effect<Backend, StoreError> =>
  Effect.suspend(() => {
    const config = (detail: string, hint: string) =>
      Effect.fail(new StoreError({ reason: "Config", operation: "open", backend: "r2-binding", detail, hint }))
    // A binding that is missing from the configuration is undefined, whatever its type says.
    if (typeof bucket?.createMultipartUpload !== "function") {
      const hint = 'name it in the Worker\'s configuration: [[r2_buckets]] with binding = "BUCKET", and give env.BUCKET'
      return config("what was given is no R2 bucket", hint)
    }
    const { prefix = "", exactKeys = false } = options
    const flaw = prefixFlaw(prefix)
    if (flaw !== undefined) return config(`the option prefix cannot be used: ${flaw}`, "correct the prefix")
    return Effect.succeed(backendOf(bucket, keysOf(prefix, exactKeys)))
  })

const backendOf = (bucket: R2Bucket, keys: ReturnType<typeof keysOf>): Backend => {
  const call = <A>(
    operation: string,
    key: string | undefined,
    run: (signal: AbortSignal) => Promise<A>,
  ): Effect.Effect<A, StoreError> => Effect.tryPromise({ try: run, catch: (cause) => r2Error(operation, key, cause) })

  const missing = (operation: string, key: string): StoreError =>
    fail("NotFound", operation, key, "there is no such object")

  const mismatch = (operation: string, key: string, ifMatch: string, object?: R2Object): StoreError => {
    const now = object === undefined ? "it has another etag, or is gone" : `its etag is "${etagOf(object)}"`
    return fail("PreconditionFailed", operation, key, `${now}, ifMatch asks for "${ifMatch}"`)
  }

  const head = Effect.fnUntraced(function* (operation: string, key: string): Effect.fn.Return<R2Object, StoreError> {
    const name = yield* keys.nameOf(operation, key)
    return (yield* call(operation, key, () => bucket.head(name))) ?? (yield* missing(operation, key))
  })

  /** Asks for bytes; a body that comes after its caller has gone is cancelled. */
  const open = (key: string, name: string, options: R2GetOptions): Effect.Effect<R2Object | null, StoreError> =>
    call("get", key, async (signal) => {
      const object = await bucket.get(name, options)
      if (signal.aborted) await object?.body?.cancel()
      return object
    })

  const resume = (upload: Upload, name: string): R2MultipartUpload => bucket.resumeMultipartUpload(name, upload.id)

  const unsupported = (operation: string, key: string, what: string): StoreError =>
    fail("Unsupported", operation, key, `a bound R2 bucket has no ${what}`)

  return {
    name: "r2-binding",
    capabilities,

    stat: (key) => Effect.map(head("stat", key), (object) => describe(key, object)),

    get: Effect.fnUntraced(function* (key, options = {}) {
      const { offset = 0, length } = options
      const name = yield* keys.nameOf("get", key)
      // R2 refuses a range without bytes.
      const object = length === 0 ? yield* head("get", key) : yield* open(key, name, getOptions(options))
      if (object === null) return yield* missing("get", key)
      const { body } = object
      const refused = refusal(key, object, options)
      if (refused !== undefined) {
        yield* Effect.promise(() => body?.cancel().catch(() => undefined) ?? Promise.resolve())
        return yield* refused
      }
      const promised = Math.min(length ?? Infinity, object.size - offset)
      const info = describe(key, object)
      if (length === 0) return { info, offset, length: 0, body: emptyBody() }
      // R2 keeps it back where the condition does not hold, which has been refused above.
      if (body === undefined) return yield* fail("Protocol", "get", key, "R2 has sent no body")
      return { info, offset, length: promised, body: bodyOf(body, key, promised) }
    }),

    put: Effect.fnUntraced(function* (key, bytes, options) {
      const { ifMatch } = options
      const name = yield* keys.nameOf("put", key)
      if (ifMatch !== undefined) {
        // R2 holds the put against the etag that it makes from the bytes. That the object was not saved anew with the
        // same bytes is checked here, a moment before.
        const object = yield* call("put", key, () => bucket.head(name))
        if (object === null || etagOf(object) !== ifMatch) {
          return yield* mismatch("put", key, ifMatch, object ?? undefined)
        }
      }
      const made = yield* call("put", key, async () => bucket.put(name, bytes, await putOptions(bytes, options)))
      if (made !== null) return describe(key, made)
      if (ifMatch !== undefined) return yield* mismatch("put", key, ifMatch)
      return yield* fail("AlreadyExists", "put", key, "there is one already")
    }),

    list: Effect.fnUntraced(function* ({ prefix = "", delimiter, cursor, limit = 1000 } = {}) {
      const asked = {
        prefix: keys.root + prefix,
        limit,
        ...(delimiter === undefined ? {} : { delimiter }),
        ...(cursor === undefined ? {} : { cursor }),
      }
      const page = yield* call("list", undefined, () => bucket.list(asked))
      const found: ListPage = {
        objects: page.objects.map((entry) => ({
          key: keys.keyOf(entry.key),
          size: entry.size,
          modified: new Date(entry.uploaded),
          etag: etagOf(entry),
        })),
        prefixes: page.delimitedPrefixes.map(keys.keyOf),
        cursor: page.truncated ? page.cursor : undefined,
      }
      return found
    }),

    remove: Effect.fnUntraced(function* (key, options) {
      if (options?.ifMatch !== undefined) return yield* unsupported("remove", key, "condition on a removal")
      const name = yield* keys.nameOf("remove", key)
      yield* call("remove", key, () => bucket.delete(name))
    }),

    // One request, which goes well for all of them or says nothing of any; made again, it does no harm.
    removeMany: Effect.fnUntraced(function* (all) {
      const names: Array<string> = []
      for (const key of all) names.push(yield* keys.nameOf("removeMany", key))
      if (names.length > 0) yield* call("removeMany", undefined, () => bucket.delete(names))
      return all.map((key) => ({ key }))
    }),

    createUpload: Effect.fnUntraced(function* (key, options) {
      if (options.resumable === true) return yield* unsupported("createUpload", key, "list of an upload's parts")
      const name = yield* keys.nameOf("createUpload", key)
      const { uploadId } = yield* call("createUpload", key, async (signal) => {
        const upload = await bucket.createMultipartUpload(name, headOptions(options, {}))
        if (signal.aborted) await upload.abort()
        return upload
      })
      const { encryption } = options
      return { id: uploadId, key, ...(encryption?.type === "sse-c" ? { customerKey: encryption.key } : {}) }
    }),

    putPart: Effect.fnUntraced(function* (upload, { number, offset, crc32 }, bytes) {
      const { key } = upload
      const name = yield* keys.nameOf("putPart", key)
      const ssecKey = hexKey(upload.customerKey)
      const options = ssecKey === undefined ? {} : { ssecKey }
      const { etag } = yield* call("putPart", key, () => resume(upload, name).uploadPart(number, bytes, options))
      return { number, offset, size: bytes.length, crc32, etag }
    }),

    completeUpload: Effect.fnUntraced(function* (upload, parts, { size, ifMatch, ifNoneMatch }) {
      const { key } = upload
      if (ifMatch !== undefined || ifNoneMatch !== undefined) {
        return yield* unsupported("completeUpload", key, "condition on the end of an upload")
      }
      const name = yield* keys.nameOf("completeUpload", key)
      let end = 0
      for (const part of parts) {
        if (part.offset !== end) break
        end += part.size
      }
      if (end !== size) {
        const detail = `its parts cover ${end} of ${size} bytes without a gap`
        return yield* fail("InvalidInput", "completeUpload", key, detail)
      }
      const sent = parts.map(({ number, etag = "" }) => ({ partNumber: number, etag }))
      const made = yield* call("completeUpload", key, () => resume(upload, name).complete(sent))
      return describe(key, made)
    }),

    abortUpload: Effect.fnUntraced(function* (upload) {
      const name = yield* keys.nameOf("abortUpload", upload.key)
      const abort = call("abortUpload", upload.key, () => resume(upload, name).abort())
      yield* Effect.catch(abort, (error) => error.reason === "NotFound" ? Effect.void : Effect.fail(error))
    }),
  }
}

/** What is asked of R2 for a get that wants bytes. */
const getOptions = ({ offset = 0, length, ifMatch, customerKey }: GetOptions): R2GetOptions => {
  const ssecKey = hexKey(customerKey)
  return {
    ...(ifMatch === undefined ? {} : { onlyIf: { etagMatches: r2Etag(ifMatch) } }),
    ...(length === undefined ? offset === 0 ? {} : { range: { offset } } : { range: { offset, length } }),
    ...(ssecKey === undefined ? {} : { ssecKey }),
  }
}

/** Why an object that R2 has handed out is not what was asked for. */
const refusal = (key: string, object: R2Object, options: GetOptions): StoreError | undefined => {
  const { offset = 0, length, ifMatch, ifNoneMatch } = options
  const etag = etagOf(object)
  if (ifMatch !== undefined && ifMatch !== etag) {
    return fail("PreconditionFailed", "get", key, `its etag is "${etag}", ifMatch asks for "${ifMatch}"`)
  }
  if (ifNoneMatch === etag) return fail("NotModified", "get", key, `its etag is still "${etag}"`)
  const rest = object.size - offset
  // Nothing left to give is an answer when nothing, or everything, was asked for.
  const wanted = length ?? (offset === 0 ? rest : Infinity)
  if (rest > 0 || (rest === 0 && wanted === 0)) return undefined
  const detail = `the object has ${object.size} bytes, the range starts at ${offset}`
  return fail("RangeNotSatisfiable", "get", key, detail)
}

/** What goes with a put. The SHA-256 is of the stored bytes, and is R2's to check; ours is of what was saved. */
const putOptions = async (bytes: Uint8Array, options: PutOptions): Promise<R2PutOptions> => {
  const { ifMatch, ifNoneMatch } = options
  return {
    ...headOptions(options, options, options.crc32),
    // Shared memory is refused by `save`.
    sha256: await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>),
    ...(ifNoneMatch === undefined ? {} : { onlyIf: { etagDoesNotMatch: "*" } }),
    ...(ifMatch === undefined ? {} : { onlyIf: { etagMatches: r2Etag(ifMatch) } }),
  }
}
