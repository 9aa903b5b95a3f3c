/**
 * What the suites of the stores of agent state share: the places they run on, and cases that name the rows of the seed
 * documents which they prove. `scripts/seeds.ts` makes the table of `docs/seeds.md` out of the same cases.
 *
 * @module
 */
import { test } from "bun:test"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Disk from "../backends/disk/mod.ts"
import * as Memory from "../backends/memory.ts"
import * as S3 from "../backends/s3/mod.ts"
import { openBackend, type Store } from "../store.ts"
import { makeS3Peer, peerCredentials } from "../testing/s3/mod.ts"

/** The kinds of place that a case is proven on. */
export type PlaceName = "memory" | "disk" | "peer" | "ceph"

/** Where a case runs: nothing in it before, nothing left after. */
export interface Place {
  readonly name: PlaceName
  /** Another store on the same place, as another process would open it. The case closes it. */
  readonly open: () => Promise<Store>
  /** The folder, on disk. */
  readonly root: string | undefined
}

/** One case of a suite. */
export interface SeedCase {
  /** The rows of the seed documents that it proves; none: it proves something that goes beyond them. */
  readonly rows: ReadonlyArray<number>
  /** What is true, in words. */
  readonly name: string
  /** Where it makes sense. Default: everywhere. */
  readonly on?: ReadonlyArray<PlaceName> | undefined
  /** `store` is closed by the suite. */
  readonly run: (store: Store, place: Place) => Promise<void>
}

/** The cases of one store of agent state. */
export interface Suite {
  /** Its name: `"execution"`. */
  readonly name: string
  readonly cases: ReadonlyArray<SeedCase>
}

/** A kind of place, and how a fresh one is made. */
export interface PlaceKind {
  readonly name: PlaceName
  readonly fresh: () => Promise<Place & AsyncDisposable>
}

const memory: PlaceKind = {
  name: "memory",
  fresh: async () => {
    const backend = await Effect.runPromise(Memory.make())
    return {
      name: "memory",
      root: undefined,
      open: () => openBackend(Effect.succeed(backend)),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
  },
}

const disk: PlaceKind = {
  name: "disk",
  fresh: async () => {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-stores-"))
    const root = join(folder, "root")
    return {
      name: "disk",
      root,
      open: () => openBackend(Disk.make({ root })),
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
    }
  },
}

const peer: PlaceKind = {
  name: "peer",
  fresh: () => {
    const server = makeS3Peer({ seed: 1 })
    return Promise.resolve({
      name: "peer",
      root: undefined,
      open: () =>
        openBackend(
          S3.make({ bucket: "test", region: "us-east-1", profile: "aws", fetch: server.fetch, ...peerCredentials }),
        ),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    })
  },
}

/** The places without a server: everywhere memory and disk, and on Bun the scripted peer. */
export const localPlaces: ReadonlyArray<PlaceKind> = "Deno" in globalThis ? [memory, disk] : [memory, disk, peer]

/** The title of a case: `row 4 on disk: …`. */
export const titleOf = ({ rows, name }: SeedCase, place: PlaceName): string => {
  const proves = rows.length === 0 ? "" : `row${rows.length > 1 ? "s" : ""} ${rows.join(", ")} `
  return `${proves}on ${place}: ${name}`
}

/** Registers a suite's cases as tests, on each of the places where they make sense. */
export const addSuite = (suite: Suite, places: ReadonlyArray<PlaceKind> = localPlaces): void => {
  for (const kind of places) {
    for (const one of suite.cases) {
      if (one.on !== undefined && !one.on.includes(kind.name)) continue
      test(`${suite.name}: ${titleOf(one, kind.name)}`, async () => {
        await using place = await kind.fresh()
        await using store = await place.open()
        await one.run(store, place)
      })
    }
  }
}
