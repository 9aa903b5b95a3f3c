/**
 * The disk as a {@link Backend}: which function answers which call, and what holds for all of them.
 *
 * The functions are plain `async` ones that take an `AbortSignal`. {@link settled} turns a call of one into an
 * effect that, when interrupted, tells it so and then waits for it to end. So when a call is over, nothing of it
 * goes on in the background: its files are closed, its temporary file is gone, the caller's bytes are not looked
 * at any more.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Backend, Capabilities, RemoveResult } from "../../backend.ts"
import type { StoreError } from "../../error.ts"
import { move, remove } from "./commit.ts"
import { toStoreError } from "./errors.ts"
import { Lister } from "./list.ts"
import { get, stat } from "./read.ts"
import { acquire, release } from "./root.ts"
import { Uploads } from "./uploads.ts"
import { copy, put } from "./write.ts"

const MiB = 1024 * 1024

/** How to open a folder. */
export interface DiskOptions {
  /**
   * The folder that holds the objects. It and its parents are made by the first write. It must be on a local disk:
   * the locks of network file systems do not hold what is built on them here.
   */
  readonly root: string
}

const capabilities: Capabilities = {
  parts: {
    minSize: 1,
    maxSize: 1024 * MiB,
    recommendedSize: 4 * MiB,
    maxCount: Infinity,
    equalSize: false,
    sequential: false,
    concurrency: 1,
  },
  maxPut: 1024 * MiB,
  conditional: { create: true, replace: true, complete: true, copy: true, remove: true },
  enforcedChecksum: true,
  copy: true,
  move: true,
  parallelRanges: false,
  nestedKeys: false,
  lateFacts: true,
}

/** Removals in flight in one `removeMany`. */
const removals = 16

/**
 * Opens a folder as a store. Reading makes nothing on the disk; the first write makes the folder and what belongs
 * to it. All stores on one folder in a process share its locks; the last to be closed gives them up.
 *
 * @example Save and load durably
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { make } from "@holdfast/holdfast/disk"
 *
 * const program = Effect.scoped(Effect.gen(function* () {
 *   const backend = yield* make({ root: "/tmp/holdfast-example" })
 *   return yield* backend.list()
 * }))
 * const page = await Effect.runPromise(program)
 * console.assert(page.objects.length === 0)
 * ```
 */
export const make: (options: DiskOptions) => Effect.Effect<Backend, StoreError, Scope.Scope> = Effect.fnUntraced(
  function* ({ root: folder }) {
    const root = yield* Effect.acquireRelease(
      settled("open", undefined, () => acquire(folder)),
      (root) => Effect.promise(() => release(root)),
    )
    const uploads = yield* Effect.acquireRelease(
      Effect.sync(() => new Uploads(root)),
      (uploads) => Effect.promise(() => uploads.close()),
    )
    const lister = new Lister(root)

    const backend: Backend = {
      name: "disk",
      capabilities,

      stat: (key, options = {}) => settled("stat", key, (signal) => stat(root, key, options, signal)),

      get: (key, options = {}) => {
        const fail = (error: unknown): unknown => toStoreError(error, "get", key) ?? error
        return settled(
          "get",
          key,
          (signal) => get(root, key, options, signal, fail),
          ({ body }) => body.cancel(),
        )
      },

      put: (key, bytes, options) => settled("put", key, (signal) => put(root, key, bytes, options, signal)),

      list: (options = {}) => settled("list", undefined, (signal) => lister.page(options, signal)),

      remove: (key, options) => settled("remove", key, (signal) => remove(root, key, options?.ifMatch, signal)),

      removeMany: (keys) =>
        Effect.forEach(keys, (key) =>
          settled("removeMany", key, (signal) => remove(root, key, undefined, signal)).pipe(
            Effect.match({
              onSuccess: (): RemoveResult => ({ key }),
              onFailure: (error): RemoveResult => ({ key, error }),
            }),
          ), { concurrency: removals }),

      createUpload: (key, options) =>
        settled(
          "createUpload",
          key,
          (signal) => uploads.create(key, options, signal),
          (upload) => uploads.abort(upload, new AbortController().signal),
        ),

      putPart: (upload, part, bytes) =>
        settled("putPart", upload.key, (signal) => uploads.putPart(upload, part, bytes, signal)),

      completeUpload: (upload, parts, options) =>
        settled("completeUpload", upload.key, (signal) => uploads.complete(upload, parts, options, signal)),

      abortUpload: (upload) => settled("abortUpload", upload.key, (signal) => uploads.abort(upload, signal)),

      listUploads: (options = {}) => settled("listUploads", undefined, (signal) => uploads.page(options, signal)),

      listParts: (upload) => settled("listParts", upload.key, () => uploads.parts(upload)),

      copy: (from, to, options) => settled("copy", to, (signal) => copy(root, from, to, options, signal)),

      move: (from, to, options) => settled("move", to, (signal) => move(root, from, to, options, signal)),
    }
    return backend
  },
)

/**
 * Runs `call` to its end. An interruption aborts its signal and waits for it; what it still came to is undone
 * with `discard`. Only facts about the store become failures; everything else is a bug and a defect.
 */
const settled = <A>(
  operation: string,
  key: string | undefined,
  call: (signal: AbortSignal) => Promise<A>,
  discard?: (value: A) => Promise<unknown>,
): Effect.Effect<A, StoreError> =>
  Effect.callback<A, StoreError>((resume) => {
    const controller = new AbortController()
    const running = call(controller.signal)
    running.then(
      (value) => resume(Effect.succeed(value)),
      (error) => {
        const known = toStoreError(error, operation, key)
        resume(known === undefined ? Effect.die(error) : Effect.fail(known))
      },
    )
    return Effect.promise(async () => {
      controller.abort()
      // Its failure has nobody left to tell.
      await running.then(discard, () => {})
    })
  })
