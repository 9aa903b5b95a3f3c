/**
 * Keys as paths on a server that keeps files: a segment is a folder, or the file at the end.
 *
 * What no file can be called is escaped, so that every key has a name of its own: `%` is `%25`, an empty segment is `%`,
 * and a dot at the beginning is `%2E`. Servers leave names with such a dot out of their lists (nginx), and the store keeps
 * what is its own in `.holdfast`, which so is no key's.
 *
 * @module
 */
import { encodeKey } from "../../aws/encode.ts"
import { utf8Length } from "../../streams/utf8.ts"

/** The folder of what is no object. */
export const privateFolder = ".holdfast"

/** Where objects are written before they get their name. */
export const temporaryFolder: string = `${privateFolder}/tmp`

/** Where the facts of objects are. */
export const recordFolder: string = `${privateFolder}/meta`

/** Most bytes of a file's name on the systems under such servers. */
const maxName = 255

const encodeSegment = (segment: string): string =>
  segment === "" ? "%" : segment.replaceAll("%", "%25").replace(/^\./, "%2E")

/** The segment that a name stands for; `undefined` for a name that stands for none. */
export const decodeSegment = (name: string): string | undefined => {
  if (name === "%") return ""
  if (/^$|^\.|^%2E$|%(?!25|(?<=^%)2E)/.test(name)) return undefined
  return name.replace(/^%2E/, ".").replaceAll("%25", "%")
}

/** The names of a key's segments. */
export const namesOf = (key: string): ReadonlyArray<string> => key.split("/").map(encodeSegment)

/** Why a key has no path here. */
export const pathFlaw = (key: string): string | undefined => {
  const long = namesOf(key).find((name) => utf8Length(name) > maxName)
  return long === undefined
    ? undefined
    : `a segment of it has ${utf8Length(long)} bytes; servers of WebDAV keep files, whose names have at most ${maxName}`
}

/** Names as they stand in a URL. */
export const urlPath = (names: ReadonlyArray<string>): string => `/${encodeKey(names.join("/"))}`

const hex = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("")

/** Where the facts of the object are that the server knows under this key and etag. */
export const recordPath = async (key: string, etag: string): Promise<string> => {
  const digest = hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${key}\u0000${etag}`)))
  return `/${recordFolder}/${digest.slice(0, 2)}/${digest.slice(2)}.json`
}
