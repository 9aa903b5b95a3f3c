import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Memory from "../backends/memory.ts"
import type { StoreError } from "../error.ts"
import { makeObjectStore } from "../object-store.ts"
import { run } from "../run.ts"
import { openBackend, type Store } from "../store.ts"
import { fail, faulty, type Rule } from "../testing/faulty.ts"
import { CheckpointBackups, CheckpointStore, makeCheckpointBackups } from "./checkpoints.ts"
import { localPlaces } from "./testing.ts"

const memory = (): Promise<Store> => openBackend(Memory.make())

const failure = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(() => Promise.reject(new Error("it did not fail")), (error: StoreError) => error)

const statesOf = async (store: Store, thread: string): Promise<ReadonlyArray<unknown>> => {
  const states: Array<unknown> = []
  for await (const { state } of new CheckpointStore(store).history(thread)) states.push(state)
  return states
}

const keysOf = async (store: Store, prefix: string): Promise<ReadonlyArray<string>> => {
  const keys: Array<string> = []
  for await (const { key } of store.list({ prefix })) keys.push(key)
  return keys
}

for (const kind of localPlaces) {
  test(`rows 141, 232 on ${kind.name}: a backup restores to another backend, with its latest and its history`, async () => {
    await using place = await kind.fresh()
    await using source = await place.open()
    await using vault = await memory()
    await using elsewhere = await memory()
    const checkpoints = new CheckpointStore(source)
    const first = await checkpoints.save("t", { n: 1 }, { metadata: { a: 1 } })
    await checkpoints.save("t", { n: 2 }, { parent: first })
    await checkpoints.save("u", { n: 3 })
    const backups = new CheckpointBackups(source, vault)
    const full = await backups.create()
    expect(full).toMatchObject({ objects: 5, copied: 5 })
    await checkpoints.save("t", { n: 4 })
    await checkpoints.remove("u")
    const incremental = await backups.create()
    // The new checkpoint, and the record that names it.
    expect(incremental).toMatchObject({ objects: 4, copied: 2 })
    expect(await backups.list()).toEqual([incremental, full])
    expect(await backups.verify(full.id)).toEqual([])
    expect(await backups.restore(full.id, elsewhere)).toBe(5)
    expect(await statesOf(elsewhere, "t")).toEqual([{ n: 2 }, { n: 1 }])
    expect((await new CheckpointStore(elsewhere).load("t")).state).toEqual({ n: 2 })
    expect((await new CheckpointStore(elsewhere).load("t", first)).metadata).toEqual({ a: 1 })
    await checkpoints.remove("t")
    await backups.restore(incremental.id, source)
    expect(await statesOf(source, "t")).toEqual([{ n: 4 }, { n: 2 }, { n: 1 }])
    expect(await checkpoints.find("u")).toBeUndefined()
  })
}

test("row 141: a full backup reads everything again, and stores nothing twice", async () => {
  await using source = await memory()
  await using vault = await memory()
  const checkpoints = new CheckpointStore(source)
  for (const thread of ["a", "b", "c"]) await checkpoints.save(thread, { n: 1 })
  const backups = new CheckpointBackups(source, vault)
  expect((await backups.create()).copied).toBe(6)
  const stored = await keysOf(vault, "backups/objects/")
  expect(stored.length).toBe(6)
  expect((await backups.create()).copied).toBe(3)
  expect((await backups.create({ full: true })).copied).toBe(6)
  expect(await keysOf(vault, "backups/objects/")).toEqual(stored)
})

test("row 141: verify finds what is damaged or missing, and restore does not write it", async () => {
  await using source = await memory()
  await using vault = await memory()
  await using elsewhere = await memory()
  const checkpoints = new CheckpointStore(source)
  const ids = await checkpoints.saveMany([0, 1, 2].map((n) => ({ thread: "t", state: { n } })))
  const backups = new CheckpointBackups(source, vault)
  const { id } = await backups.create()
  const manifest = await (await vault.load(`backups/manifests/${id}.json`)).json<{
    readonly objects: ReadonlyArray<{ readonly key: string; readonly sha256: string }>
  }>()
  const objectOf = (n: number): string =>
    `backups/objects/${manifest.objects.find(({ key }) => key.includes(ids[n]!))!.sha256}`
  const bytes = await (await vault.load(objectOf(0))).bytes()
  bytes[bytes.length - 1]! ^= 1
  await vault.save(objectOf(0), bytes, { compression: "none" })
  await vault.remove(objectOf(1))
  const damaged = await backups.verify(id)
  expect(damaged.map(({ key, error }) => [key, error.reason])).toEqual([
    [`checkpoints/t/${ids[0]}.json`, "Corrupt"],
    [`checkpoints/t/${ids[1]}.json`, "NotFound"],
  ])
  expect(["Corrupt", "NotFound"]).toContain((await failure(backups.restore(id, elsewhere))).reason)
  expect(await elsewhere.exists(`checkpoints/t/${ids[0]}.json`)).toBe(false)
  expect((await failure(backups.verify("../x"))).reason).toBe("InvalidKey")
  expect((await failure(backups.verify("nothing"))).reason).toBe("NotFound")
})

test("row 141: retention removes old backups, and only bytes that no other needs", async () => {
  await using source = await memory()
  await using vault = await memory()
  await using elsewhere = await memory()
  const checkpoints = new CheckpointStore(source)
  const backups = new CheckpointBackups(source, vault, { grace: 0 })
  const made = []
  for (let n = 0; n < 4; n++) {
    await checkpoints.save("t", { n })
    made.push(await backups.create())
  }
  expect((await failure(backups.prune(0))).reason).toBe("InvalidInput")
  expect(await backups.prune(2)).toEqual([made[1]!.id, made[0]!.id])
  expect(await backups.list()).toEqual([made[3]!, made[2]!])
  for (const { id } of made.slice(2)) expect(await backups.verify(id)).toEqual([])
  // Four checkpoints, and the names of the latest in two backups.
  expect((await keysOf(vault, "backups/objects/")).length).toBe(6)
  await backups.restore(made[2]!.id, elsewhere)
  expect(await statesOf(elsewhere, "t")).toEqual([{ n: 2 }, { n: 1 }, { n: 0 }])
  // Bytes that a backup under way has just written are left alone.
  await vault.save("backups/objects/fresh", "x")
  expect(await new CheckpointBackups(source, vault).prune(2)).toEqual([])
  expect(await vault.exists("backups/objects/fresh")).toBe(true)
  await backups.prune(2)
  expect(await vault.exists("backups/objects/fresh")).toBe(false)
})

test("row 141: nothing is removed where a manifest that is kept cannot be read", async () => {
  await using source = await memory()
  await using vault = await memory()
  const backups = new CheckpointBackups(source, vault, { grace: 0 })
  await new CheckpointStore(source).save("t", {})
  const { id } = await backups.create()
  await backups.create()
  const before = await keysOf(vault, "")
  await vault.save(`backups/manifests/${id}.json`, "{")
  const error = await failure(backups.prune(2))
  expect(error).toMatchObject({ reason: "Corrupt", key: `backups/manifests/${id}.json` })
  expect(await keysOf(vault, "")).toEqual(before)
})

test("row 141: a backup that dies between any two writes is not there, and the ones before still are", async () => {
  await using source = await memory()
  await new CheckpointStore(source).saveMany([0, 1].map((n) => ({ thread: "t", state: { n } })))
  for (let n = 1; n <= 4; n++) {
    await using vault = await memory()
    const backups = new CheckpointBackups(source, vault)
    const whole = await backups.create()
    await new CheckpointStore(source).save("t", { more: n })
    let count = 0
    const rule: Rule = { on: "put", key: () => ++count >= n, fault: fail() }
    const { backend } = faulty(vault.service.calls, { seed: 1, rules: [rule] })
    const dying = await run(makeObjectStore(backend, { policy: { retry: "none", breaker: "none" } }))
    const made = await run(Effect.result(makeCheckpointBackups(source.service, dying).create()))
    expect(made._tag).toBe(n === 4 ? "Success" : "Failure")
    expect((await backups.list()).length).toBe(n === 4 ? 2 : 1)
    expect(await backups.verify(whole.id)).toEqual([])
  }
})
