/**
 * Where documents are, and which version follows which.
 *
 *     documents/{id}/{version}.json        agents/{id}/{version}.json        files/{sha256}
 *     archive/documents/{id}/{version}.json                                  what was removed
 *     documents/{id}:{version}.json        agent/{id}:{version}.json         as JACS itself writes; only read
 *
 * A version's id is the one before it plus one: its last 12 hex digits count, and the rest is chance. So two writers
 * who continue the same version want the same key, only one of them can create it, and no further object is needed to
 * decide between them. The newest of such a run is known from a listing alone.
 *
 * @module
 */
import { StoreError } from "../error.ts"
import { compareKeys } from "../key.ts"
import { idFlaw } from "./records.ts"

/** What is kept: documents, and the agents that sign them. */
export type DocumentKind = "documents" | "agents"

/** One version of one document. */
export interface DocumentRef {
  /** Its `jacsId`. */
  readonly id: string
  /** Its `jacsVersion`. */
  readonly version: string
}

/** What a listing knows of a version. */
export interface DocumentEntry extends DocumentRef {
  /** The object that holds it. */
  readonly key: string
  /** Stored bytes. */
  readonly size: number
  /** When it was stored. */
  readonly modified: Date
}

/** Under which names each kind is stored: the folder, and what JACS' own keys begin with. */
const folders: Readonly<Record<DocumentKind, { readonly folder: string; readonly older: string }>> = {
  documents: { folder: "documents/", older: "documents/" },
  agents: { folder: "agents/", older: "agent/" },
}

/** The key of a version. */
export const keyOf = (kind: DocumentKind, { id, version }: DocumentRef): string =>
  `${folders[kind].folder}${id}/${version}.json`

/** The key that JACS itself gives a version. */
export const olderKeyOf = (kind: DocumentKind, { id, version }: DocumentRef): string =>
  `${folders[kind].older}${id}:${version}.json`

/** The key of a version that was removed. */
export const archiveKeyOf = (kind: DocumentKind, ref: DocumentRef): string => `archive/${keyOf(kind, ref)}`

/** The key of an external file. */
export const fileKeyOf = (sha256: string): string => `files/${sha256}`

/**
 * The prefixes under which all versions of a kind are, or those of one document. Under them may be others as well:
 * {@link refOf} tells.
 */
export const prefixesOf = (kind: DocumentKind, id = ""): ReadonlyArray<string> => {
  const { folder, older } = folders[kind]
  // One listing finds both where both are in one folder.
  return folder === older ? [`${folder}${id}`] : [`${folder}${id}`, `${older}${id}`]
}

/** Both layouts of a kind. Listings are long, so that each key is looked at once. */
const layouts: Readonly<Record<DocumentKind, ReadonlyArray<RegExp>>> = {
  documents: [/^documents\/([^/:]+)[/:]([^/:]+)\.json$/],
  agents: [/^agents\/([^/:]+)\/([^/:]+)\.json$/, /^agent\/([^/:]+):([^/:]+)\.json$/],
}

/** Which version a key holds, in whichever way it is named; `undefined` for what is none. */
export const refOf = (kind: DocumentKind, key: string): DocumentRef | undefined => {
  if (key.includes("..")) return undefined
  for (const layout of layouts[kind]) {
    const [, id, version] = layout.exec(key) ?? []
    if (id !== undefined && version !== undefined) return { id, version }
  }
  return undefined
}

/** Why this is no id of a document; JACS refuses the same. */
const nameFlaw = (name: string, value: unknown): string | undefined => {
  const flaw = idFlaw(name, value)
  if (flaw !== undefined || typeof value !== "string") return flaw
  if (value.includes(":")) return `${name} holds a ":", which separates a document's id from its version`
  return value.includes("..") ? `${name} holds ".."` : undefined
}

const refFlaw = (id: unknown, version: unknown): string | undefined =>
  nameFlaw("the document's id", id) ?? nameFlaw("the document's version", version)

const invalid = (operation: string, detail: string): StoreError =>
  new StoreError({ reason: "InvalidKey", detail, hint: "give an id such as a UUID, or id:version", operation })

/** The id, or the error that it is none. */
export const checkedId = (operation: string, id: unknown): string | StoreError => {
  const flaw = nameFlaw("the document's id", id)
  return flaw === undefined ? id as string : invalid(operation, flaw)
}

/** How callers name one version: `"id:version"`, or both by themselves. */
export type DocumentAddress = string | DocumentRef

/** The version that an address names, or the error that it names none. */
export const checkedRef = (operation: string, address: unknown): DocumentRef | StoreError => {
  const [id, version, ...more] = typeof address === "string"
    ? address.split(":")
    : [(address as Partial<DocumentRef> | null)?.id, (address as Partial<DocumentRef> | null)?.version]
  if (more.length > 0) return invalid(operation, `${JSON.stringify(address)} holds more than one ":"`)
  if (typeof address === "string" && version === undefined) {
    return invalid(operation, `${JSON.stringify(address)} names no version; write it as id:version`)
  }
  const flaw = refFlaw(id, version)
  return flaw === undefined ? { id: id as string, version: version as string } : invalid(operation, flaw)
}

const uuid = /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-)([0-9a-f]{12})$/

/** The id of a first version: a UUID whose last 12 digits begin to count. */
export const firstVersion = (): string => `${crypto.randomUUID().slice(0, -12)}000000000001`

/** The only id that can follow a version's, or `undefined` if none can: it is no UUID, or the last of its run. */
export const nextVersion = (version: string, steps = 1): string | undefined => {
  const [, run, count] = uuid.exec(version) ?? []
  if (run === undefined || count === undefined) return undefined
  const next = (Number.parseInt(count, 16) + steps).toString(16)
  return next.length > 12 ? undefined : run + next.padStart(12, "0")
}

/**
 * The versions that may be the newest, of all of one document: the last of each run. More than one only where something
 * else has given versions their ids; then `jacsVersionDate` decides.
 */
export const lastOfRuns = <A extends DocumentRef>(versions: Iterable<A>): ReadonlyArray<A> => {
  const runs = new Map<string, A>()
  for (const one of versions) {
    const run = uuid.exec(one.version)?.[1] ?? `:${one.version}`
    const last = runs.get(run)
    // Hex digits of one length are in order as text.
    if (last === undefined || one.version > last.version) runs.set(run, one)
  }
  return [...runs.values()]
}

/** Versions of one document, oldest first: by when they were stored, and within a run as they count. */
export const inSuccession = (versions: ReadonlyArray<DocumentEntry>): ReadonlyArray<DocumentEntry> => {
  const begun = new Map<string, number>()
  const runOf = ({ version }: DocumentEntry): string => uuid.exec(version)?.[1] ?? `:${version}`
  for (const one of versions) {
    const run = runOf(one)
    begun.set(run, Math.min(begun.get(run) ?? Infinity, one.modified.getTime()))
  }
  return versions.toSorted((a, b) => begun.get(runOf(a))! - begun.get(runOf(b))! || compareKeys(a.version, b.version))
}
