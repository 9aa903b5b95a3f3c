/**
 * From stored bytes back to what was saved: the tail of an encoded object, the plaintext of a whole one or of a range,
 * and what the decoders' verdicts mean to the caller of a load.
 *
 * Decoders pull from a body that has healed what can be healed, so whatever they refuse is what the store holds:
 * nothing here is transient.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Backend, ObjectInfo, StatOptions } from "./backend.ts"
import { aborted } from "./body.ts"
import { StoreError } from "./error.ts"
import { type Codec, sniff } from "./streams/codec.ts"
import { decodeContainer, decodeRange, type RangePlan } from "./streams/container.ts"
import { readTail, type Tail, tailGuess } from "./streams/container-tail.ts"
import { FormatError } from "./streams/format-error.ts"
import { free } from "./streams/free.ts"
import { decodeGzip } from "./streams/gzip.ts"
import { readerOf, streamOf } from "./streams/reader.ts"
import { decodeZstd } from "./streams/zstd.ts"

/** The codec that an object's metadata names; `Unsupported` when this version does not know it. */
export const codecOf = (backend: string, info: ObjectInfo): Effect.Effect<Codec | undefined, StoreError> => {
  const { codec, key } = info
  if (codec === undefined || codec === "zstd" || codec === "gzip") return Effect.succeed(codec)
  return Effect.fail(
    new StoreError({
      reason: "Unsupported",
      detail: `the object is encoded as ${JSON.stringify(codec)}, which this version does not know`,
      hint: 'use a newer version, or load the stored bytes with decode: "none"',
      operation: "load",
      backend,
      key,
    }),
  )
}

/** What a decoder's refusal means: of bytes that Holdfast has encoded, or (`foreign`) that the caller says are so. */
export const formatFailure = (
  backend: string,
  key: string,
  cause: unknown,
  foreign?: { readonly codec: Codec; readonly first: Uint8Array | undefined },
): StoreError => {
  if (StoreError.is(cause)) return cause
  const made = { operation: "load", backend, key, transient: false, ambiguous: false, cause }
  if (!(cause instanceof FormatError)) {
    return new StoreError({ ...made, reason: "Protocol", detail: "the decoder failed in a way it should not" })
  }
  const detail = cause.message
  switch (cause.kind) {
    case "mismatch": {
      if (foreign === undefined) return new StoreError({ ...made, reason: "Corrupt", detail })
      const seen = foreign.first === undefined ? undefined : sniff(foreign.first)
      return new StoreError({
        ...made,
        reason: "InvalidInput",
        detail: `the object is not ${foreign.codec}: ${detail}`,
        hint: seen === undefined
          ? "load it without decode; it is not compressed in a way that Holdfast knows"
          : `load it with decode: "${seen}"`,
      })
    }
    case "truncated":
      return new StoreError({
        ...made,
        reason: "Truncated",
        detail,
        hint: "the stored object is shorter than it should be; restore it from a copy and save it again",
      })
    case "unsupported":
      return new StoreError({
        ...made,
        reason: "Unsupported",
        detail,
        hint: 'load the stored bytes with decode: "none" and decode them with the tool that made them',
      })
    case "limit":
      return foreign === undefined ? new StoreError({ ...made, reason: "Corrupt", detail }) : new StoreError({
        ...made,
        reason: "TooLarge",
        detail,
        hint: "raise maxLength if you trust whoever made the object",
      })
    default:
      return new StoreError({ ...made, reason: "Corrupt", detail })
  }
}

/** Reads `length` bytes of the object from `offset` on, as it was when `info` was taken. */
const readBytes = (
  backend: Backend,
  info: ObjectInfo,
  options: StatOptions,
  offset: number,
  length: number,
): Effect.Effect<Uint8Array, StoreError> =>
  Effect.gen(function* () {
    // A weak etag cannot be asked for; the tail's own CRC-32 tells then whether it is whole.
    const ifMatch = info.etag.startsWith("W/") ? undefined : info.etag
    const got = yield* backend.get(info.key, { ...options, offset, length, ifMatch })
    const bytes = new Uint8Array(length)
    let filled = 0
    const reader = readerOf(got.body)
    const read = Effect.tryPromise({
      try: async () => {
        for (let chunk = await reader.read(); chunk !== undefined; chunk = await reader.read()) {
          bytes.set(chunk, filled)
          filled += chunk.length
        }
        return bytes.subarray(0, filled)
      },
      catch: (cause) =>
        StoreError.is(cause) ? cause : new StoreError({
          reason: "Unavailable",
          detail: "the end of the object could not be read",
          ambiguous: false,
          backend: backend.name,
          operation: "load",
          key: info.key,
          cause,
        }),
    })
    return yield* Effect.ensuring(read, Effect.promise(() => reader.cancel().catch(() => undefined)))
  })

/**
 * The tail of an encoded object, pinned to the etag of `info`. An object that Holdfast has encoded and whose tail is
 * missing, damaged or another codec's is refused; one that something else has made may have none: `undefined`.
 */
export const loadTail = (
  backend: Backend,
  info: ObjectInfo,
  options: StatOptions,
): Effect.Effect<Tail | undefined, StoreError> =>
  Effect.gen(function* () {
    const refuse = (kind: "truncated" | "corrupt", detail: string): StoreError =>
      formatFailure(backend.name, info.key, new FormatError(kind, detail, { offset: info.size }))
    let want = Math.min(tailGuess, info.size)
    while (want > 0) {
      const last = yield* Effect.mapError(
        readBytes(backend, info, options, info.size - want, want),
        (error) =>
          error.reason === "PreconditionFailed" || error.reason === "NotFound"
            ? error.with({ reason: "Changed", detail: "the object changed while its end was read", hint: undefined })
            : error,
      )
      const tail = yield* Effect.try({
        try: () => readTail(last, info.size),
        catch: (cause) => formatFailure(backend.name, info.key, cause),
      })
      if (tail === undefined) break
      if ("codec" in tail) {
        if (info.codec === undefined || tail.codec === info.codec) return tail
        return yield* Effect.fail(refuse("corrupt", `the object is ${tail.codec}, its metadata says ${info.codec}`))
      }
      want = tail.need
    }
    if (info.codec === undefined) return undefined
    return yield* Effect.fail(refuse("truncated", "the stored object ends without its trailer"))
  })

/** What a decoded body is made from. */
export type Decoding =
  /** All of an object of ours. */
  | { readonly kind: "container"; readonly codec: Codec; readonly length: number; readonly tail: Tail | undefined }
  /** The frames of a range. */
  | { readonly kind: "range"; readonly tail: Tail; readonly plan: RangePlan }
  /** All of an object that something else has encoded. */
  | { readonly kind: "foreign"; readonly codec: Codec; readonly maxLength: number | undefined }

/** Bytes of the plaintext that are handed out. */
export interface Window {
  readonly offset: number
  readonly length: number | undefined
}

/**
 * Decodes a stored body. An aborted `signal` ends it before the next chunk. The result's errors are {@link StoreError}s, and
 * cancelling it cancels the body.
 */
export const decodedBody = (
  backend: string,
  key: string,
  stored: ReadableStream<Uint8Array>,
  decoding: Decoding,
  window: Window,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): ReadableStream<Uint8Array> => {
  const reader = readerOf(stored)
  let first: Uint8Array | undefined
  const pull = async (): Promise<Uint8Array | undefined> => {
    const chunk = await reader.read()
    first ??= chunk?.slice(0, 4)
    return chunk
  }
  const plain = inPieces(windowed(decode(pull, decoding), window))
  const fail = async (cause: unknown): Promise<never> => {
    const foreign = decoding.kind === "foreign" ? { codec: decoding.codec, first } : undefined
    const error = formatFailure(backend, key, cause, foreign)
    await reader.cancel(error).catch(() => undefined)
    throw error
  }
  let handed = 0
  return streamOf({
    read: async () => {
      try {
        // The stored body may have ended before the signal, and with it whoever watched the signal.
        if (signal?.aborted) throw aborted("load", key, signal)
        const { done, value } = await plain.next()
        if (!done) {
          handed += value.length
          onBytes(handed)
          return value
        }
      } catch (cause) {
        await fail(cause)
      }
      // A range of what decodes from its start ends before the stored bytes do.
      await reader.cancel().catch(() => undefined)
      return undefined
    },
    cancel: async (reason) => {
      await reader.cancel(reason).catch(() => undefined)
      await plain.return().catch(() => undefined)
    },
  })
}

async function* decode(
  pull: () => Promise<Uint8Array | undefined>,
  decoding: Decoding,
): AsyncGenerator<Uint8Array, void> {
  switch (decoding.kind) {
    case "range":
      return yield* decodeRange(pull, decoding.tail, decoding.plan)
    case "foreign": {
      const options = { maxOutput: decoding.maxLength }
      return yield* decoding.codec === "zstd" ? decodeZstd(pull, options) : decodeGzip(pull, options)
    }
    case "container": {
      const { codec, length, tail } = decoding
      let decoded = 0
      for await (const chunk of decodeContainer(pull, codec, { maxOutput: length, tail })) {
        decoded += chunk.length
        yield chunk
      }
      if (decoded !== length) {
        throw new FormatError("corrupt", `it decodes to ${decoded} bytes, its metadata says ${length}`, { offset: 0 })
      }
    }
  }
}

/** Bytes of a chunk that is handed out. */
const pieceSize = 512 * 1024

/**
 * Frames in small pieces of their own: the consumer's are his to keep, and the collector is quick with them; the
 * frame's memory goes back at once.
 */
async function* inPieces(chunks: AsyncGenerator<Uint8Array, void>): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of chunks) {
    if (chunk.length <= pieceSize) {
      yield chunk
      continue
    }
    for (let at = 0; at < chunk.length; at += pieceSize) yield chunk.slice(at, at + pieceSize)
    free(chunk)
  }
}

/** The bytes of a window, and an error when it begins behind the end. */
async function* windowed(
  chunks: AsyncGenerator<Uint8Array, void>,
  { offset, length }: Window,
): AsyncGenerator<Uint8Array, void> {
  if (offset === 0 && length === undefined) return yield* chunks
  let skip = offset
  let left = length ?? Infinity
  if (left === 0) return
  for await (const chunk of chunks) {
    if (skip >= chunk.length) {
      skip -= chunk.length
      continue
    }
    const part = chunk.subarray(skip, skip + left)
    skip = 0
    left -= part.length
    yield part
    if (left === 0) return
  }
  if (skip > 0) {
    throw new StoreError({
      reason: "RangeNotSatisfiable",
      detail: `the range starts at ${offset}, and the object decodes to ${offset - skip} bytes`,
      operation: "load",
    })
  }
}
