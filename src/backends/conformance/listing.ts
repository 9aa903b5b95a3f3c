/**
 * Cases of lists.
 *
 * @module
 */
import { expectSame, keysOf, listAll } from "./tools.ts"
import { caseList, type Definition } from "./trial.ts"

const { add, definitions } = caseList()

/** In the order of UTF-8, where JavaScript's own order would put U+1F600 before U+FF5E. */
const ordered = [
  "A",
  "a.b",
  "a/b",
  "a/b.c",
  "a/bc",
  "ab",
  "b",
  "e\u0301",
  "z",
  "\u00e9",
  "\u4e16",
  "\uff5e",
  "\u{1f600}",
]

add("list() orders keys by their UTF-8 bytes", function* ({ backend, prefix, put }) {
  for (const name of [...ordered].reverse()) yield* put(`${prefix}${name}`)
  const { objects, prefixes } = yield* listAll(backend, { prefix })
  expectSame(keysOf(objects, prefix), ordered, "the keys")
  expectSame(prefixes, [], "the prefixes without a delimiter")
})

add("list() takes a prefix as text, not as a folder", function* ({ backend, prefix, put }) {
  for (const name of ordered) yield* put(`${prefix}${name}`)
  const expected: ReadonlyArray<[string, ReadonlyArray<string>]> = [
    ["a", ["a.b", "a/b", "a/b.c", "a/bc", "ab"]],
    ["a/", ["a/b", "a/b.c", "a/bc"]],
    ["a/b", ["a/b", "a/b.c", "a/bc"]],
    ["a/bc", ["a/bc"]],
    ["a/b/", []],
    ["\u{1f600}", ["\u{1f600}"]],
    ["nothing/here", []],
  ]
  for (const [name, keys] of expected) {
    const { objects } = yield* listAll(backend, { prefix: `${prefix}${name}` })
    expectSame(keysOf(objects, prefix), keys, `the keys that start with ${name}`)
  }
  const nothing = yield* backend.list({ prefix: `${prefix}nothing/here` })
  expectSame(nothing.objects.length, 0, "the objects under a prefix that nothing has")
})

add(
  "list() with a delimiter folds what lies deeper, each prefix once",
  function* ({ backend, prefix, put }) {
    for (const name of ["a", "b/1", "b/2/x", "b/2/y", "b.c", "c//d", "c/e"]) yield* put(`${prefix}${name}`)
    const expected: ReadonlyArray<[string, ReadonlyArray<string>, ReadonlyArray<string>]> = [
      ["", ["a", "b.c"], ["b/", "c/"]],
      ["b", ["b.c"], ["b/"]],
      ["b/", ["b/1"], ["b/2/"]],
      ["b/2", [], ["b/2/"]],
      ["c/", ["c/e"], ["c//"]],
      ["d", [], []],
    ]
    for (const limit of [1, 2, 3, undefined]) {
      for (const [name, keys, folded] of expected) {
        const found = yield* listAll(backend, { prefix: `${prefix}${name}`, delimiter: "/", limit })
        const what = `under "${name}", ${limit ?? 1000} a page`
        expectSame(keysOf(found.objects, prefix), keys, `the keys ${what}`)
        expectSame(found.prefixes.map((each) => each.slice(prefix.length)), folded, `the prefixes ${what}`)
      }
    }
  },
)

add(
  "list() shows a folder no more once its last object is removed",
  function* ({ backend, prefix, put }) {
    yield* put(`${prefix}a/b/c`)
    yield* backend.remove(`${prefix}a/b/c`)
    const { objects, prefixes } = yield* backend.list({ prefix, delimiter: "/" })
    expectSame([objects, prefixes], [[], []], "what is left")
  },
)

add("list() in pages of 1, 2 and 3 loses and repeats nothing", function* ({ backend, prefix, put }) {
  for (const name of ordered) yield* put(`${prefix}${name}`)
  for (const limit of [1, 2, 3]) {
    const { objects } = yield* listAll(backend, { prefix, limit })
    expectSame(keysOf(objects, prefix), ordered, `the keys in pages of ${limit}`)
  }
})

add("list() goes on after its cursor while keys come and go", function* ({ backend, prefix, put }) {
  for (const name of ["b", "d", "f", "h"]) yield* put(`${prefix}${name}`)
  const first = yield* backend.list({ prefix, limit: 2 })
  expectSame(keysOf(first.objects, prefix), ["b", "d"], "the first page")
  yield* backend.remove(`${prefix}d`)
  yield* backend.remove(`${prefix}f`)
  yield* put(`${prefix}a`)
  yield* put(`${prefix}g`)
  const { objects } = yield* listAll(backend, { prefix, limit: 2, cursor: first.cursor })
  expectSame(keysOf(objects, prefix), ["g", "h"], "what follows the cursor")
})

/** These cases. */
export const listingCases: ReadonlyArray<Definition> = definitions
