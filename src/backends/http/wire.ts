/**
 * What a Holdfast store says over HTTP to another Holdfast: paths, headers and documents, as `docs/http.md` describes
 * them. Both ends use this file, and both take nothing on trust: a document that is not of its shape is `undefined`.
 *
 * What a maintainer must keep: a change that an older end would misread is a new {@link protocol}.
 *
 * @module
 */
import type {
  Capabilities,
  CompleteOptions,
  ListPage,
  ObjectEntry,
  ObjectInfo,
  Part,
  PartRules,
  RemoveResult,
  UploadEntry,
  UploadPage,
} from "../../backend.ts"
import { allReasons, type Reason, StoreError, type StoreErrorArgs } from "../../error.ts"

/** Version of the protocol; both ends must have the same one. */
export const protocol = 1

/** Names of header fields. */
export const headers = {
  /** An object's facts, beside its stored bytes. */
  info: "holdfast-info",
  /** What is stored beside the bytes of a request, and on which condition. */
  options: "holdfast-options",
  /** User metadata, for clients that are no Holdfast. */
  metadata: "holdfast-metadata",
} as const

/** Media type of an error's document (RFC 9457). */
export const problemType = "application/problem+json"

/** The optional calls of a backend that go over the wire. */
export const optionalCalls = ["copy", "move", "listUploads", "listParts"] as const

/** One of them. */
export type OptionalCall = (typeof optionalCalls)[number]

/** What a mount says about itself. */
export interface Description {
  /** The backend's name at the server. */
  readonly backend: string
  /** What a client may ask for. */
  readonly capabilities: Capabilities
  /** Which optional calls there are. */
  readonly calls: ReadonlyArray<OptionalCall>
}

/** JSON that a header field carries unchanged. */
export const toHeader = (value: unknown): string =>
  JSON.stringify(value).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** The value that a text of JSON stands for; `undefined` where it is none. */
export const parseJson = (text: string | null | undefined): unknown => {
  try {
    return text === null || text === undefined ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The fields of a JSON object. */
export type Fields = Readonly<Record<string, unknown>>

/** The fields of a value that is a JSON object. */
export const fieldsOf = (value: unknown): Fields | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value as Fields : undefined

const own = (fields: Fields, name: string): unknown => Object.hasOwn(fields, name) ? fields[name] : undefined

/** A field that is a text, or absent. */
export const textIn = (fields: Fields, name: string): string | undefined => {
  const value = own(fields, name)
  return typeof value === "string" ? value : undefined
}

/** A field that is a whole number from 0 on, or absent. */
export const countIn = (fields: Fields, name: string): number | undefined => {
  const value = own(fields, name)
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

const flagIn = (fields: Fields, name: string): boolean => own(fields, name) === true

/** A field of texts by name, or absent. */
export const textsIn = (fields: Fields, name: string): Readonly<Record<string, string>> | undefined => {
  const values = fieldsOf(own(fields, name))
  if (values === undefined) return undefined
  return Object.values(values).every((value) => typeof value === "string")
    ? values as Readonly<Record<string, string>>
    : undefined
}

const listIn = <A>(fields: Fields, name: string, read: (value: unknown) => A | undefined): Array<A> | undefined => {
  const values = own(fields, name)
  if (!Array.isArray(values)) return undefined
  const all = values.map(read)
  return all.includes(undefined) ? undefined : all as Array<A>
}

const dateIn = (fields: Fields, name: string): Date | undefined => {
  const date = new Date(textIn(fields, name) ?? NaN)
  return Number.isNaN(date.getTime()) ? undefined : date
}

/** The facts of an object as they are sent: what a client can use, and nothing else that a backend may know. */
export const infoDocument = (info: ObjectInfo): Fields => {
  const { key, size, etag, modified, contentType, metadata, crc32, sha256, codec, length, writeId, storageClass } = info
  return { key, size, etag, modified, contentType, metadata, crc32, sha256, codec, length, writeId, storageClass }
}

/** The opposite. */
export const infoFrom = (value: unknown): ObjectInfo | undefined => {
  const fields = fieldsOf(value)
  if (fields === undefined) return undefined
  const entry = entryFrom(fields)
  const metadata = textsIn(fields, "metadata")
  if (entry?.etag === undefined || metadata === undefined) return undefined
  return {
    ...entry,
    etag: entry.etag,
    contentType: textIn(fields, "contentType"),
    metadata,
    crc32: countIn(fields, "crc32"),
    sha256: textIn(fields, "sha256"),
    codec: textIn(fields, "codec"),
    length: countIn(fields, "length"),
    writeId: textIn(fields, "writeId"),
    storageClass: textIn(fields, "storageClass"),
  }
}

const entryFrom = (value: unknown): ObjectEntry | undefined => {
  const fields = fieldsOf(value)
  if (fields === undefined) return undefined
  const key = textIn(fields, "key")
  const size = countIn(fields, "size")
  const modified = dateIn(fields, "modified")
  if (key === undefined || size === undefined || modified === undefined) return undefined
  return { key, size, modified, etag: textIn(fields, "etag") }
}

const textFrom = (value: unknown): string | undefined => typeof value === "string" ? value : undefined

/** A page of a listing. */
export const pageFrom = (value: unknown): ListPage | undefined => {
  const fields = fieldsOf(value)
  if (fields === undefined) return undefined
  const objects = listIn(fields, "objects", entryFrom)
  const prefixes = listIn(fields, "prefixes", textFrom)
  if (objects === undefined || prefixes === undefined) return undefined
  return { objects, prefixes, cursor: textIn(fields, "cursor") }
}

/** A part, as it is stored. */
export const partFrom = (value: unknown): Part | undefined => {
  const fields = fieldsOf(value)
  if (fields === undefined) return undefined
  const number = countIn(fields, "number")
  const offset = countIn(fields, "offset")
  const size = countIn(fields, "size")
  if (number === undefined || offset === undefined || size === undefined) return undefined
  return { number, offset, size, crc32: countIn(fields, "crc32"), etag: textIn(fields, "etag") }
}

/** Parts, in their order. */
export const partsFrom = (value: unknown): ReadonlyArray<Part> | undefined => {
  const fields = fieldsOf(value)
  return fields === undefined ? undefined : listIn(fields, "parts", partFrom)
}

/** What ends an upload, without its condition, which is checked like any other. */
export const completionFrom = (fields: Fields): Pick<CompleteOptions, "size" | "crc32" | "sha256" | "length"> => ({
  size: countIn(fields, "size") ?? -1,
  crc32: countIn(fields, "crc32"),
  sha256: textIn(fields, "sha256"),
  length: countIn(fields, "length"),
})

const uploadFrom = (value: unknown): UploadEntry | undefined => {
  const fields = fieldsOf(value)
  if (fields === undefined) return undefined
  const id = textIn(fields, "id")
  const key = textIn(fields, "key")
  const started = dateIn(fields, "started")
  return id === undefined || key === undefined || started === undefined ? undefined : { id, key, started }
}

/** A page of unfinished uploads. */
export const uploadPageFrom = (value: unknown): UploadPage | undefined => {
  const fields = fieldsOf(value)
  const uploads = fields && listIn(fields, "uploads", uploadFrom)
  return uploads && { uploads, cursor: textIn(fields!, "cursor") }
}

/** What became of the keys of a removal. */
export const removalsDocument = (results: ReadonlyArray<RemoveResult>): Fields => ({
  results: results.map(({ key, error }) => ({ key, error: error && errorDocument(error) })),
})

/** The opposite. */
export const removalsFrom = (value: unknown, known: Partial<StoreErrorArgs>): Array<RemoveResult> | undefined => {
  const fields = fieldsOf(value)
  return fields && listIn(fields, "results", (each): RemoveResult | undefined => {
    const result = fieldsOf(each)
    const key = result && textIn(result, "key")
    if (result === undefined || key === undefined) return undefined
    const said = own(result, "error")
    if (said === undefined) return { key }
    const error = errorFrom(said, { ...known, key })
    return error && { key, error }
  })
}

/** The rules for parts. `null` stands for a count without a limit, which JSON has no number for. */
const rulesFrom = (value: unknown): PartRules | undefined => {
  const fields = fieldsOf(value)
  if (fields === undefined) return undefined
  const [minSize, maxSize, recommendedSize, concurrency] = ["minSize", "maxSize", "recommendedSize", "concurrency"].map(
    (
      name,
    ) => countIn(fields, name),
  )
  const maxCount = own(fields, "maxCount") === null ? Infinity : countIn(fields, "maxCount")
  if (minSize === undefined || maxSize === undefined || recommendedSize === undefined) return undefined
  if (maxCount === undefined || concurrency === undefined || concurrency < 1 || maxSize < 1) return undefined
  return {
    minSize,
    maxSize,
    recommendedSize,
    maxCount,
    concurrency,
    equalSize: flagIn(fields, "equalSize"),
    sequential: flagIn(fields, "sequential"),
  }
}

const capabilitiesFrom = (value: unknown): Capabilities | undefined => {
  const fields = fieldsOf(value)
  if (fields === undefined) return undefined
  const conditions = fieldsOf(own(fields, "conditional"))
  const parts = rulesFrom(own(fields, "parts"))
  const maxPut = countIn(fields, "maxPut")
  if (conditions === undefined || maxPut === undefined || (parts === undefined && "parts" in fields)) return undefined
  return {
    parts,
    maxPut,
    conditional: {
      create: flagIn(conditions, "create"),
      replace: flagIn(conditions, "replace"),
      complete: flagIn(conditions, "complete"),
      copy: flagIn(conditions, "copy"),
      remove: flagIn(conditions, "remove"),
    },
    enforcedChecksum: flagIn(fields, "enforcedChecksum"),
    copy: flagIn(fields, "copy"),
    move: flagIn(fields, "move"),
    parallelRanges: flagIn(fields, "parallelRanges"),
    nestedKeys: flagIn(fields, "nestedKeys"),
    lateFacts: flagIn(fields, "lateFacts"),
    maxCopy: countIn(fields, "maxCopy"),
  }
}

/** What a mount says about itself, as it is sent. */
export const descriptionDocument = (description: Description): Fields => ({ holdfast: protocol, ...description })

/** The opposite. A number instead: the version of a protocol that is not ours. */
export const descriptionFrom = (value: unknown): Description | number | undefined => {
  const fields = fieldsOf(value)
  const version = fields && countIn(fields, "holdfast")
  if (fields === undefined || version === undefined) return undefined
  if (version !== protocol) return version
  const backend = textIn(fields, "backend")
  const capabilities = capabilitiesFrom(own(fields, "capabilities"))
  const calls = listIn(fields, "calls", textFrom)
  if (backend === undefined || capabilities === undefined || calls === undefined) return undefined
  return { backend, capabilities, calls: optionalCalls.filter((call) => calls.includes(call)) }
}

/** A failure, as it is sent. The cause stays where it is. */
export const errorDocument = (error: StoreError): Fields => ({
  code: error.reason,
  detail: error.detail,
  hint: error.hint,
  key: error.key,
  transient: error.transient,
  ambiguous: error.ambiguous,
  retryAfter: error.retryAfter,
  requestId: error.requestId,
})

/** Most characters of a text that is taken over from the other end. */
const maxWords = 1000

const words = (fields: Fields, name: string): string | undefined =>
  // deno-lint-ignore no-control-regex
  textIn(fields, name)?.replace(/[\u0000-\u001f\u007f]+/g, " ").slice(0, maxWords)

/** The opposite. `known` is what this end knows better. */
export const errorFrom = (value: unknown, known: Partial<StoreErrorArgs>): StoreError | undefined => {
  const fields = fieldsOf(value)
  const reason = fields && textIn(fields, "code")
  if (fields === undefined || !(allReasons as ReadonlyArray<unknown>).includes(reason)) return undefined
  return new StoreError({
    reason: reason as Reason,
    detail: words(fields, "detail") ?? "the server gave no reason",
    hint: words(fields, "hint"),
    transient: flagIn(fields, "transient"),
    ambiguous: flagIn(fields, "ambiguous"),
    retryAfter: countIn(fields, "retryAfter"),
    requestId: words(fields, "requestId"),
    ...known,
    // Of a copy it may be the source that is missing.
    key: textIn(fields, "key") ?? known.key,
  })
}
