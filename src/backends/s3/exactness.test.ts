/** Compare-and-swap under fire: every change is applied exactly once, however many replies are lost. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import process from "node:process"
import type { StoreError } from "../../error.ts"
import type { ObjectStoreService } from "../../object-store.ts"
import { atOnce, open } from "./testing.ts"

const soak = process.env["HOLDFAST_SOAK"] === "1"
const full = soak || !("Deno" in globalThis)
const writers = full ? 64 : 16
const changes = full ? 100 : 20

/** What the writers share: how far each has come, and how many changes there were in all. */
interface State {
  readonly total: number
  readonly done: Readonly<Record<string, number>>
}

const load = (store: ObjectStoreService): Effect.Effect<{ state: State; etag: string }, StoreError> =>
  Effect.flatMap(
    store.load("state"),
    (loaded) => Effect.map(Effect.promise(() => loaded.json<State>()), (state) => ({ state, etag: loaded.info.etag })),
  )

/** Makes change `sequence` of `writer`, unless what is there says that it has been made. */
const change = (store: ObjectStoreService, writer: string, sequence: number): Effect.Effect<void, StoreError> =>
  Effect.gen(function* () {
    const { state, etag } = yield* load(store)
    if ((state.done[writer] ?? 0) >= sequence) return
    const next: State = { total: state.total + 1, done: { ...state.done, [writer]: sequence } }
    yield* store.save("state", JSON.stringify(next), { ifMatch: etag })
  }).pipe(
    // Refused, or nobody can say whether it was: look again at what is there.
    Effect.retry({
      while: ({ reason, transient }) =>
        transient || reason === "PreconditionFailed" || reason === "CommitUnknown" || reason === "Conflict",
    }),
  )

test(
  `faults 27, 28: ${writers} writers make ${changes} changes each under 20 % lost replies, and each counts once`,
  () =>
    Effect.gen(function* () {
      const { store, peer } = yield* open({
        stores: { policy: { ...atOnce, concurrency: 8 } },
        peer: { rules: [{ operation: "PutObject", probability: 0.2, fault: { kind: "drop", when: "after" } }] },
      })
      const first: State = { total: 0, done: {} }
      yield* Effect.retry(store.save("state", JSON.stringify(first)), { times: 20 })
      const run = (writer: number): Effect.Effect<void, StoreError> =>
        Effect.forEach(
          Array.from({ length: changes }, (_, i) => i + 1),
          (sequence) => change(store, `w${writer}`, sequence),
          { discard: true },
        )
      yield* Effect.forEach(Array.from({ length: writers }, (_, i) => i), run, { concurrency: "unbounded" })
      const { state } = yield* load(store)
      expect(state.total).toBe(writers * changes)
      expect(Object.values(state.done)).toEqual(Array.from({ length: writers }, () => changes))
      // The script has done its part.
      expect(peer.requests.filter(({ faults }) => faults.length > 0).length).toBeGreaterThan(writers * changes / 10)
    }).pipe(Effect.runPromise),
  600_000,
)
