/**
 * Objects as files on a WebDAV server (RFC 4918): nginx, rclone, Apache, Nextcloud and the like. Each object is a file that
 * every other client sees under its key; what Holdfast knows beside the bytes is in the folder `.holdfast` next to them.
 * `docs/webdav.md` says what is kept where, and what such servers cannot promise.
 *
 * They have no uploads in parts, so an object has at most 64 MiB, and no condition that holds together with a write, so
 * `ifMatch` and `ifNoneMatch` of a save are `Unsupported`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Backend, Capabilities, GetOptions, GetResult, RemoveResult } from "../../backend.ts"
import { type Reason, StoreError } from "../../error.ts"
import { ObjectStore } from "../../object-store.ts"
import type { StoreOptions } from "../../options.ts"
import { exactBody } from "./body.ts"
import { makeClient, type WebdavOptions } from "./client.ts"
import { Files } from "./files.ts"
import { listPage } from "./list.ts"
import { infoOf } from "./record.ts"

export type { WebdavOptions } from "./client.ts"

const MiB = 2 ** 20

/** Most bytes of an object: it is in memory as a whole before it is sent. */
const maxPut = 64 * MiB

/** Removals at once. */
const removals = 4

const capabilities: Capabilities = {
  maxPut,
  conditional: { create: false, replace: false, complete: false, copy: false, remove: false },
  enforcedChecksum: false,
  copy: false,
  move: false,
  parallelRanges: false,
  nestedKeys: false,
  lateFacts: true,
}

/**
 * Provides an {@link ObjectStore} on a WebDAV server.
 *
 * @example A folder of a server
 * ```ts
 * import * as Webdav from "@holdfast/holdfast/webdav"
 *
 * const layer = Webdav.layer({ url: "https://dav.example/files/agents", user: "agent", password: "secret" })
 * console.assert(layer !== undefined)
 * ```
 */
export const layer = (options: WebdavOptions & StoreOptions): Layer.Layer<ObjectStore, StoreError> =>
  ObjectStore.layer(make(options), options)

/** Makes the backend. Fails with `Config` where an option is wrong; asks nothing of the server. */
export const make = (options: WebdavOptions): Effect.Effect<Backend, StoreError> =>
  Effect.try({
    try: () => webdavBackend(new Files(makeClient(options))),
    catch: (error) => {
      if (StoreError.is(error)) return error
      throw error
    },
  })

const run = <A>(work: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, StoreError> =>
  Effect.tryPromise({
    try: work,
    catch: (error) => {
      if (StoreError.is(error)) return error
      throw error
    },
  })

const fail = (reason: Reason, operation: string, key: string | undefined, detail: string): StoreError =>
  new StoreError({ reason, operation, key, detail, backend: "webdav" })

const missing = (operation: string, key: string): StoreError =>
  fail("NotFound", operation, key, "there is no such object")

const webdavBackend = (files: Files): Backend => {
  const noUploads = (operation: string) => ({ key }: { readonly key: string }): Effect.Effect<never, StoreError> =>
    Effect.fail(fail("Unsupported", operation, key, "WebDAV has no uploads in parts"))

  const unconditional = (operation: string, key: string, asked: boolean): Effect.Effect<void, StoreError> =>
    asked
      ? Effect.fail(fail("Unsupported", operation, key, "WebDAV has no condition that holds together with a change"))
      : Effect.void

  const remove = (operation: string, key: string): Effect.Effect<void, StoreError> =>
    Effect.mapError(run((signal) => files.remove(key, signal)), (error) => error.with({ operation }))

  return {
    name: "webdav",
    capabilities,

    stat: (key) =>
      run(async (signal) => {
        const info = await files.stat("stat", key, signal)
        if (info === undefined) throw missing("stat", key)
        return info
      }),

    get: (key, options = {}) => run((signal) => get(files, key, options, signal)),

    put: (key, bytes, options) =>
      Effect.andThen(
        unconditional("put", key, options.ifMatch !== undefined || options.ifNoneMatch !== undefined),
        bytes.length > maxPut
          ? Effect.fail(fail("TooLarge", "put", key, `it has ${bytes.length} bytes; the most is ${maxPut}`))
          : run((signal) => files.put(key, bytes, options, signal)),
      ),

    list: (options = {}) =>
      run(async (signal) => {
        const page = await listPage(files.client, options, signal)
        if (page !== undefined) return page
        throw fail("InvalidInput", "list", undefined, "the cursor does not come from an earlier page of this list")
      }),

    remove: (key, options) =>
      Effect.andThen(unconditional("remove", key, options?.ifMatch !== undefined), remove("remove", key)),

    removeMany: (keys) =>
      Effect.forEach(keys, (key): Effect.Effect<RemoveResult> =>
        Effect.match(remove("removeMany", key), {
          onSuccess: () => ({ key }),
          onFailure: (error) => ({ key, error }),
        }), { concurrency: removals }),

    createUpload: (key) => noUploads("createUpload")({ key }),
    putPart: noUploads("putPart"),
    completeUpload: noUploads("completeUpload"),
    abortUpload: () => Effect.void,
  }
}

/** Facts and bytes. What the options say is held against the facts, since few servers understand conditions. */
const get = async (
  files: Files,
  key: string,
  { offset = 0, length, ifMatch, ifNoneMatch }: GetOptions,
  signal: AbortSignal,
): Promise<GetResult> => {
  const refusal = (etag: string, size: number): StoreError | undefined => {
    if (ifMatch !== undefined && ifMatch !== etag) {
      return fail("PreconditionFailed", "get", key, `its etag is "${etag}", ifMatch asks for "${ifMatch}"`)
    }
    if (ifNoneMatch === etag) return fail("NotModified", "get", key, `its etag is still "${etag}"`)
    const rest = size - offset
    const wanted = length ?? (offset === 0 ? rest : Infinity)
    return rest < 0 || (rest === 0 && wanted > 0)
      ? fail("RangeNotSatisfiable", "get", key, `the object has ${size} bytes, the range starts at ${offset}`)
      : undefined
  }
  const factsAlone = async (): Promise<GetResult> => {
    const info = await files.stat("get", key, signal)
    if (info === undefined) throw missing("get", key)
    const refused = refusal(info.etag, info.size)
    if (refused !== undefined) throw refused
    return { info, offset, length: 0, body: new Blob([]).stream() }
  }
  if (length === 0) return await factsAlone()
  const part = offset > 0 || length !== undefined
  const range = part ? `bytes=${offset}-${length === undefined ? "" : offset + length - 1}` : undefined
  const opened = await files.open(key, range, signal).catch(async (error: unknown) => {
    // A condition that does not hold comes before a range that cannot be had.
    if (StoreError.is(error) && error.reason === "RangeNotSatisfiable") await factsAlone()
    throw error
  })
  if (opened === undefined) throw missing("get", key)
  const { live, record, response } = opened
  const info = infoOf(key, live, record)
  const refused = refusal(info.etag, info.size) ??
    (part && response.status !== 206
      ? fail("Unsupported", "get", key, "the server does not give parts of a file")
      : undefined)
  if (refused !== undefined) {
    await response.body?.cancel().catch(() => undefined)
    throw refused
  }
  const promised = Math.min(length ?? Infinity, info.size - offset)
  const body = exactBody(response.body ?? new Blob([]).stream(), promised, (what, delivered, cause) =>
    new StoreError({
      reason: what === "ended" ? "Truncated" : what === "broke" ? "Unavailable" : "Protocol",
      detail: what === "exceeds"
        ? `the body has more than the ${promised} bytes that were promised`
        : `the body ${what} after ${delivered} of ${promised} bytes`,
      ...{ operation: "get", key, backend: "webdav", ambiguous: false, cause },
    }))
  return { info, offset, length: promised, body }
}
