/**
 * Keys in the order of their UTF-8 bytes, by walking folders depth first, one `PROPFIND` a folder: many servers refuse
 * deeper ones. A folder sorts as `name/`, which is where the keys below it sort. Only folders that can hold keys after the
 * cursor and under the prefix are read; what appears or goes meanwhile is listed or not, and never breaks the walk.
 *
 * @module
 */
import type { ListOptions, ListPage, ObjectEntry } from "../../backend.ts"
import { compareKeys } from "../../key.ts"
import { sortUtf8 } from "../../streams/utf8.ts"
import type { Asked, Client } from "./client.ts"
import { parseMultistatus, type Resource } from "./multistatus.ts"
import { decodeSegment, namesOf, urlPath } from "./names.ts"

/** Most bytes that a server may say of one folder: a hundred thousand files. */
const maxDocument = 64 * 2 ** 20

const wanted = '<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>' +
  "<resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>"

/** What a server says of a path and, with depth 1, of what is in it. `undefined`: there is nothing. */
export const propfind = async (
  client: Client,
  operation: string,
  path: string,
  depth: 0 | 1,
  signal: AbortSignal,
): Promise<ReadonlyArray<Resource> | undefined> => {
  const asked: Asked = {
    operation,
    method: "PROPFIND",
    path,
    headers: { depth: String(depth), "content-type": "application/xml" },
    body: wanted,
    also: [404, 410],
  }
  const response = await client.send(asked, signal)
  const text = await client.text(asked, response, maxDocument)
  if (response.status === 404 || response.status === 410) return undefined
  const resources = response.status === 207 ? parseMultistatus(text) : undefined
  if (resources !== undefined) return resources
  throw client.fault(asked, {
    reason: "Protocol",
    transient: true,
    detail: "the answer to PROPFIND is no whole document of WebDAV",
    hint: "check the URL: it must lead to a folder of a WebDAV server",
  })
}

/** The decoded path of a resource below the folder of the store; `undefined` for one that is elsewhere. */
const pathOf = (client: Client, href: string): ReadonlyArray<string> | undefined => {
  try {
    const { pathname } = new URL(href, client.urlOf("/"))
    if (!`${pathname}/`.startsWith(`${client.basePath}/`)) return undefined
    return pathname.slice(client.basePath.length).split("/").filter((part) => part !== "").map(decodeURIComponent)
  } catch {
    return undefined
  }
}

/** Something in a folder. `key` of a folder is what the keys in it start with. */
interface Entry {
  readonly key: string
  readonly folder: boolean
  readonly size: number
  readonly modified: Date
}

/** What is in the folder of the keys that start with `prefix`, which is empty or ends in a slash; in order. */
const entriesOf = async (
  client: Client,
  operation: string,
  prefix: string,
  signal: AbortSignal,
): Promise<ReadonlyArray<Entry>> => {
  const names = prefix === "" ? [] : namesOf(prefix.slice(0, -1))
  const path = names.length === 0 ? "/" : `${urlPath(names)}/`
  const resources = await propfind(client, operation, path, 1, signal) ?? []
  const entries: Array<Entry> = []
  for (const { href, collection, size, modified, status } of resources) {
    const found = pathOf(client, href)
    if (found?.length !== names.length + 1 || names.some((name, index) => found[index] !== name)) continue
    const segment = decodeSegment(found.at(-1)!)
    if (segment === undefined || (status !== undefined && status >= 300)) continue
    const key = `${prefix}${segment}`
    if (collection) entries.push({ key: `${key}/`, folder: true, size: 0, modified: new Date(0) })
    else if (size !== undefined) entries.push({ key, folder: false, size, modified: modified ?? new Date(0) })
  }
  return sortUtf8(entries, ({ key }) => key)
}

/** Whether any object's key starts with `prefix`, which ends in a slash. */
export const holdsObjects = async (
  client: Client,
  operation: string,
  prefix: string,
  signal: AbortSignal,
): Promise<boolean> => {
  const entries = await entriesOf(client, operation, prefix, signal)
  if (entries.some(({ folder }) => !folder)) return true
  for (const { key } of entries) if (await holdsObjects(client, operation, key, signal)) return true
  return false
}

/** What a page is asked for, once its cursor has been read. */
interface Walk {
  readonly prefix: string
  readonly fold: boolean
  /** The last name handed out, and whether it was a prefix, which covers all keys that start with it. */
  readonly last: string | undefined
  readonly covers: boolean
}

const isPast = ({ last, covers }: Walk, key: string): boolean =>
  last === undefined || (compareKeys(key, last) > 0 && !(covers && key.startsWith(last)))

async function* walk(
  client: Client,
  plan: Walk,
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<ObjectEntry | string> {
  for (const { key, folder: deeper, size, modified } of await entriesOf(client, "list", folder, signal)) {
    if (!deeper) {
      if (key.startsWith(plan.prefix) && isPast(plan, key)) yield { key, size, modified }
      continue
    }
    const below = key.startsWith(plan.prefix)
    if (!below && !plan.prefix.startsWith(key)) continue
    // The cursor may be within this folder.
    if (!isPast(plan, key) && !(plan.last?.startsWith(key) && !(plan.covers && key.startsWith(plan.last)))) continue
    if (plan.fold && below && key.length > plan.prefix.length) {
      if (isPast(plan, key) && await holdsObjects(client, "list", key, signal)) yield key
    } else yield* walk(client, plan, key, signal)
  }
}

/** One page; `undefined` for a cursor that is none. */
export const listPage = async (
  client: Client,
  { prefix = "", delimiter, cursor, limit = 1000 }: ListOptions,
  signal: AbortSignal,
): Promise<ListPage | undefined> => {
  const last = cursor?.slice(1)
  if (cursor !== undefined && (!/^[op]/.test(cursor) || !last?.startsWith(prefix))) return undefined
  const plan: Walk = { prefix, fold: delimiter !== undefined, last, covers: cursor?.startsWith("p") ?? false }
  const objects: Array<ObjectEntry> = []
  const prefixes: Array<string> = []
  let next: string | undefined
  for await (const item of walk(client, plan, prefix.slice(0, prefix.lastIndexOf("/") + 1), signal)) {
    if (objects.length + prefixes.length >= limit) return { objects, prefixes, cursor: next }
    if (typeof item === "string") prefixes.push(item)
    else objects.push(item)
    next = typeof item === "string" ? `p${item}` : `o${item.key}`
  }
  return { objects, prefixes }
}
