import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Memory from "../backends/memory.ts"
import { makeObjectStore, type ObjectStoreService } from "../object-store.ts"
import { asSoleWriter } from "./sole-writer.ts"

const open = (conditions: boolean): Promise<ObjectStoreService> =>
  Effect.runPromise(
    Effect.flatMap(Memory.make(), (backend) =>
      makeObjectStore({
        ...backend,
        capabilities: {
          ...backend.capabilities,
          conditional: { ...backend.capabilities.conditional, create: conditions },
        },
      })),
  )

test("a sole writer creates once where the store knows no condition, and nothing changes where it does", async () => {
  const plain = await open(false)
  const reason = await Effect.runPromise(Effect.flip(plain.save("k", "1", { ifNoneMatch: "*" })))
  expect(reason.reason).toBe("Unsupported")
  const store = asSoleWriter(plain)
  await Effect.runPromise(store.save("k", "1", { ifNoneMatch: "*" }))
  const again = await Effect.runPromise(Effect.flip(store.save("k", "2", { ifNoneMatch: "*" })))
  expect([again.reason, again.key]).toEqual(["AlreadyExists", "k"])
  await Effect.runPromise(store.save("k", "3"))
  expect(await (await Effect.runPromise(store.load("k"))).text()).toBe("3")
  const exact = await open(true)
  expect(asSoleWriter(exact)).toBe(exact)
})
