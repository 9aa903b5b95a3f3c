/**
 * How a case runs: on a backend of its own, under a random prefix, and what it may lack.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Backend, Capabilities, ObjectInfo, PartRules, PutOptions } from "../../backend.ts"
import type { Reason, StoreError } from "../../error.ts"
import { bytes, expectBytes, expectReason, expectSame, listAll, putOptions, read } from "./tools.ts"

/** What a case works on. */
export interface Trial {
  readonly backend: Backend
  readonly capabilities: Capabilities
  /** Under which the case keeps its keys; ends in "/". */
  readonly prefix: string
  /** Puts `data`, by default a few bytes. */
  readonly put: (key: string, data?: Uint8Array, more?: Partial<PutOptions>) => Effect.Effect<ObjectInfo, StoreError>
  /** Dies unless the object is there with these bytes. */
  readonly holds: (key: string, data: Uint8Array) => Effect.Effect<ObjectInfo, StoreError>
  /** Dies unless neither `stat`, `get` nor `list` finds anything under `key`. */
  readonly absent: (key: string) => Effect.Effect<void, StoreError>
}

/** A case is the body of an `Effect.gen`; it shows a fault by throwing. */
export type Run = (trial: Trial) => Generator<Effect.Effect<unknown, StoreError, Scope.Scope>, void, never>

/** A case. */
export interface Definition {
  readonly title: string
  /** Why the case does not apply. */
  readonly lacks?: ((capabilities: Capabilities, backend: Backend) => string | undefined) | undefined
  readonly run: Run
}

/** What cases put that need no particular bytes. */
export const small: Uint8Array<ArrayBuffer> = bytes(1, 100)

/** Runs a case on a backend of its own. */
export const runCase = (
  make: () => Effect.Effect<Backend, StoreError, Scope.Scope>,
  run: Run,
): Promise<void> => {
  const prefix = `conformance-${crypto.randomUUID()}/`
  const program = Effect.gen(function* () {
    const backend = yield* make()
    const clear = Effect.gen(function* () {
      for (const place of [prefix, `/${prefix}`, `.holdfast/${prefix}`, `tmp/${prefix}`]) {
        const { objects } = yield* listAll(backend, { prefix: place })
        if (objects.length > 0) yield* backend.removeMany(objects.map(({ key }) => key))
      }
    })
    // A case that failed has said so; that its cleaning up failed too is no news.
    yield* Effect.addFinalizer(() => Effect.ignore(clear))
    const trial: Trial = {
      backend,
      capabilities: backend.capabilities,
      prefix,
      put: (key, data = small, more) => backend.put(key, data, putOptions(data, more)),
      holds: (key, data) =>
        Effect.map(read(backend, key), (found) => {
          expectBytes(found.data, data, `the bytes of ${key}`)
          expectSame(found.info.size, data.length, `the size of ${key}`)
          return found.info
        }),
      absent: Effect.fnUntraced(function* (key) {
        yield* expectReason(backend.stat(key), "NotFound")
        yield* expectReason(backend.get(key), "NotFound")
        const { objects } = yield* listAll(backend, { prefix: key })
        expectSame(objects.filter((object) => object.key === key), [], `the list of ${key}`)
      }),
    }
    yield* Effect.gen(() => run(trial))
  })
  return Effect.runPromise(Effect.scoped(program))
}

/** Why a case does not apply to a backend. */
export type Lacks = NonNullable<Definition["lacks"]>

/** The cases of one file, in the order they are added. */
export const caseList = (): {
  readonly definitions: Array<Definition>
  readonly add: (title: string, run: Run) => void
  readonly addIf: (title: string, lacks: Definition["lacks"], run: Run) => void
} => {
  const definitions: Array<Definition> = []
  return {
    definitions,
    add: (title, run) => void definitions.push({ title, run }),
    addIf: (title, lacks, run) => void definitions.push({ title, lacks, run }),
  }
}

/** The first of several reasons. */
export const both = (...lacks: ReadonlyArray<Lacks>): Lacks => (capabilities, backend) =>
  lacks.map((lack) => lack(capabilities, backend)).find((why) => why !== undefined)

/** The case needs uploads. */
export const uploads: Lacks = (c) => c.parts === undefined ? "the backend has no uploads" : undefined
/** The case needs a backend that keeps what is known only at the end. */
export const lateFacts: Lacks = (c) => c.lateFacts ? undefined : "lateFacts is not true"
/** The case needs uploads that others can go on with. */
export const resumable: Lacks = (_, { listParts, listUploads }) =>
  listParts === undefined || listUploads === undefined ? "the backend has no listParts and listUploads" : undefined
/** The case needs parts in any order. */
export const anyOrder: Lacks = (c) => c.parts?.sequential ? "parts must arrive one after the other" : undefined
/** The case needs three parts and more. */
export const manyParts: Lacks = (c) => (c.parts?.maxCount ?? 0) < 3 ? "the backend takes fewer than 3 parts" : undefined
/** The case needs a backend that checks CRC-32 itself. */
export const checksum: Lacks = (c) => c.enforcedChecksum ? undefined : "the backend does not check CRC-32 itself"
/** The case needs copies. */
export const copies: Lacks = (c) => c.copy ? undefined : "the backend has no copy"
/** The case needs moves. */
export const moves: Lacks = (c) => c.move ? undefined : "the backend has no move"
/** The case needs a condition that is checked. */
export const keeps = (name: keyof Capabilities["conditional"]): Lacks => (c) =>
  c.conditional[name] ? undefined : `conditional.${name} is false`
/** The case needs a condition that is not. */
export const refuses = (name: keyof Capabilities["conditional"]): Lacks => (c) =>
  c.conditional[name] ? `conditional.${name} is true` : undefined

/** The rules for parts; only in cases that need uploads. */
export const rulesOf = ({ parts }: Capabilities): PartRules => parts!

/** The smallest part size that is still worth a test: parts below `minSize` are not allowed. */
export const testPartSize = (capabilities: Capabilities): number => Math.max(capabilities.parts?.minSize ?? 1, 1000)

/** A writer that lost a race: refused at once, or told to come again and refused then. */
export const lost = (error: StoreError, reason: Reason): boolean =>
  error.reason === reason || (error.reason === "Conflict" && error.transient)

/** The index of the writer that won; throws unless there is exactly one and the others were refused for `reason`. */
export const onlyWinner = (results: ReadonlyArray<Result.Result<unknown, StoreError>>, reason: Reason): number => {
  for (const result of results) {
    if (Result.isFailure(result) && !lost(result.failure, reason)) throw result.failure
  }
  expectSame(results.filter(Result.isSuccess).length, 1, "the number of writers that won")
  return results.findIndex(Result.isSuccess)
}
