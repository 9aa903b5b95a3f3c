/**
 * Objects behind another Holdfast: a store that a server has mounted with `storeRoutes`. The program that uses it
 * needs no cloud keys and no cloud code, only a URL and perhaps a token.
 *
 * What the server's store can do, this one can, with its conditions and checksums; what stays behind are versions,
 * presigned requests and encryption by request. Its capabilities are asked for once, when the store is made.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { encodeKey } from "../../aws/encode.ts"
import type { Backend, GetOptions, GetResult, RemoveResult, Upload } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { ObjectStore } from "../../object-store.ts"
import type { StoreOptions } from "../../options.ts"
import { exactBody } from "../../streams/answer.ts"
import { type Asked, type Client, type HttpOptions, makeClient } from "./client.ts"
import { patientPolicy } from "./patience.ts"
import {
  type Description,
  descriptionFrom,
  fieldsOf,
  headers,
  infoFrom,
  pageFrom,
  parseJson,
  partFrom,
  partsFrom,
  protocol,
  removalsFrom,
  textIn,
  toHeader,
  uploadPageFrom,
} from "./wire.ts"

export type { HttpOptions } from "./client.ts"
export { patientPolicy, patientRetry } from "./patience.ts"

/**
 * Provides an {@link ObjectStore} that lives behind a server. Unless `policy` says otherwise, calls are tried again for
 * 30 s ({@link patientRetry}), so that a server may be restarted in the middle of a save or a load.
 *
 * @example A store behind routes
 * ```ts
 * import { ObjectStore, open } from "@holdfast/holdfast"
 * import { storeRoutes } from "@holdfast/holdfast/http"
 * import * as Remote from "@holdfast/holdfast/remote"
 * import * as Effect from "effect/Effect"
 *
 * // The server, here in the same process; leave out `fetch` for a real one.
 * await using served = await open("mem:")
 * const routes = storeRoutes(served, { authorize: () => true })
 *
 * const store = Remote.layer({
 *   url: "http://localhost",
 *   fetch: async (url, init) => await routes.fetch(new Request(url, init)),
 * })
 * const save = Effect.flatMap(ObjectStore, (store) => store.save("greeting", "hello"))
 * const info = await Effect.runPromise(Effect.provide(save, store))
 * console.assert(info.length === 5 && await served.exists("greeting"))
 * ```
 */
export const layer = (options: HttpOptions & StoreOptions): Layer.Layer<ObjectStore, StoreError> =>
  ObjectStore.layer(make(options), { ...options, policy: patientPolicy(options.policy) })

/**
 * Makes the backend. Asks the server once what its store can do: fails with `Config` when there is no Holdfast at the
 * URL or an option is wrong, with `Unauthorized` or `Forbidden` when it does not let us in, and with `Unavailable`
 * when it cannot be reached.
 */
export const make = (options: HttpOptions): Effect.Effect<Backend, StoreError> =>
  Effect.gen(function* () {
    const client = yield* Effect.try({
      try: () => makeClient(options),
      catch: (error) => {
        if (StoreError.is(error)) return error
        throw error
      },
    })
    const asked: Asked = { operation: "open", method: "GET", path: "" }
    const found = yield* client.run((signal) => client.ask(asked, descriptionFrom, signal))
    if (typeof found === "number") {
      return yield* client.fault(asked, {
        reason: "Config",
        detail: `the server speaks version ${found} of the protocol, this is version ${protocol}`,
        hint: "use releases of Holdfast that go together",
      })
    }
    return remoteBackend(client, found)
  })

/** The escaped path of a key below a route. */
const at = (route: "o" | "r" | "s" | "u" | "c" | "m", key: string): string => `/${route}/${encodeKey(key)}`

const uploadIdFrom = (value: unknown): string | undefined => {
  const fields = fieldsOf(value)
  return fields && textIn(fields, "id")
}

const remoteBackend = (client: Client, { capabilities, calls }: Description): Backend => {
  const { run, ask, tell } = client

  const copying = (operation: "copy" | "move"): NonNullable<Backend["copy"]> => (from, to, { writeId, ...o }) => {
    const { ifMatch, ifNoneMatch, sourceIfMatch } = o
    const json = { from, writeId, ifMatch, ifNoneMatch, sourceIfMatch }
    const path = at(operation === "copy" ? "c" : "m", to)
    return run((signal) => ask({ operation, key: to, method: "POST", path, body: { json } }, infoFrom, signal))
  }

  const ofUpload = (
    operation: string,
    { id, key }: Upload,
    more: Omit<Asked, "operation" | "key" | "path">,
  ): Asked => ({
    ...more,
    operation,
    key,
    path: at("u", key),
    query: { ...more.query, id },
  })

  return {
    name: "http",
    capabilities,

    stat: (key, { damaged } = {}) =>
      run((signal) =>
        ask(
          {
            operation: "stat",
            key,
            method: "GET",
            path: at("s", key),
            query: { damaged: damaged === true ? "true" : undefined },
          },
          infoFrom,
          signal,
        )
      ),

    get: (key, options = {}) => run((signal) => get(client, key, options, signal)),

    put: (key, bytes, { writeId, crc32, contentType, metadata, codec, sha256, length, ifMatch, ifNoneMatch }) =>
      run((signal) =>
        ask(
          {
            operation: "put",
            key,
            method: "PUT",
            path: at("r", key),
            headers: {
              [headers.options]: toHeader({
                size: bytes.length,
                writeId,
                crc32,
                contentType,
                metadata,
                codec,
                sha256,
                length,
                ifMatch,
                ifNoneMatch,
              }),
            },
            body: bytes,
          },
          infoFrom,
          signal,
        )
      ),

    list: ({ prefix, delimiter, cursor, limit } = {}) =>
      run((signal) =>
        ask(
          { operation: "list", method: "GET", path: "/l", query: { prefix, delimiter, cursor, limit } },
          pageFrom,
          signal,
        )
      ),

    remove: (key, { ifMatch } = {}) =>
      run((signal) =>
        tell({ operation: "remove", key, method: "DELETE", path: at("r", key), query: { ifMatch } }, signal)
      ),

    removeMany: (keys) => {
      const asked: Asked = { operation: "removeMany", method: "POST", path: "/d", body: { json: { keys } } }
      const read = (value: unknown): ReadonlyArray<RemoveResult> | undefined => {
        const results = removalsFrom(value, { operation: "removeMany", backend: "http" })
        return results?.length === keys.length ? results : undefined
      }
      return keys.length === 0 ? Effect.succeed([]) : run((signal) => ask(asked, read, signal))
    },

    createUpload: (key, { writeId, contentType, metadata, codec, resumable }) => {
      const json = { writeId, contentType, metadata, codec, resumable }
      const asked: Asked = { operation: "createUpload", key, method: "POST", path: at("u", key), body: { json } }
      return run(async (signal) => ({ id: await ask(asked, uploadIdFrom, signal), key }))
    },

    putPart: (upload, { number, offset, crc32 }, bytes) =>
      run((signal) =>
        ask(
          ofUpload("putPart", upload, {
            method: "PUT",
            query: { number, offset, size: bytes.length, crc32 },
            body: bytes,
          }),
          partFrom,
          signal,
        )
      ),

    completeUpload: (upload, parts, { size, crc32, sha256, length, ifMatch, ifNoneMatch }) => {
      const json = { parts, size, crc32, sha256, length, ifMatch, ifNoneMatch }
      return run((signal) =>
        ask(ofUpload("completeUpload", upload, { method: "POST", body: { json } }), infoFrom, signal)
      )
    },

    abortUpload: (upload) => run((signal) => tell(ofUpload("abortUpload", upload, { method: "DELETE" }), signal)),

    copy: calls.includes("copy") ? copying("copy") : undefined,
    move: calls.includes("move") ? copying("move") : undefined,

    listUploads: calls.includes("listUploads")
      ? ({ prefix, cursor } = {}) =>
        run((signal) =>
          ask(
            { operation: "listUploads", method: "GET", path: "/u", query: { prefix, cursor } },
            uploadPageFrom,
            signal,
          )
        )
      : undefined,
    listParts: calls.includes("listParts")
      ? (upload) => run((signal) => ask(ofUpload("listParts", upload, { method: "GET" }), partsFrom, signal))
      : undefined,
  }
}

/** Facts and stored bytes. The answer is held against what was asked before a byte of it is handed out. */
const get = async (
  client: Client,
  key: string,
  { offset = 0, length, ifMatch, ifNoneMatch, damaged }: GetOptions,
  signal: AbortSignal,
): Promise<GetResult> => {
  const asked: Asked = {
    operation: "get",
    key,
    method: "GET",
    path: at("r", key),
    query: {
      offset: offset === 0 ? undefined : offset,
      length,
      ifMatch,
      ifNoneMatch,
      damaged: damaged === true ? "true" : undefined,
    },
  }
  const response = await client.send(asked, signal)
  const info = infoFrom(parseJson(response.headers.get(headers.info)))
  const said = response.headers.get("content-length")
  const promised = info === undefined ? -1 : Math.min(length ?? Infinity, info.size - offset)
  const fits = info?.key === key && promised >= 0 && (ifMatch === undefined || ifMatch === info.etag) &&
    (said === null || Number(said) === promised)
  if (info === undefined || !fits) {
    await response.body?.cancel().catch(() => undefined)
    throw client.fault(asked, {
      reason: "Protocol",
      // Perhaps the answer to somebody else's request; on another connection it may be ours.
      transient: true,
      detail: "the answer is not about what was asked for",
      hint: "check that no proxy or cache answers in the store's place",
    })
  }
  const body = exactBody(response.body ?? new Blob([]).stream(), {
    length: promised,
    truncated: (delivered) =>
      client.fault(asked, { reason: "Truncated", detail: `the body ended after ${delivered} of ${promised} bytes` }),
    excess: () =>
      client.fault(asked, {
        reason: "Protocol",
        detail: `the body has more than the ${promised} bytes that were promised`,
      }),
    broken: (delivered, cause) =>
      StoreError.is(cause) ? cause : client.fault(asked, {
        reason: "Unavailable",
        detail: `the body broke after ${delivered} of ${promised} bytes: network failure`,
      }),
  })
  return { info, offset, length: promised, body }
}
