/**
 * The conformance suite as a Worker, so that it runs where the backend does: in workerd, over a real binding.
 * `GET /` names the cases, `GET /3` runs one of them. `PUT /zstd` takes stored bytes and answers what was
 * saved; `PUT /none` saves bytes as they are, and `PUT /short` expects a million of them.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { makeObjectStore } from "../../object-store.ts"
import { conformance } from "../conformance.ts"
import type { R2Bucket, R2Object } from "./bucket.ts"
import { make } from "./mod.ts"

/**
 * miniflare's bucket without two of its faults: it refuses metadata of more than 2 KiB, R2's limit of years ago (now
 * 8 KiB), so what is too long is kept here; and it breaks on a range that begins at the end, which R2 refuses.
 */
const mended = (bucket: R2Bucket): R2Bucket => {
  const long = new Map<string, string>()
  const swap = (of: (value: string) => string, metadata: Readonly<Record<string, string>> = {}) =>
    Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, of(value)]))
  const shorten = (value: string): string => {
    if (value.length < 1500) return value
    const stand = `long-${long.size}-`
    long.set(stand, value)
    return stand
  }
  const restored = <A extends R2Object | null>(object: A): A =>
    object && Object.defineProperty(object, "customMetadata", {
      value: swap((value) => long.get(value) ?? value, object.customMetadata),
    })
  return {
    head: async (key) => restored(await bucket.head(key)),
    get: async (key, options) => {
      const size = options.range && (await bucket.head(key))?.size
      if (size !== undefined && options.range!.offset >= size) throw new Error("get: no such range (10039)")
      return restored(await bucket.get(key, options))
    },
    put: async (key, bytes, options) =>
      restored(await bucket.put(key, bytes, { ...options, customMetadata: swap(shorten, options.customMetadata) })),
    delete: (keys) => bucket.delete(keys),
    list: (options) => bucket.list(options),
    createMultipartUpload: (key, options) => bucket.createMultipartUpload(key, options),
    resumeMultipartUpload: (key, id) => bucket.resumeMultipartUpload(key, id),
  }
}

export default {
  async fetch(request: Request, { BUCKET }: { readonly BUCKET: R2Bucket }): Promise<Response> {
    const path = new URL(request.url).pathname.slice(1)
    try {
      if (request.method === "PUT") return await saved(BUCKET, path, request)
      const cases = await conformance("r2-binding", () => make(mended(BUCKET), { exactKeys: true }))
      if (path === "") return Response.json(cases.map(({ name, skipped }) => ({ name, skipped })))
      await cases[Number(path)]!.run()
      return new Response("it holds")
    } catch (error) {
      return new Response(error instanceof Error ? `${error.message}\n${error.stack}` : String(error), { status: 500 })
    }
  },
}

const saved = (bucket: R2Bucket, path: string, request: Request): Promise<Response> =>
  Effect.gen(function* () {
    const store = yield* makeObjectStore(yield* make(bucket))
    const made = yield* store.save(path, request.body!, {
      contentType: "application/x-tar",
      metadata: { run: "世界" },
      ...(path === "gzip" || path === "zstd" ? { stored: { codec: path } } : { compression: "none" }),
      ...(path === "short" ? { expectedSize: 1_000_000 } : {}),
    })
    const loaded = yield* store.load(path)
    // Whole before it is answered: a damaged one is then an error, and not an answer cut short.
    const all = yield* Effect.tryPromise({ try: () => loaded.bytes(), catch: (error) => error })
    const { contentType, metadata, writeId } = loaded.info
    const facts = { contentType, run: metadata["run"], same: writeId === made.writeId }
    return new Response(all, { headers: { facts: encodeURIComponent(JSON.stringify(facts)) } })
  }).pipe(Effect.runPromise)
