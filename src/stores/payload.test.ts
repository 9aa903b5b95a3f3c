/** Schemas for a program's own data, of Effect and of another library. */
import { expect, test } from "bun:test"
import * as Schema from "effect/Schema"
import type { StoreError } from "../error.ts"
import { open } from "../open.ts"
import { CheckpointStore } from "./checkpoints.ts"
import { DocumentStore } from "./documents.ts"
import type { PayloadSchema } from "./payload.ts"
import { SnapshotStore } from "./snapshots.ts"

interface State {
  readonly step: number
  readonly notes: ReadonlyArray<string>
}

const byEffect: PayloadSchema<State> = Schema.toStandardSchemaV1(
  Schema.Struct({ step: Schema.Number, notes: Schema.Array(Schema.String) }),
)

/** What any other library gives: here one that fills in what is left out, and takes its time. */
const byHand: PayloadSchema<State> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: async (value) => {
      await Promise.resolve()
      const { step, notes = [] } = value as Partial<State>
      return typeof step === "number"
        ? { value: { step, notes } }
        : { issues: [{ message: "Expected number", path: ["step"] }, { message: "and more" }] }
    },
  },
}

const failure = (call: Promise<unknown>): Promise<StoreError> =>
  call.then(() => Promise.reject(new Error("done")), (e) => e)

for (const [name, schema] of [["Effect's", byEffect], ["another library's", byHand]] as const) {
  test(`${name} schema: what does not fit is refused and nothing is written; what fits comes back typed`, async () => {
    await using store = await open("mem:")
    const checkpoints = new CheckpointStore(store, { schema })
    const id = await checkpoints.save("t", { step: 1, notes: ["a"] })
    const { state } = await checkpoints.load("t")
    const step: number = state.step
    expect([step, state.notes]).toEqual([1, ["a"]])
    const bad = { step: "two", notes: [] } as unknown as State
    for (const call of [() => checkpoints.save("t", bad), () => checkpoints.update("t", () => ({ state: bad }))]) {
      const error = await failure(call())
      expect(error.reason).toBe("InvalidInput")
      expect(error.message).toContain("the state does not fit its schema: step")
    }
    expect((await checkpoints.load("t")).id).toBe(id)
    expect((await Array.fromAsync(checkpoints.list("t"))).length).toBe(1)
  })

  test(`${name} schema: what another program has stored is held against it, and named`, async () => {
    await using store = await open("mem:")
    const loose = new CheckpointStore(store)
    const id = await loose.save("t", { steps: 1 })
    const strict = new CheckpointStore(store, { schema })
    const error = await failure(strict.load("t"))
    expect([error.reason, error.key]).toEqual(["Corrupt", `checkpoints/t/${id}.json`])
    expect(error.message).toContain("step")
    expect((await loose.load("t")).state).toEqual({ steps: 1 })
  })
}

test("a snapshot's state is held against a schema on both ways", async () => {
  await using store = await open("mem:")
  const snapshots = new SnapshotStore(store)
  await snapshots.snapshot("s", { step: 1, notes: [] }, { schema: byEffect })
  const { state } = await snapshots.restore("s", { schema: byEffect })
  const step: number = state.step
  expect(step).toBe(1)
  expect((await failure(snapshots.snapshot("s", { step: "1" }, { schema: byEffect }))).reason).toBe("InvalidInput")
  await snapshots.snapshot("s", { step: "1" })
  const error = await failure(snapshots.restore("s", { schema: byEffect }))
  expect([error.reason, error.key]).toEqual(["Corrupt", "s"])
})

test("the fields of a document's author are held against a schema, and the header is left alone", async () => {
  await using store = await open("mem:")
  const documents = new DocumentStore(store)
  const made = await documents.create({ step: 1, notes: [], jacsLevel: "config" }, { fields: byEffect })
  expect([made["step"], made["jacsLevel"]]).toEqual([1, "config"])
  const next = await documents.update(made.jacsId, (current) => ({ ...current, step: 2 }), { fields: byEffect })
  expect([next["step"], next.jacsPreviousVersion]).toEqual([2, made.jacsVersion])
  for (
    const call of [
      () => documents.create({ step: "1", notes: [] }, { fields: byEffect }),
      () => documents.update(made.jacsId, (current) => ({ ...current, notes: 7 }), { fields: byEffect }),
    ]
  ) expect((await failure(call())).reason).toBe("InvalidInput")
  expect((await documents.versions(made.jacsId)).length).toBe(2)
})

test("what a schema makes of a value is what is stored", async () => {
  await using store = await open("mem:")
  const checkpoints = new CheckpointStore(store, { schema: byHand })
  await checkpoints.save("t", { step: 1 } as State)
  expect((await new CheckpointStore(store).load("t")).state).toEqual({ step: 1, notes: [] })
})

test("a schema that throws is a refusal", async () => {
  await using store = await open("mem:")
  const throws: PayloadSchema<State> = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: () => {
        throw new Error("it broke")
      },
    },
  }
  const error = await failure(new CheckpointStore(store, { schema: throws }).save("t", { step: 1, notes: [] }))
  expect([error.reason, error.message.includes("it broke")]).toEqual(["InvalidInput", true])
})
