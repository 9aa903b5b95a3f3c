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

const overSocket = (behind: Made): Made =>
  Effect.flatMap(mounted(behind), (app) =>
    Effect.flatMap(
      Effect.acquireRelease(
        Effect.sync(() => listen((request, env) => app.fetch(request, env))),
        (server) => Effect.promise(() => server.stop()),
      ),
      ({ url }) => make({ url: `${url}/some/store` }),
    ))

register(test, await conformance("http (memory)", () => inside(Memory.make())))
register(test, await conformance("http (memory, socket)", () => overSocket(Memory.make())))
register(test, await conformance("http (disk, socket)", () => overSocket(disk)))
