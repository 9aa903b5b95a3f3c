/**
 * What a key, a prefix and user metadata may be. The same verdict on every backend, before any I/O, so that a
 * program written against memory or disk does not meet its first refusal in production on another store.
 *
 * A key is 1 to 1,024 bytes of UTF-8 (S3's limit, the smallest of the stores we serve), segments separated by
 * `/`. `.` and `..` segments are refused because every URL parser would quietly write to another object; control
 * characters and backslashes because no two systems treat them alike. Everything else is kept exactly, empty
 * segments included.
 *
 * @module
 */
import { type Reason, StoreError } from "./error.ts"
import { compareUtf8, utf8Length } from "./streams/utf8.ts"

/** Longest key in bytes of UTF-8. Source: Amazon S3, "Naming Amazon S3 objects". */
export const maxKeyBytes = 1024

/**
 * Most bytes of user metadata, names and values together, as a header carries them: a value that is not printable
 * ASCII, or has spaces at its ends or in a row, counts as its base64 and twelve bytes. Source: the 2 KB of Amazon S3,
 * "Working with object metadata", less what Holdfast itself keeps there.
 */
export const maxMetadataBytes = 1792

/** Bytes that a header takes for a value: as it is where that arrives unchanged, else as a word of RFC 2047. */
const carriedBytes = (value: string): number =>
  /^(?! )[\x20-\x7e]*[\x21-\x7e]$/.test(value) && !value.includes("  ") && !value.startsWith("=?")
    ? value.length
    : 12 + 4 * Math.ceil(utf8Length(value) / 3)

// deno-lint-ignore no-control-regex
const control = /[\u0000-\u001f\u007f]/
const loneSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/

/** Nearly every key: nothing but printable ASCII, no backslash, and no segment or start that may be a flaw. */
const plain = /^[\x20-\x5b\x5d-\x7e]{1,1024}$/
const suspect = /(?:^|\/)\.\.?(?:\/|$)|^[A-Za-z]:/

const flaw = (text: string, what: "key" | "prefix"): string | undefined => {
  if (typeof text !== "string") return `a ${what} must be a string, this one is ${describeValue(text)}`
  if (plain.test(text) && !suspect.test(text)) return undefined
  if (loneSurrogate.test(text)) return `the ${what} is not well-formed Unicode: it holds half of a surrogate pair`
  if (control.test(text)) {
    const code = text.charCodeAt(text.search(control)).toString(16).padStart(4, "0")
    return `the ${what} holds the control character U+${code.toUpperCase()}; encode it, for example with encodeURIComponent`
  }
  if (text.includes("\\")) return `the ${what} holds a backslash; separate segments with "/"`
  if (/^[A-Za-z]:(\/|$)/.test(text)) return `the ${what} looks like a Windows drive; leave out "${text.slice(0, 2)}"`
  // The last segment of a prefix may go on: "a/.." also starts "a/..b".
  const segments = what === "key" ? text.split("/") : text.split("/").slice(0, -1)
  for (const segment of segments) {
    if (segment === "." || segment === "..") {
      return `the ${what} has a "${segment}" segment; write the path it leads to`
    }
  }
  const size = utf8Length(text)
  if (size > maxKeyBytes) return `the ${what} has ${size} bytes of UTF-8; the most is ${maxKeyBytes}`
  return undefined
}

/** Why `key` cannot name an object, or `undefined` if it can. */
export const keyFlaw = (key: string): string | undefined =>
  key === "" ? "the key is empty; give the object a name" : flaw(key, "key")

/** Why `prefix` cannot be listed, or `undefined` if it can. The empty prefix is every object. */
export const prefixFlaw = (prefix: string): string | undefined => prefix === "" ? undefined : flaw(prefix, "prefix")

/** Why `metadata` cannot be stored, or `undefined` if it can. */
export const metadataFlaw = (metadata: Readonly<Record<string, string>>): string | undefined => {
  let size = 0
  for (const [name, value] of Object.entries(metadata)) {
    // Header field names: the stores send metadata as headers, and fold names to lower case.
    if (!/^[a-z0-9][a-z0-9._-]*$/.test(name)) {
      return `the metadata name ${
        JSON.stringify(name)
      } is not usable; use lower-case letters, digits, ".", "_" and "-", starting with a letter or digit`
    }
    if (name.startsWith("holdfast-")) return `the metadata name "${name}" is reserved; leave out "holdfast-"`
    if (typeof value !== "string") return `the metadata value of "${name}" is ${describeValue(value)}; give a string`
    if (loneSurrogate.test(value)) return `the metadata value of "${name}" is not well-formed Unicode`
    // deno-lint-ignore no-control-regex
    if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value)) {
      return `the metadata value of "${name}" holds a control character; encode it, for example with encodeURIComponent`
    }
    size += name.length + carriedBytes(value)
  }
  if (size > maxMetadataBytes) {
    return `the metadata takes ${size} bytes; the most is ${maxMetadataBytes}: save it as an object of its own`
  }
  return undefined
}

const describeValue = (value: unknown): string => value === null ? "null" : `of type ${typeof value}`

/** The error for a flaw found by one of the checks above. */
export const flawError = (reason: Reason, detail: string, operation: string, key?: string): StoreError =>
  new StoreError({ reason, detail, operation, key })

/** Orders keys as every listing does: by their UTF-8 bytes, which is not the order of JavaScript's `<`. */
export const compareKeys: (a: string, b: string) => number = compareUtf8
