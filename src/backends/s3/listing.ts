/**
 * Lists of objects, versions and uploads, a page at a time.
 *
 * Names are asked for escaped (`encoding-type=url`), since XML cannot carry all of them. A page that says that it goes
 * on, and not where, or where it began, is an error: a list must neither end early nor run in circles.
 *
 * @module
 */
import type { ListOptions, ListPage, UploadPage, VersionPage } from "../../backend.ts"
import type { StoreError } from "../../error.ts"
import type { Client, S3Request } from "./client.ts"
import { type Asked, oddAnswer } from "./errors.ts"
import { etagFrom } from "./head.ts"
import { childrenOf, decodeName, textOf, type XmlElement } from "./xml.ts"

/** Reads names and values of one list. */
interface Reader {
  readonly odd: (detail: string) => StoreError
  /** A name as it is meant, from a name as it is written. */
  readonly decode: (raw: string) => string
  /** A name, without the store's prefix. */
  readonly name: (element: XmlElement, tag: string) => string
  readonly date: (element: XmlElement, tag: string) => Date
  readonly size: (element: XmlElement) => number
  /** A text that must be there. */
  readonly text: (element: XmlElement, tag: string) => string
}

const readerOf = ({ settings: { prefix, profile } }: Client, asked: Asked, document: XmlElement): Reader => {
  const odd = (detail: string): StoreError => oddAnswer(asked, detail)
  const escaped = textOf(document, "EncodingType") === "url" ||
    (profile.escapesUploads && asked.operation === "listUploads")
  const decode = (raw: string): string => {
    try {
      return escaped ? decodeName(raw) : raw
    } catch {
      throw odd("the list has a name that is not escaped as it says")
    }
  }
  const text = (element: XmlElement, tag: string): string => {
    const found = textOf(element, tag)
    if (found === undefined) throw odd(`the list has a ${element.name} without ${tag}`)
    return found
  }
  return {
    odd,
    text,
    decode,
    name: (element, tag) => {
      const name = decode(text(element, tag))
      if (!name.startsWith(prefix)) throw odd("the list has a name that does not start with the prefix asked for")
      return name.slice(prefix.length)
    },
    date: (element, tag) => {
      const date = new Date(text(element, tag))
      if (Number.isNaN(date.getTime())) throw odd(`the list has a ${element.name} without a date`)
      return date
    },
    size: (element) => {
      const size = text(element, "Size")
      if (!/^\d{1,16}$/.test(size)) throw odd(`the list has a ${element.name} without a size`)
      return Number(size)
    },
  }
}

const isTruncated = (document: XmlElement): boolean => textOf(document, "IsTruncated") === "true"

const ask = async (
  client: Client,
  operation: string,
  prefix: string | undefined,
  root: string,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<{ readonly document: XmlElement; readonly reader: Reader }> => {
  const asked: Asked = { operation, key: prefix, mutates: false }
  const scope = client.settings.prefix + (prefix ?? "")
  const request: S3Request = {
    ...asked,
    method: "GET",
    query: { ...query, "encoding-type": "url", ...(scope === "" ? {} : { prefix: scope }) },
  }
  const { document } = await client.ask(request, root, signal)
  return { document, reader: readerOf(client, asked, document) }
}

/** A page of objects. */
export const list = async (client: Client, options: ListOptions, signal: AbortSignal): Promise<ListPage> => {
  const { prefix, delimiter, cursor, limit } = options
  const query = {
    "list-type": "2",
    ...(delimiter === undefined ? {} : { delimiter }),
    ...(limit === undefined ? {} : { "max-keys": String(limit) }),
    ...(cursor === undefined ? {} : { "continuation-token": cursor }),
  }
  const { document, reader } = await ask(client, "list", prefix, "ListBucketResult", query, signal)
  const next = isTruncated(document) ? textOf(document, "NextContinuationToken") ?? "" : undefined
  if (next === "" || (next !== undefined && next === cursor)) {
    throw reader.odd("the list goes on without saying where")
  }
  return {
    // The etag is left out: a list does not tell the write id, which is part of it.
    objects: childrenOf(document, "Contents").map((element) => ({
      key: reader.name(element, "Key"),
      size: reader.size(element),
      modified: reader.date(element, "LastModified"),
    })).filter(({ key }) => key !== ""),
    prefixes: childrenOf(document, "CommonPrefixes").map((element) => reader.name(element, "Prefix")),
    cursor: next,
  }
}

/** Two markers as one cursor. */
const cursorOf = (key: string, id: string): string => JSON.stringify([key, id])

const markersOf = (
  cursor: string | undefined,
  odd: () => StoreError,
): readonly [key: string, id: string] | undefined => {
  if (cursor === undefined) return undefined
  try {
    const [key, id] = JSON.parse(cursor) as ReadonlyArray<unknown>
    if (typeof key === "string" && typeof id === "string") return [key, id]
  } catch {
    // Told below.
  }
  throw odd()
}

const foreignCursor = (operation: string) => (): StoreError =>
  oddAnswer({ operation, mutates: false }, "the cursor does not come from an earlier page of this list", {
    reason: "InvalidInput",
    hint: "give the cursor of the page before, or none",
  })

interface PageOptions {
  readonly prefix?: string | undefined
  readonly cursor?: string | undefined
}

/** Where a list with two markers goes on. */
const nextCursor = (
  document: XmlElement,
  reader: Reader,
  idName: "VersionId" | "UploadId",
  cursor: string | undefined,
): string | undefined => {
  if (!isTruncated(document)) return undefined
  const key = textOf(document, "NextKeyMarker") ?? ""
  const id = textOf(document, `Next${idName}Marker`) ?? ""
  const next = key === "" ? undefined : cursorOf(reader.decode(key), id)
  if (next === undefined || next === cursor) throw reader.odd("the list goes on without saying where")
  return next
}

/** A page of versions. */
export const listVersions = async (
  client: Client,
  { prefix, cursor }: PageOptions,
  signal: AbortSignal,
): Promise<VersionPage> => {
  const markers = markersOf(cursor, foreignCursor("listVersions"))
  const query: Record<string, string> = { versions: "" }
  if (markers !== undefined) query["key-marker"] = markers[0]
  if (markers !== undefined && markers[1] !== "") query["version-id-marker"] = markers[1]
  const { document, reader } = await ask(client, "listVersions", prefix, "ListVersionsResult", query, signal)
  const versions = document.children.filter(({ name }) => name === "Version" || name === "DeleteMarker")
  return {
    versions: versions.map((element) => {
      const removed = element.name === "DeleteMarker"
      const etag = textOf(element, "ETag")
      return {
        key: reader.name(element, "Key"),
        versionId: reader.text(element, "VersionId"),
        latest: textOf(element, "IsLatest") === "true",
        removed,
        size: removed ? 0 : reader.size(element),
        modified: reader.date(element, "LastModified"),
        etag: etag === undefined ? undefined : etagFrom(etag),
      }
    }),
    cursor: nextCursor(document, reader, "VersionId", cursor),
  }
}

/** A page of uploads. */
export const listUploads = async (
  client: Client,
  { prefix, cursor }: PageOptions,
  signal: AbortSignal,
): Promise<UploadPage> => {
  const markers = markersOf(cursor, foreignCursor("listUploads"))
  const query: Record<string, string> = { uploads: "" }
  if (markers !== undefined) query["key-marker"] = markers[0]
  if (markers !== undefined && markers[1] !== "") query["upload-id-marker"] = markers[1]
  const { document, reader } = await ask(client, "listUploads", prefix, "ListMultipartUploadsResult", query, signal)
  return {
    uploads: childrenOf(document, "Upload").map((element) => ({
      id: reader.text(element, "UploadId"),
      key: reader.name(element, "Key"),
      started: reader.date(element, "Initiated"),
    })),
    cursor: nextCursor(document, reader, "UploadId", cursor),
  }
}
