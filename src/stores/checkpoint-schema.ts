/**
 * What a stored checkpoint is: the JSON document of PERSIST-003's `VersionedCheckpoint`, plain or inside gzip, so that
 * checkpoints of the original are read as they are, and ours by everything that reads JSON.
 *
 * Fields that are not named here are kept: they come back with a load, and can be given to the next save.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import { type Reason, StoreError } from "../error.ts"
import { crc32 } from "../streams/crc32.ts"
import { decodeGzip, deflateRaw } from "../streams/gzip.ts"
import { maxRecordBytes, parseJson, type RecordFormat } from "./records.ts"

/** A checkpoint as it is stored. */
export interface VersionedCheckpoint {
  /** The checkpoint's id. */
  readonly version: string
  /** The state; any JSON value. */
  readonly state: unknown
  /** What the program keeps beside it. Default `{}`. */
  readonly metadata: Readonly<Record<string, unknown>>
  /** When it was saved, RFC 3339. */
  readonly timestamp: string
  /** The id of the checkpoint it follows. Absent in checkpoints of the original. */
  readonly parent?: string | null
  /** What else the object holds. */
  readonly [field: string]: unknown
}

const Extras: Schema.$Record<Schema.String, Schema.Unknown> = Schema.Record(Schema.String, Schema.Unknown)

const StoredCheckpoint = Schema.StructWithRest(
  Schema.Struct({
    version: Schema.NonEmptyString,
    state: Schema.Unknown,
    metadata: Schema.optionalKey(Extras),
    timestamp: Schema.String,
    parent: Schema.optionalKey(Schema.NullOr(Schema.String)),
  }),
  [Extras],
)

const decodeCheckpoint = Schema.decodeUnknownSync(StoredCheckpoint)

/** Which checkpoint of a thread is the latest. */
export interface Latest {
  /** Its id. */
  readonly checkpoint: string
}

const StoredLatest = Schema.Struct({ checkpoint: Schema.NonEmptyString })
const decodeLatest = Schema.decodeUnknownSync(StoredLatest)

/** Reads the record that names a thread's latest checkpoint. */
export const latestFormat: RecordFormat<Latest> = {
  what: "name of a latest checkpoint",
  encode: (latest) => JSON.stringify(latest),
  decode: (bytes) => decodeLatest(parseJson(bytes)),
}

/** Reads the bytes of a checkpoint; {@link parseCheckpoint} says what they hold. */
export const bytesFormat: RecordFormat<Uint8Array> = {
  what: "checkpoint",
  encode: (bytes) => bytes,
  decode: (bytes) => bytes,
}

/** As gzip's own default. */
const gzipLevel = 6

/** No flags, no time, the system unknown. */
const gzipHeader = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255)

const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b

/** Decodes gzip, checked; more than a record may have is refused before it is there. */
const gunzip = async (bytes: Uint8Array): Promise<Uint8Array> => {
  let rest: Uint8Array | undefined = bytes
  const pull = (): Promise<Uint8Array | undefined> => {
    const next = rest
    rest = undefined
    return Promise.resolve(next)
  }
  const chunks: Array<Uint8Array<ArrayBuffer>> = []
  for await (const chunk of decodeGzip(pull, { maxOutput: maxRecordBytes })) chunks.push(new Uint8Array(chunk))
  return await new Blob(chunks).bytes()
}

/** One gzip member around `plain`, as `gzip -n` makes it: the original's reader stops after the first. */
const gzip = async (plain: Uint8Array): Promise<Uint8Array> => {
  const deflated = await deflateRaw(plain, gzipLevel)
  const all = new Uint8Array(gzipHeader.length + deflated.length + 8)
  all.set(gzipHeader)
  all.set(deflated, gzipHeader.length)
  const end = new DataView(all.buffer, gzipHeader.length + deflated.length)
  end.setUint32(0, crc32(plain), true)
  end.setUint32(4, plain.length, true)
  return all
}

/** The checkpoint that bytes hold, plain or gzip; rejects with what is wrong with them. */
export const parseCheckpoint = async (bytes: Uint8Array): Promise<VersionedCheckpoint> => {
  const value = decodeCheckpoint(parseJson(isGzip(bytes) ? await gunzip(bytes) : bytes))
  return { ...value, metadata: value.metadata ?? {} }
}

/** The bytes stored for a checkpoint; rejects with a `StoreError` for one that cannot be stored so that it loads. */
export const encodeCheckpoint = async (
  checkpoint: VersionedCheckpoint,
  compression: boolean,
): Promise<Uint8Array> => {
  const refuse = (reason: Reason, detail: string, cause?: unknown): StoreError =>
    new StoreError({ reason, detail, operation: "save", cause, hint: "save a smaller state, of plain JSON values" })
  let text: string
  try {
    // JSON would leave such a field out, and what is stored would be no checkpoint.
    if (JSON.stringify(checkpoint.state) === undefined) throw new TypeError(`it is of type ${typeof checkpoint.state}`)
    text = JSON.stringify(checkpoint)
  } catch (cause) {
    throw refuse("InvalidInput", `the state cannot be written as JSON: ${(cause as Error).message}`, cause)
  }
  const plain = new TextEncoder().encode(text)
  if (plain.length > maxRecordBytes) {
    throw refuse("TooLarge", `the checkpoint has ${plain.length} bytes; the most is ${maxRecordBytes}`)
  }
  return compression ? await gzip(plain) : plain
}
