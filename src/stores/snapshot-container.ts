/**
 * The file of a snapshot: `{"metadata":{…},"agent_state":…}` in one gzip member, as Persist writes and reads it; or the
 * same JSON without gzip. Either may be encrypted. Everything here goes piece by piece.
 *
 * Persist's gzip reader stops after the first member, so the form that Holdfast compresses objects with, which has
 * many, cannot be used for these files.
 *
 * @module
 */
import { Input, type Pull } from "../streams/codec-input.ts"
import { FormatError } from "../streams/format-error.ts"
import { free } from "../streams/free.ts"
import { decodeGzip } from "../streams/gzip.ts"
import type { ByteReader } from "../streams/source.ts"
import { decrypt, encrypt, isEncrypted, type SnapshotKey } from "./snapshot-encryption.ts"
import type { SnapshotHash } from "./snapshot-hash.ts"
import { JsonFlaw, JsonNormaliser, passSpace } from "./snapshot-json.ts"
import { metadataJson, type SnapshotMetadata } from "./snapshot-schema.ts"

/** Most bytes of metadata, 1 MiB: they are held in memory whole. */
export const maxMetadataSize: number = 2 ** 20

const encoder = new TextEncoder()

/** A source's JSON in normal form, while its hash is taken. */
export async function* normalised(reader: ByteReader, hash: SnapshotHash): AsyncGenerator<Uint8Array> {
  const normaliser = new JsonNormaliser()
  let ended = false
  try {
    for (let chunk = await reader.read(); chunk !== undefined; chunk = await reader.read()) {
      passSpace(chunk, normaliser.push(chunk))
      const piece = normaliser.take()
      hash.update(piece)
      if (piece.length > 0) yield piece
    }
    ended = true
    normaliser.end()
    const piece = normaliser.take()
    hash.update(piece)
    yield piece
  } finally {
    if (!ended) await reader.cancel(undefined)
  }
}

/** The JSON of a file, whose state is in normal form already. */
export async function* containerJson(
  metadata: SnapshotMetadata,
  state: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield encoder.encode(`{"metadata":${metadataJson(metadata)},"agent_state":`)
  yield* state
  yield encoder.encode("}")
}

/** The bytes of a file. */
export const containerBytes = (
  json: AsyncGenerator<Uint8Array>,
  algorithm: "gzip" | "none",
  key: SnapshotKey | undefined,
): AsyncGenerator<Uint8Array> => {
  const packed = algorithm === "gzip" ? gzip(json) : json
  return key === undefined ? packed : encrypt(packed, key)
}

/** Bytes that are compressed at a time: the event loop waits for it. */
const sliceSize = 256 * 1024

/** One gzip member. */
async function* gzip(source: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest: Uint8Array = new Uint8Array(0)
  const plain = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      while (rest.length === 0) {
        const { done, value } = await source.next()
        if (done) return controller.close()
        rest = value
      }
      controller.enqueue(rest.slice(0, sliceSize))
      rest = rest.subarray(sliceSize)
    },
    async cancel() {
      await source.return(undefined)
    },
  }, { highWaterMark: 0 })
  const reader = plain.pipeThrough(new CompressionStream("gzip")).getReader()
  let ended = false
  try {
    while (true) {
      const { done, value } = await reader.read()
      if (done) break
      yield value
    }
    ended = true
  } finally {
    if (!ended) await reader.cancel().catch(() => undefined)
  }
}

/** The JSON inside of stored bytes. What is stored decides how it is read: gzip, JSON, or either of them encrypted. */
export async function* containerText(
  pull: Pull,
  key: SnapshotKey | undefined,
  hold: number | undefined,
): AsyncGenerator<Uint8Array> {
  const input = new Input(pull)
  await input.fill(8)
  if (isEncrypted(input.view)) {
    const inner = decrypt(rest(input), key)
    return yield* plainText(new Input(pullOf(inner)), hold)
  }
  yield* plainText(input, hold)
}

async function* plainText(input: Input, hold: number | undefined): AsyncGenerator<Uint8Array> {
  await input.fill(2)
  const [first] = input.view
  if (first === 0x1f) return yield* decodeGzip(rest(input), { hold })
  if (first === undefined || !/[{\s]/.test(String.fromCharCode(first))) {
    throw new FormatError("mismatch", "this is no snapshot: neither gzip nor JSON begins here", { offset: 0 })
  }
  const pull = rest(input)
  for (let bytes = await pull(); bytes !== undefined; bytes = await pull()) yield bytes
}

/** What an input holds and what it would read next. */
const rest = (input: Input): Pull => async () => await input.fill(1) ? input.take(input.view.length) : undefined

const pullOf = (source: AsyncGenerator<Uint8Array>): Pull => async () => {
  const { done, value } = await source.next()
  return done ? undefined : value
}

/** A piece of a file: its metadata as JSON, or bytes of its state in normal form. */
export type ContainerPiece =
  | { readonly kind: "metadata"; readonly json: string }
  | { readonly kind: "state"; readonly bytes: Uint8Array<ArrayBuffer> }

/**
 * Takes a file apart, in the order that it has. Space, unknown fields and any order of the two are read, as Persist
 * reads them. When the generator has ended well the file is a whole one.
 */
export async function* readContainer(text: AsyncGenerator<Uint8Array>): AsyncGenerator<ContainerPiece> {
  const reader = new TextReader(text)
  const seen = new Set<string>()
  try {
    await reader.expect("{")
    while (true) {
      const key = JSON.parse(await reader.held()) as unknown
      if (typeof key !== "string") throw new JsonFlaw("a key was expected")
      await reader.expect(":")
      if (key !== "metadata" && key !== "agent_state") await reader.skip()
      else if (seen.has(key)) throw new JsonFlaw(`${key} is there twice`)
      else if (key === "metadata") yield { kind: "metadata", json: await reader.held() }
      else for await (const bytes of reader.value()) yield { kind: "state", bytes }
      seen.add(key)
      if (await reader.expect(",", "}") === "}") break
    }
    await reader.expectEnd()
    for (const field of ["metadata", "agent_state"]) {
      if (!seen.has(field)) throw new JsonFlaw(`${field} is missing`)
    }
  } finally {
    await text.return(undefined)
  }
}

/** Reads JSON whose outline is known. */
class TextReader {
  readonly #text: AsyncGenerator<Uint8Array>
  #chunk: Uint8Array = new Uint8Array(0)
  #at = 0

  constructor(text: AsyncGenerator<Uint8Array>) {
    this.#text = text
  }

  /** Whether there is a byte to be read. */
  async #more(): Promise<boolean> {
    while (this.#at === this.#chunk.length) {
      // What decodes or decrypts makes a buffer a chunk, and the collectors know little of them.
      free(this.#chunk)
      const { done, value } = await this.#text.next()
      if (done) return false
      this.#chunk = value
      this.#at = 0
    }
    return true
  }

  async #mark(): Promise<string | undefined> {
    while (await this.#more()) {
      const mark = String.fromCharCode(this.#chunk[this.#at++]!)
      if (!" \n\r\t".includes(mark)) return mark
    }
    return undefined
  }

  /** Reads one of these characters. */
  async expect(...marks: ReadonlyArray<string>): Promise<string> {
    const mark = await this.#mark()
    if (mark === undefined) throw new JsonFlaw("it ends in the middle")
    if (!marks.includes(mark)) throw new JsonFlaw(`a "${marks.join('" or "')}" was expected`)
    return mark
  }

  async expectEnd(): Promise<void> {
    if (await this.#mark() !== undefined) throw new JsonFlaw("something follows the value")
  }

  /** The next value in normal form, piece by piece. */
  async *value(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const normaliser = new JsonNormaliser()
    while (!normaliser.done && await this.#more()) {
      this.#at += normaliser.push(this.#chunk.subarray(this.#at))
      const piece = normaliser.take()
      if (piece.length > 0) yield piece
    }
    if (!normaliser.done) throw new JsonFlaw("it ends in the middle")
  }

  /** The next value as text; it has to be a small one. */
  async held(): Promise<string> {
    const pieces: Array<Uint8Array<ArrayBuffer>> = []
    let size = 0
    for await (const piece of this.value()) {
      size += piece.length
      if (size > maxMetadataSize) throw new JsonFlaw(`the metadata have more than ${maxMetadataSize} bytes`)
      pieces.push(piece)
    }
    return await new Blob(pieces).text()
  }

  async skip(): Promise<void> {
    for await (const _ of this.value());
  }
}
