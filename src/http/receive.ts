/**
 * The bytes of a request: counted against every limit while they come, and never waited for without end.
 *
 * What a maintainer must keep: nothing is stored of a body that ends before its announced length, goes on after it,
 * comes too slowly, or whose sender has gone; runtimes differ in which of these they report as an error.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { headers as names, parseJson, textsIn } from "../backends/http/wire.ts"
import type { ObjectInfo } from "../backend.ts"
import { StoreError, type StoreErrorArgs } from "../error.ts"
import { free } from "../streams/free.ts"
import { PartPool } from "../streams/parts.ts"
import { streamOf } from "../streams/reader.ts"
import { writeCondition } from "./conditions.ts"
import { run, type ServedStore, serviceOf } from "./served.ts"

const MiB = 2 ** 20

/** What a request may send, and who else reads it. */
export interface ReceiveLimits {
  /** Most bytes of an object, before compression. Default: what the store takes. */
  readonly maxBytes?: number | undefined
  /**
   * Milliseconds that a sender may keep us waiting, all in all; each KiB that has come gives it one second more. So a
   * body that stalls or trickles is given up, and a slow line is not. Default 30,000.
   */
  readonly patience?: number | undefined
  /**
   * Whether nobody else reads the bodies of the requests. Then the memory of what has been taken over is given back at
   * once, by detaching it, instead of when a collector gets round to it: a server in Bun needs a third less. Set it where
   * requests come from the runtime's server straight to this, and nothing in front clones them: in Bun a clone shares
   * its chunks. Default `false`.
   */
  readonly ownsBodies?: boolean | undefined
}

/** Bytes a second that earn a sender more time. */
const minRate = 1024

const fault = (key: string, fields: Pick<StoreErrorArgs, "reason" | "detail" | "hint"> & Partial<StoreErrorArgs>) =>
  new StoreError({ operation: "save", ambiguous: false, transient: false, ...fields, key })

const tooLarge = (key: string, most: number): StoreError =>
  fault(key, {
    reason: "TooLarge",
    detail: `the body has more than the ${most} bytes that are allowed here`,
    hint: "split the object, or ask the owner of the server to raise maxBytes",
  })

const announced = (request: Request): number | undefined => {
  const length = request.headers.get("content-length")
  return length !== null && /^\d{1,15}$/.test(length) ? Number(length) : undefined
}

/** The body of a request, chunk by chunk, within its limits. */
class Incoming {
  readonly #key: string
  readonly #request: Request
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #maxBytes: number
  readonly #patience: number
  readonly #owns: boolean
  readonly #expected: number | undefined
  #received = 0
  #waited = 0
  #last: Uint8Array | undefined
  /** Since when the sender keeps us waiting. */
  #since: number | undefined
  /** One for all reads: setting one for each costs more than the read. */
  #timer: ReturnType<typeof setTimeout> | undefined
  #late: StoreError | undefined

  constructor(
    key: string,
    request: Request,
    { maxBytes = Infinity, patience = 30_000, ownsBodies = false }: ReceiveLimits,
  ) {
    this.#key = key
    this.#request = request
    this.#reader = (request.body ?? new Blob([]).stream()).getReader()
    this.#maxBytes = maxBytes
    this.#patience = patience
    this.#owns = ownsBodies
    this.#expected = announced(request)
  }

  /**
   * The next chunk, never empty; `undefined` at the end. Whoever asks is done with the one before. After an error the
   * sender has been told to stop.
   */
  async next(): Promise<Uint8Array | undefined> {
    if (this.#owns && this.#last !== undefined) free(this.#last)
    this.#last = undefined
    try {
      const chunk = this.#last = await this.#read()
      if (chunk === undefined) this.#checkEnd()
      else {
        this.#received += chunk.length
        if (this.#received > this.#maxBytes) throw tooLarge(this.#key, this.#maxBytes)
      }
      return chunk
    } catch (cause) {
      const error = StoreError.is(cause) ? cause : fault(this.#key, {
        reason: "Aborted",
        // Whoever reads this has not gone: something between us has.
        transient: true,
        detail: `the body broke after ${this.#received} bytes`,
        hint: "nothing was saved; send it again",
        cause,
      })
      await this.cancel(error)
      throw error
    }
  }

  /** Tells the sender to stop. Never rejects. */
  async cancel(reason: unknown): Promise<void> {
    clearTimeout(this.#timer)
    await this.#reader.cancel(reason).catch(() => undefined)
  }

  async #read(): Promise<Uint8Array | undefined> {
    this.#since = performance.now()
    this.#timer ??= setTimeout(this.#look, this.#timeLeft())
    // Deno's bodies may begin with a chunk that is empty.
    let next = await this.#reader.read()
    while (!next.done && next.value.length === 0) next = await this.#reader.read()
    this.#waited += performance.now() - this.#since
    this.#since = undefined
    if (this.#late !== undefined) throw this.#late
    return next.value
  }

  #checkEnd(): void {
    clearTimeout(this.#timer)
    if (this.#expected !== undefined && this.#received < this.#expected) {
      throw fault(this.#key, {
        reason: "Truncated",
        detail: `the body ended after ${this.#received} of ${this.#expected} bytes`,
        hint: "nothing was saved; send it again",
      })
    }
    this.#request.signal.throwIfAborted()
  }

  #timeLeft(): number {
    const waited = this.#waited + (this.#since === undefined ? 0 : performance.now() - this.#since)
    return Math.min(this.#patience + this.#received / minRate * 1000 - waited, 2 ** 31 - 1)
  }

  readonly #look = (): void => {
    this.#timer = undefined
    // Between reads it is the store that takes its time.
    if (this.#since === undefined) return
    const left = this.#timeLeft()
    if (left > 1) {
      this.#timer = setTimeout(this.#look, left)
      return
    }
    this.#late = fault(this.#key, {
      reason: "Timeout",
      detail: `the body comes too slowly: ${this.#received} bytes so far`,
      hint: "nothing was saved; send it again over a faster line, or in an upload of parts",
    })
    // Ends the read that is waiting.
    void this.cancel(this.#late)
  }
}

/** The body as a stream that keeps to the limits or errors. Its cancelling reaches the sender. */
const receive = (key: string, request: Request, limits: ReceiveLimits): ReadableStream<Uint8Array> => {
  const incoming = new Incoming(key, request, limits)
  return streamOf({ read: () => incoming.next(), cancel: (reason) => incoming.cancel(reason) })
}

/** The SHA-256 of a `Content-Digest` (RFC 9530) in hex, where there is one. */
const digestIn = (key: string, headers: Headers): string | undefined => {
  const field = headers.get("content-digest")
  if (field === null) return undefined
  const base64 = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(field)?.[1]
  if (base64 !== undefined) {
    return Array.from(atob(base64), (char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join("")
  }
  throw fault(key, {
    reason: "InvalidInput",
    detail: "the header content-digest holds no SHA-256",
    hint: "write content-digest: sha-256=:BASE64:",
  })
}

const metadataIn = (key: string, headers: Headers): Readonly<Record<string, string>> | undefined => {
  const field = headers.get(names.metadata)
  if (field === null) return undefined
  const metadata = textsIn({ metadata: parseJson(field) }, "metadata")
  if (metadata !== undefined) return metadata
  throw fault(key, {
    reason: "InvalidInput",
    detail: `the header ${names.metadata} is no JSON object of texts`,
    hint: `write ${names.metadata}: {"name":"value"}, with what is not ASCII as \\uXXXX`,
  })
}

/**
 * Saves the body of a `PUT` under `key`: with its `Content-Type`, the metadata of `Holdfast-Metadata`, and on the
 * condition of `If-Match` or `If-None-Match: *`. The body must have the bytes of its `Content-Length`, and the SHA-256
 * of its `Content-Digest` where it has one. Rejects with a `StoreError`, and then nothing is saved.
 *
 * @example A handler of your own
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { saveRequest } from "@holdfast/holdfast/http"
 *
 * await using store = await open("mem:")
 * const handler = async (request: Request) => {
 *   const info = await saveRequest(store, "inbox/1", request, { maxBytes: 1_000_000 })
 *   return Response.json({ etag: info.etag }, { status: 201 })
 * }
 * await handler(new Request("http://localhost/inbox", { method: "PUT", body: "hello" }))
 * console.assert((await store.stat("inbox/1")).length === 5)
 * ```
 */
export const saveRequest = async (
  store: ServedStore,
  key: string,
  request: Request,
  limits: ReceiveLimits = {},
): Promise<ObjectInfo> => {
  const { headers } = request
  const encoding = headers.get("content-encoding")?.trim().toLowerCase() ?? "identity"
  if (encoding !== "identity") {
    throw fault(key, {
      reason: "InvalidInput",
      detail: `the body is encoded with ${JSON.stringify(encoding.slice(0, 40))}`,
      hint: "send it as it is, without content-encoding; the store compresses by itself",
    })
  }
  if (headers.has("content-range")) {
    throw fault(key, {
      reason: "InvalidInput",
      detail: "a part of an object cannot be replaced",
      hint: "send the whole object, without content-range",
    })
  }
  const expectedSize = announced(request)
  const { maxBytes = Infinity } = limits
  if (expectedSize !== undefined && expectedSize > maxBytes) throw tooLarge(key, maxBytes)
  const options = {
    ...writeCondition(headers),
    contentType: headers.get("content-type") ?? undefined,
    metadata: metadataIn(key, headers),
    expectedSha256: digestIn(key, headers),
    expectedSize,
  }
  return await run(serviceOf(store).save(key, receive(key, request, limits), options), request.signal)
}

/** Most bytes of one request that are held in memory: of a put or a part. More goes as further parts. */
export const maxPiece: number = 64 * MiB

/** Bytes of all requests together that are held in memory. Further ones wait, and so do their senders. */
const budget = maxPiece

/** Idle buffers that are kept for the next requests. */
const idleBytes = 32 * MiB

/** Receives pieces whole, in buffers that are used again. */
export class PieceReceiver {
  readonly #pool: PartPool = new PartPool(idleBytes)
  readonly #room: Semaphore.Semaphore = Semaphore.makeUnsafe(budget / MiB)

  /** `use` of the `size` bytes of a request. They are its own until it ends. */
  receive<A>(
    key: string,
    request: Request,
    size: number,
    limits: ReceiveLimits,
    use: (bytes: Uint8Array) => Effect.Effect<A, StoreError>,
  ): Effect.Effect<A, StoreError> {
    const weight = Math.max(1, Math.ceil(size / MiB))
    // Whole mebibytes, so that few sizes of buffers serve all sizes of parts.
    const pooled = size >= MiB
    const piece = Effect.suspend(() => {
      const buffer = pooled ? this.#pool.take(weight * MiB) : new Uint8Array(size)
      const bytes = buffer.subarray(0, size)
      return Effect.tryPromise({
        try: (signal) => fill(key, request, bytes, limits, signal),
        catch: (cause) => cause as StoreError,
      }).pipe(
        Effect.andThen(Effect.suspend(() => use(bytes))),
        Effect.tap(() => Effect.sync(() => pooled && this.#pool.release(buffer))),
      )
    })
    return Semaphore.withPermits(this.#room, weight)(piece)
  }
}

/** Reads a body into `bytes`, which it must fill exactly. */
const fill = async (
  key: string,
  request: Request,
  bytes: Uint8Array,
  { patience, ownsBodies }: ReceiveLimits,
  signal: AbortSignal,
): Promise<void> => {
  const incoming = new Incoming(key, request, { patience, ownsBodies })
  signal.addEventListener("abort", () => void incoming.cancel(signal.reason), { once: true })
  let filled = 0
  for (let chunk = await incoming.next(); chunk !== undefined; chunk = await incoming.next()) {
    if (filled + chunk.length > bytes.length) {
      const error = fault(key, {
        reason: "InvalidInput",
        detail: `the body has more than the ${bytes.length} bytes announced`,
        hint: "give the size that it has",
      })
      await incoming.cancel(error)
      throw error
    }
    bytes.set(chunk, filled)
    filled += chunk.length
  }
  if (filled < bytes.length) {
    throw fault(key, {
      reason: "Truncated",
      detail: `the body ended after ${filled} of ${bytes.length} bytes`,
      hint: "nothing was saved; send it again",
      transient: true,
    })
  }
}

/** Most bytes of a document that a request may send: 10,000 parts, or 1,000 keys, with room to spare. */
const maxDocument = 8 * MiB

/** The document of a request. */
export const receiveJson = async (
  key: string,
  request: Request,
  { patience, ownsBodies }: ReceiveLimits,
): Promise<unknown> => {
  const decoder = new TextDecoder()
  let text = ""
  for await (const chunk of receive(key, request, { maxBytes: maxDocument, patience, ownsBodies })) {
    text += decoder.decode(chunk, { stream: true })
  }
  return parseJson(text + decoder.decode())
}
