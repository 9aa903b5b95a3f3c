/**
 * Keys to paths and back, without touching the disk.
 *
 * A key's segments become file names. What a maintainer must keep: the mapping is injective in both directions
 * (two keys never share a path, and a name that no key leads to is nobody's), because a listing decodes what a
 * save encoded, perhaps years and versions later. So the rules here only change with the number in
 * `format.json`.
 *
 * | segment | file name |
 * | --- | --- |
 * | `%` | `%25` |
 * | an empty segment (`a//b`, `a/`) | `%_` |
 * | `.holdfast` at the root | `%2eholdfast` |
 * | longer than 255 bytes once escaped | its escaped beginning, `%~`, the SHA-256 of the segment in hex |
 *
 * That is `exact` naming. Where the file system folds case or Unicode forms, or is Windows', names are
 * `portable`: whatever such a system could change, refuse or fold is escaped as well, so what is left differs
 * in more than case.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { utf8Length } from "../../streams/utf8.ts"

/** How segments are named in one root; recorded in its `format.json`. */
export type Names = "exact" | "portable"

/** The folder inside the root that holds everything but the objects' bytes. */
export const privateFolder = ".holdfast"

/** Most bytes of a file name, on every file system that matters here. */
export const maxNameBytes = 255

/** What separates the beginning of a long segment from its hash; no escape starts so. */
const longMark = "%~"
const longPrefixBytes = maxNameBytes - longMark.length - 64

/** Where an object's bytes are, relative to the root. */
export interface Place {
  /** Names of the folders on the way, from the root down. */
  readonly folders: ReadonlyArray<string>
  /** The name of the file itself. */
  readonly name: string
  /** Segments whose names do not hold them whole, by SHA-256: they must be recorded beside. */
  readonly long: ReadonlyMap<string, string>
}

/** SHA-256 in lower-case hex. */
export const sha256Hex = (text: string): string => createHash("sha256").update(text).digest("hex")

/** Where the bytes of the object `key` belong. */
export const placeOf = (key: string, names: Names): Place => {
  const segments = key.split("/")
  const long = new Map<string, string>()
  const all = segments.map((segment, index) => {
    const name = encodeSegment(segment, names, index === 0)
    if (name.includes(longMark)) long.set(name.slice(-64), segment)
    return name
  })
  const name = all.pop()!
  return { folders: all, name, long }
}

/** The file name of one segment; `top` where it is directly below the root. */
export const encodeSegment = (segment: string, names: Names, top: boolean): string => {
  const escaped = segment === "" ? "%_" : names === "exact" ? exact(segment, top) : portable(segment, top)
  return utf8Length(escaped) <= maxNameBytes ? escaped : `${beginning(escaped)}${longMark}${sha256Hex(segment)}`
}

/**
 * The segment that `name` stands for: itself, or the SHA-256 under which a long one is recorded. `undefined` for
 * a name that no segment has, which something else put there and no key leads to.
 */
export const decodeSegment = (
  name: string,
  names: Names,
  top: boolean,
): { readonly segment: string } | { readonly long: string } | undefined => {
  const mark = name.indexOf(longMark)
  if (mark >= 0) {
    const hash = name.slice(mark + longMark.length)
    return /^[0-9a-f]{64}$/.test(hash) ? { long: hash } : undefined
  }
  const segment = name === "%_" ? "" : unescape(name)
  // Escaping what was unescaped must give the name back: `%41` in exact naming, say, is nobody's.
  return segment !== undefined && encodeSegment(segment, names, top) === name ? { segment } : undefined
}

const exact = (segment: string, top: boolean): string =>
  top && segment === privateFolder
    ? `%2e${privateFolder.slice(1)}`
    : segment.includes("%")
    ? segment.replaceAll("%", "%25")
    : segment

/**
 * Upper case and non-ASCII fold into each other; `<>:"|?*` are refused or special on Windows, where `~` can also
 * name another file's short form (`HOLDFA~1`).
 */
// deno-lint-ignore no-control-regex
const unportable = /[%A-Z<>:"|?*~]|[^\u0000-\u007f]+/gu

/** Devices of Windows, in any folder and with any extension. */
const device = /^(con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$) *(\.|$)/

const portable = (segment: string, top: boolean): string => {
  let escaped = segment.replace(unportable, escapeAll)
  // Windows drops these at the end of a name.
  escaped = escaped.replace(/[. ]$/, escapeAll)
  const hidden = device.test(escaped) || (top && escaped === privateFolder)
  return hidden ? escapeAll(escaped[0]!) + escaped.slice(1) : escaped
}

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const escapeAll = (text: string): string => {
  let escaped = ""
  for (const byte of encoder.encode(text)) escaped += `%${byte.toString(16).padStart(2, "0")}`
  return escaped
}

const unescape = (name: string): string | undefined => {
  if (!name.includes("%")) return name
  if (/%(?![0-9a-f]{2})/.test(name)) return undefined
  const bytes: Array<number> = []
  for (let i = 0; i < name.length;) {
    if (name[i] === "%") {
      bytes.push(parseInt(name.slice(i + 1, i + 3), 16))
      i += 3
    } else {
      const character = String.fromCodePoint(name.codePointAt(i)!)
      bytes.push(...encoder.encode(character))
      i += character.length
    }
  }
  try {
    return decoder.decode(Uint8Array.from(bytes))
  } catch {
    return undefined
  }
}

/** As much of an escaped name as fits before the mark, cut between characters and never inside an escape. */
const beginning = (escaped: string): string => {
  let kept = ""
  let size = 0
  for (const [unit] of escaped.matchAll(/%[0-9a-f]{2}|./gsu)) {
    size += utf8Length(unit)
    if (size > longPrefixBytes) break
    kept += unit
  }
  return kept
}
