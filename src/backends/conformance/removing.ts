/**
 * Cases of removals.
 *
 * @module
 */
import { compareKeys } from "../../key.ts"
import { bytes, expectReason, expectSame } from "./tools.ts"
import { caseList, type Definition, keeps, refuses, small } from "./trial.ts"

const { add, addIf, definitions } = caseList()

add(
  "remove() removes, and counts a missing object as removed",
  function* ({ backend, prefix, put, absent, holds }) {
    yield* put(`${prefix}a`)
    yield* put(`${prefix}ab`)
    yield* backend.remove(`${prefix}a`)
    yield* absent(`${prefix}a`)
    yield* backend.remove(`${prefix}a`)
    yield* backend.remove(`${prefix}never/was`)
    yield* holds(`${prefix}ab`, small)
  },
)

addIf(
  "remove() with ifMatch removes that version only",
  keeps("remove"),
  function* ({ backend, prefix, put, absent, holds }) {
    const key = `${prefix}a`
    const first = yield* put(key)
    const second = yield* put(key, bytes(2, 9))
    yield* expectReason(backend.remove(key, { ifMatch: first.etag }), "PreconditionFailed")
    yield* holds(key, bytes(2, 9))
    yield* backend.remove(key, { ifMatch: second.etag })
    yield* absent(key)
    yield* expectReason(backend.remove(key, { ifMatch: second.etag }), "PreconditionFailed")
  },
)

addIf(
  "remove() refuses ifMatch, which it cannot keep",
  refuses("remove"),
  function* ({ backend, prefix, put, holds }) {
    const { etag } = yield* put(`${prefix}a`)
    yield* expectReason(backend.remove(`${prefix}a`, { ifMatch: etag }), "Unsupported")
    yield* holds(`${prefix}a`, small)
  },
)

add(
  "removeMany() answers for each key, missing ones included",
  function* ({ backend, prefix, put, absent, holds }) {
    const keys = ["a", "b c", "d/e", "&<x>", "missing"].map((name) => `${prefix}${name}`)
    for (const key of [...keys.slice(0, 4), `${prefix}kept`]) yield* put(key)
    const results = yield* backend.removeMany(keys)
    expectSame(results.map(({ key }) => key).sort(compareKeys), [...keys].sort(compareKeys), "the keys answered for")
    expectSame(results.filter(({ error }) => error !== undefined), [], "the keys that could not be removed")
    for (const key of keys) yield* absent(key)
    yield* holds(`${prefix}kept`, small)
    expectSame(yield* backend.removeMany([]), [], "the answer for no keys")
  },
)

/** These cases. */
export const removingCases: ReadonlyArray<Definition> = definitions
