/** The remote backend against the suite: over memory and disk, without a socket and over one. */
import { test } from "bun:test"
import { Hono } from "hono"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import type { Backend } from "../../backend.ts"
import type { StoreError } from "../../error.ts"
import { storeRoutes } from "../../http/mod.ts"
import { listen } from "../../http/testing.ts"
import { makeObjectStore } from "../../object-store.ts"
import { conformance, register } from "../conformance.ts"
import * as Disk from "../disk/mod.ts"
import * as Memory from "../memory.ts"
import { make } from "./mod.ts"

type Made = Effect.Effect<Backend, StoreError, Scope.Scope>

const disk: Made = Effect.flatMap(
  Effect.acquireRelease(
    Effect.promise(() => mkdtemp(`${tmpdir()}/holdfast-http-`)),
    (root) => Effect.promise(() => rm(root, { recursive: true, force: true })),
  ),
  (root) => Disk.make({ root }),
)

/** The routes over a backend, mounted as a program would. */
const mounted = (behind: Made): Effect.Effect<Hono, StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const store = yield* makeObjectStore(yield* behind, { policy: { retry: "none", breaker: "none" } })
    return new Hono().route("/some/store", storeRoutes(store, { authorize: () => true }))
  })

const inside = (behind: Made): Made =>
  Effect.flatMap(mounted(behind), (app) =>
    make({
      url: "http://store.example/some/store/",
      fetch: async (url, init) => await app.fetch(new Request(url, init)),
    }))

/** A server ends its connections at once; what a request has begun behind it is waited for here. */
const overSocket = (behind: Made): Made =>
  Effect.gen(function* () {
    const app = yield* mounted(behind)
    const answering = new Set<Promise<Response>>()
    const { url } = yield* Effect.acquireRelease(
      Effect.sync(() =>
        listen(async (request, env) => {
          const answer = Promise.resolve(app.fetch(request, env))
          answering.add(answer)
          try {
            return await answer
          } finally {
            answering.delete(answer)
          }
        })
      ),
      (server) =>
        Effect.promise(async () => {
          await server.stop()
          await Promise.allSettled(answering)
        }),
    )
    return yield* make({ url: `${url}/some/store` })
  })

register(test, await conformance("http (memory)", () => inside(Memory.make())))
register(test, await conformance("http (memory, socket)", () => overSocket(Memory.make())))
register(test, await conformance("http (disk, socket)", () => overSocket(disk)))
