/**
 * Objects as files in a folder of the local disk. What a save has returned survives a power cut, and any number
 * of programs, in Bun and Deno, may use one folder at a time.
 *
 * @module
 */
import type * as Layer from "effect/Layer"
import type { StoreError } from "../../error.ts"
import { ObjectStore } from "../../object-store.ts"
import type { StoreOptions } from "../../options.ts"
import { type DiskOptions, make } from "./backend.ts"

export { type DiskOptions, make }

/**
 * Provides an {@link ObjectStore} in a folder. Nothing is made on the disk before the first save; what the store
 * holds open is freed with the layer.
 *
 * @example A store in a folder
 * ```ts
 * import { ObjectStore } from "@holdfast/holdfast"
 * import * as Disk from "@holdfast/holdfast/disk"
 * import * as Effect from "effect/Effect"
 * import { mkdtemp, rm } from "node:fs/promises"
 *
 * const root = await mkdtemp("holdfast-example-")
 * const save = Effect.flatMap(ObjectStore, (store) => store.save("greeting", "hello"))
 * const info = await Effect.runPromise(Effect.provide(save, Disk.layer({ root })))
 * console.assert(info.length === 5)
 * await rm(root, { recursive: true })
 * ```
 */
export const layer = (options: DiskOptions & StoreOptions): Layer.Layer<ObjectStore, StoreError> =>
  ObjectStore.layer(make(options), options)
