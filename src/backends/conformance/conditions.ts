/**
 * Cases of conditions on writes.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { WriteCondition } from "../../backend.ts"
import { bytes, expectBytes, expectReason, expectSame, read } from "./tools.ts"
import { caseList, type Definition, keeps, lost, onlyWinner, refuses, small } from "./trial.ts"

const { addIf, definitions } = caseList()

addIf("put() with ifNoneMatch creates, and refuses to replace", keeps("create"), function* (t) {
  const key = `${t.prefix}a`
  const made = yield* t.put(key, small, { ifNoneMatch: "*" })
  yield* expectReason(t.put(key, bytes(2, 9), { ifNoneMatch: "*" }), "AlreadyExists")
  expectSame((yield* t.holds(key, small)).etag, made.etag, "the etag")
  yield* t.backend.remove(key)
  yield* t.put(key, bytes(2, 9), { ifNoneMatch: "*" })
  yield* t.holds(key, bytes(2, 9))
})

addIf(
  "put() with ifNoneMatch lets exactly one of 16 writers win",
  keeps("create"),
  function* ({ backend, prefix, put }) {
    const key = `${prefix}a`
    const content = (writer: number) => bytes(writer, 10_000 + writer)
    const writers = Array.from({ length: 16 }, (_, writer) => writer)
    const results = yield* Effect.forEach(
      writers,
      (writer) => Effect.result(put(key, content(writer), { ifNoneMatch: "*" })),
      { concurrency: "unbounded" },
    )
    const winner = onlyWinner(results, "AlreadyExists")
    expectBytes((yield* read(backend, key)).data, content(winner), "the winner's bytes")
  },
)

addIf("put() with ifMatch replaces that version only", keeps("replace"), function* (t) {
  const key = `${t.prefix}a`
  const first = yield* t.put(key)
  const second = yield* t.put(key, bytes(2, 9), { ifMatch: first.etag })
  yield* expectReason(t.put(key, bytes(3, 9), { ifMatch: first.etag }), "PreconditionFailed")
  expectSame((yield* t.holds(key, bytes(2, 9))).etag, second.etag, "the etag")
  yield* t.backend.remove(key)
  yield* expectReason(t.put(key, bytes(3, 9), { ifMatch: second.etag }), "PreconditionFailed")
  yield* t.absent(key)
  // The same bytes again are another version: content alone must not decide.
  const third = yield* t.put(key)
  expectSame(third.etag === first.etag, false, "whether a new write of old bytes has the old etag")
  yield* expectReason(t.put(key, small, { ifMatch: first.etag }), "PreconditionFailed")
})

addIf(
  "put() with ifMatch loses no update of 4 writers",
  keeps("replace"),
  function* ({ backend, prefix, put }) {
    const key = `${prefix}counter`
    const encode = (count: number) => new TextEncoder().encode(String(count))
    yield* put(key, encode(0))
    const increment = Effect.gen(function* () {
      for (;;) {
        const { info, data } = yield* read(backend, key)
        const next = Number(new TextDecoder().decode(data)) + 1
        const result = yield* Effect.result(put(key, encode(next), { ifMatch: info.etag }))
        if (Result.isSuccess(result)) return
        if (!lost(result.failure, "PreconditionFailed")) throw result.failure
        yield* Effect.yieldNow
      }
    })
    yield* Effect.forEach([1, 2, 3, 4], () => Effect.forEach([1, 2, 3, 4, 5], () => increment), {
      concurrency: "unbounded",
    })
    expectBytes((yield* read(backend, key)).data, encode(20), "the counter after 4 × 5 increments")
  },
)

for (
  const [capability, condition] of [
    ["create", { ifNoneMatch: "*" }],
    ["replace", { ifMatch: "any" }],
  ] as ReadonlyArray<["create" | "replace", WriteCondition]>
) {
  addIf(
    `put() refuses ${Object.keys(condition)}, which it cannot keep`,
    refuses(capability),
    function* (t) {
      yield* expectReason(t.put(`${t.prefix}a`, small, condition), "Unsupported")
      yield* t.absent(`${t.prefix}a`)
    },
  )
}

/** These cases. */
export const conditionsCases: ReadonlyArray<Definition> = definitions
