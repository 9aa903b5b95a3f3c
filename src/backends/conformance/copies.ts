/**
 * Cases of copies and moves.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { WriteCondition } from "../../backend.ts"
import { crc32 } from "../../streams/crc32.ts"
import { bytes, expectReason, expectSame, freshWriteId } from "./tools.ts"
import {
  both,
  caseList,
  copies,
  type Definition,
  keeps,
  moves,
  onlyWinner,
  refuses,
  small,
  type Trial,
} from "./trial.ts"

const { addIf, definitions } = caseList()

for (const verb of ["copy", "move"] as const) {
  const lacks = verb === "copy" ? copies : moves
  const call = ({ backend }: Trial, from: string, to: string, more?: WriteCondition & { sourceIfMatch?: string }) =>
    backend[verb]!(from, to, { writeId: freshWriteId(), ...more })

  addIf(`${verb}() keeps bytes and metadata, under a new write id and etag`, lacks, function* (t) {
    const [from, to] = [`${t.prefix}from`, `${t.prefix}deep/to`]
    const sha256 = "0123456789abcdef".repeat(4)
    const source = yield* t.put(from, small, { contentType: "text/plain", metadata: { run: "世界" }, sha256 })
    const writeId = freshWriteId()
    const made = yield* t.backend[verb]!(from, to, { writeId })
    const found = yield* t.holds(to, small)
    for (const info of [made, found]) {
      expectSame(
        [info.key, info.writeId, info.contentType, info.metadata, info.sha256],
        [to, writeId, "text/plain", { run: "世界" }, sha256],
        "the target's facts",
      )
    }
    expectSame(found.etag, made.etag, "the target's etag by get")
    expectSame(made.etag === source.etag, false, "whether source and target share an etag")
    if (found.crc32 !== undefined) expectSame(found.crc32, crc32(small), "the CRC-32")
    if (verb === "move") yield* t.absent(from)
    else expectSame((yield* t.holds(from, small)).etag, source.etag, "the source's etag")
  })

  addIf(
    `${verb}() replaces the target, which is independent of the source from then on`,
    lacks,
    function* (t) {
      const [from, to] = [`${t.prefix}from`, `${t.prefix}to`]
      yield* t.put(from, bytes(1, 5000))
      yield* t.put(to, bytes(2, 9), { metadata: { old: "1" } })
      yield* call(t, from, to)
      yield* t.put(from, bytes(3, 5000))
      expectSame((yield* t.holds(to, bytes(1, 5000))).metadata, {}, "the target's metadata")
      yield* t.backend.remove(from)
      yield* t.holds(to, bytes(1, 5000))
    },
  )

  addIf(`${verb}() onto itself keeps the object, as a new write`, lacks, function* (t) {
    const key = `${t.prefix}a`
    const { etag } = yield* t.put(key, small, { metadata: { run: "1" } })
    const made = yield* call(t, key, key)
    const found = yield* t.holds(key, small)
    expectSame([found.etag, found.metadata], [made.etag, { run: "1" }], "etag and metadata")
    expectSame(found.etag === etag, false, "whether the etag stayed")
  })

  addIf(`${verb}() of a missing object is NotFound and leaves the target`, lacks, function* (t) {
    yield* t.put(`${t.prefix}to`)
    const error = yield* expectReason(call(t, `${t.prefix}from`, `${t.prefix}to`), "NotFound")
    expectSame(error.key, `${t.prefix}from`, "the key of the error")
    yield* t.holds(`${t.prefix}to`, small)
  })

  addIf(`${verb}() with sourceIfMatch takes that version only`, lacks, function* (t) {
    const [from, to] = [`${t.prefix}from`, `${t.prefix}to`]
    const first = yield* t.put(from)
    const second = yield* t.put(from, bytes(2, 9))
    yield* expectReason(call(t, from, to, { sourceIfMatch: first.etag }), "PreconditionFailed")
    yield* t.absent(to)
    yield* t.holds(from, bytes(2, 9))
    yield* call(t, from, to, { sourceIfMatch: second.etag })
    yield* t.holds(to, bytes(2, 9))
  })

  addIf(
    `${verb}() with a condition on the target keeps it`,
    both(lacks, keeps("copy")),
    function* (t) {
      const [from, to] = [`${t.prefix}from`, `${t.prefix}to`]
      yield* t.put(from)
      const first = yield* t.put(to, bytes(2, 9))
      yield* expectReason(call(t, from, to, { ifNoneMatch: "*" }), "AlreadyExists")
      const second = yield* t.put(to, bytes(3, 9))
      yield* expectReason(call(t, from, to, { ifMatch: first.etag }), "PreconditionFailed")
      yield* expectReason(call(t, from, `${t.prefix}new`, { ifMatch: second.etag }), "PreconditionFailed")
      yield* t.absent(`${t.prefix}new`)
      yield* t.holds(from, small)
      yield* t.holds(to, bytes(3, 9))
      yield* call(t, from, to, { ifMatch: second.etag })
      yield* t.holds(to, small)
      yield* t.put(from, bytes(4, 9))
      yield* call(t, from, `${t.prefix}new`, { ifNoneMatch: "*" })
      yield* t.holds(`${t.prefix}new`, bytes(4, 9))
    },
  )

  addIf(
    `${verb}() refuses conditions on the target, which it cannot keep`,
    both(lacks, refuses("copy")),
    function* (t) {
      yield* t.put(`${t.prefix}from`)
      for (const condition of [{ ifNoneMatch: "*" }, { ifMatch: "any" }] as const) {
        yield* expectReason(call(t, `${t.prefix}from`, `${t.prefix}to`, condition), "Unsupported")
        yield* t.absent(`${t.prefix}to`)
      }
      yield* t.holds(`${t.prefix}from`, small)
    },
  )
}

addIf(
  "copy() made by one of 8 writers with ifNoneMatch",
  both(copies, keeps("copy")),
  function* ({ backend, prefix, put, holds }) {
    yield* put(`${prefix}from`)
    const copy = () => backend.copy!(`${prefix}from`, `${prefix}to`, { writeId: freshWriteId(), ifNoneMatch: "*" })
    const results = yield* Effect.all(Array.from({ length: 8 }, () => Effect.result(copy())), {
      concurrency: "unbounded",
    })
    onlyWinner(results, "AlreadyExists")
    yield* holds(`${prefix}to`, small)
  },
)

addIf(
  "move() is atomic: at no time are both keys missing",
  moves,
  function* ({ backend, prefix, put, holds }) {
    const exists = (key: string) =>
      Effect.map(Effect.result(backend.stat(key)), (result) => {
        if (Result.isFailure(result) && result.failure.reason !== "NotFound") throw result.failure
        return Result.isSuccess(result)
      })
    for (let round = 0; round < 10; round++) {
      const [from, to] = [`${prefix}${round}/from`, `${prefix}${round}/to`]
      yield* put(from)
      // Once the source is gone it stays gone, so the target must be there from then on.
      const watch = Effect.gen(function* () {
        while (yield* exists(from)) yield* Effect.yieldNow
        if (!(yield* exists(to))) throw new Error(`round ${round}: the source is gone and the target is not there`)
      })
      const move = Effect.andThen(Effect.yieldNow, backend.move!(from, to, { writeId: freshWriteId() }))
      yield* Effect.all([watch, watch, move], { concurrency: "unbounded" })
      yield* holds(to, small)
    }
  },
)

/** These cases. */
export const copiesCases: ReadonlyArray<Definition> = definitions
