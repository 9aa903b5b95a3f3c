/**
 * Cases of keys that stores and file systems mangle.
 *
 * @module
 */
import { compareKeys } from "../../key.ts"
import { utf8Length } from "../../streams/utf8.ts"
import { bytes, expectReason, expectSame, keysOf, listAll } from "./tools.ts"
import { caseList, type Definition, small } from "./trial.ts"

const { add, addIf, definitions } = caseList()

/** Keys that some store or file system mangles, each stored in a place of its own. */
const oddKeys: ReadonlyArray<string> = [
  " ",
  " leading and trailing ",
  "a+b%?#&=;:@,$!'()*",
  "~",
  "~tilde",
  "%25",
  "a%2fb",
  "a%2Fb",
  "%",
  "%~",
  "a%~b",
  "%00",
  "emoji-👩🏽‍🚀",
  "\uff5e\u{10ffff}",
  "a//b",
  "//",
  "a/",
  "a//",
  "trailing.",
  "trailing./x",
  "...",
  ".hidden",
  ".holdfast",
  ".holdfast/tmp/x",
  "tmp",
  "tmp/x",
  "CON",
  "nul.txt",
  "aux/x",
  "a:b",
  'a|b<c>d"e*f',
  "[x]{y}^`",
  "index.html",
  "__proto__",
  "constructor/prototype",
  "<Key>&amp;</Key>",
  "-rf",
  "\u00a0\u2028\ufeff",
  "\ufffd",
  "x".repeat(255),
  "x".repeat(300),
  `${"x".repeat(300)}/${"y".repeat(256)}/z`,
  "é".repeat(128),
  "%".repeat(200),
]

add(
  "a key comes back as it was given, however odd",
  function* ({ backend, prefix, put, holds, absent }) {
    const keys = oddKeys.map((name, index) => `${prefix}${index}/${name}`)
    for (const [index, key] of keys.entries()) {
      const info = yield* put(key, bytes(index, 30))
      expectSame(info.key, key, "the key by put")
    }
    for (const [index, key] of keys.entries()) {
      yield* holds(key, bytes(index, 30))
      expectSame((yield* backend.stat(key)).key, key, "the key by stat")
      const { objects } = yield* listAll(backend, { prefix: key })
      expectSame(objects.map((object) => object.key), [key], "the key by list")
    }
    const sorted = [...keys].sort(compareKeys)
    expectSame((yield* listAll(backend, { prefix })).objects.map(({ key }) => key), sorted, "all keys")
    expectSame((yield* listAll(backend, { prefix, limit: 7 })).objects.map(({ key }) => key), sorted, "all, in pages")
    for (const key of keys) {
      yield* backend.remove(key)
      yield* absent(key)
    }
  },
)

add(
  "a key of 1,024 bytes is stored, in one segment and in many",
  function* ({ backend, prefix, put, holds }) {
    const room = 1024 - utf8Length(prefix)
    const keys = [
      prefix + "x".repeat(room),
      prefix + "é".repeat(room / 2 | 0),
      prefix + "y/".repeat(room / 2 | 0).slice(0, -1),
    ]
    for (const key of keys) {
      yield* put(key)
      yield* holds(key, small)
    }
    const { objects } = yield* listAll(backend, { prefix })
    expectSame(objects.map(({ key }) => key), keys.sort(compareKeys), "the keys")
  },
)

add("keys that look alike are different objects", function* ({ backend, prefix, put, holds }) {
  const alike = ["\u00e9", "e\u0301", "A", "a", "a ", "a.", "%61", "\u0430", "\uff41", "a%20", "A%", "a+"]
  for (const [index, name] of alike.entries()) yield* put(`${prefix}${name}`, bytes(index, 20))
  for (const [index, name] of alike.entries()) yield* holds(`${prefix}${name}`, bytes(index, 20))
  expectSame((yield* listAll(backend, { prefix })).objects.length, alike.length, "the number of objects")
})

add("no top-level name is taken: .holdfast, tmp and a leading slash hold objects", function* (t) {
  const keys = [`/${t.prefix}a`, `.holdfast/${t.prefix}a`, `tmp/${t.prefix}a`]
  for (const key of keys) {
    yield* t.put(key)
    yield* t.holds(key, small)
    expectSame((yield* listAll(t.backend, { prefix: key })).objects.map((object) => object.key), [key], "the list")
    yield* t.backend.remove(key)
    yield* t.absent(key)
  }
})

addIf(
  "a and a/b can both be objects",
  (c) => c.nestedKeys ? undefined : "nestedKeys is false",
  function* ({ backend, prefix, put, holds, absent }) {
    yield* put(`${prefix}a`, bytes(1, 10))
    yield* put(`${prefix}a/b`, bytes(2, 10))
    yield* put(`${prefix}a/`, bytes(3, 10))
    yield* holds(`${prefix}a`, bytes(1, 10))
    yield* holds(`${prefix}a/b`, bytes(2, 10))
    yield* holds(`${prefix}a/`, bytes(3, 10))
    const { objects, prefixes } = yield* backend.list({ prefix, delimiter: "/" })
    expectSame([keysOf(objects, prefix), prefixes], [["a"], [`${prefix}a/`]], "the keys and prefixes")
    yield* backend.remove(`${prefix}a`)
    yield* absent(`${prefix}a`)
    yield* holds(`${prefix}a/b`, bytes(2, 10))
  },
)

addIf(
  "a and a/b in each other's way are a Conflict, until the first is removed",
  (c) => c.nestedKeys ? "nestedKeys is true" : undefined,
  function* ({ backend, prefix, put, holds, absent }) {
    yield* put(`${prefix}a`)
    yield* expectReason(put(`${prefix}a/b`), "Conflict")
    yield* absent(`${prefix}a/b`)
    yield* holds(`${prefix}a`, small)
    yield* backend.remove(`${prefix}a/b`)
    yield* put(`${prefix}c/d/e`)
    yield* expectReason(put(`${prefix}c`), "Conflict")
    yield* expectReason(put(`${prefix}c/d`), "Conflict")
    yield* absent(`${prefix}c`)
    yield* holds(`${prefix}c/d/e`, small)
    yield* backend.remove(`${prefix}c`)
    yield* backend.remove(`${prefix}a`)
    yield* put(`${prefix}a/b`)
    yield* backend.remove(`${prefix}c/d/e`)
    yield* put(`${prefix}c`)
    yield* holds(`${prefix}a/b`, small)
    yield* holds(`${prefix}c`, small)
  },
)

/** These cases. */
export const keysCases: ReadonlyArray<Definition> = definitions
