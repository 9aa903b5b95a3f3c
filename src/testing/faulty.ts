/**
 * A backend that fails on purpose: wraps another one and injects delays, errors, broken bodies and hangs where
 * rules say so, the same ones again for the same seed.
 *
 * What a maintainer must keep: whether a rule hits a call depends on the seed, the rule and how many calls the
 * rule has seen, and on nothing else. So a failing seed replays as long as the calls come in the same order.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Backend, GetResult } from "../backend.ts"
import { StoreError } from "../error.ts"

/** A call of the contract that can fail. */
export type Operation = Exclude<keyof Backend, "name" | "capabilities">

/**
 * What is done to a call. Make one with the functions of this module: {@link delay}, {@link fail},
 * {@link failAfter}, {@link hang}, {@link hangAfter}, {@link cut}, {@link truncate}, {@link stall}, {@link flip}.
 */
export type Fault =
  | { readonly kind: "delay"; readonly millis: number }
  | { readonly kind: "fail" | "failAfter"; readonly error: StoreError | undefined }
  | { readonly kind: "hang" | "hangAfter" }
  | { readonly kind: "cut"; readonly at: number; readonly error: StoreError | undefined }
  | { readonly kind: "truncate" | "stall" | "flip"; readonly at: number }

/** The call waits this long before it begins. Time is Effect's, so a `TestClock` moves it. */
export const delay = (millis: number): Fault => ({ kind: "delay", millis })

/** The call fails and does nothing. Without `error`: `Unavailable`. */
export const fail = (error?: StoreError): Fault => ({ kind: "fail", error })

/** The call takes effect, and its caller gets an error all the same: a lost reply. Without `error`: `Unavailable`. */
export const failAfter = (error?: StoreError): Fault => ({ kind: "failAfter", error })

/** The call does nothing and never returns; it can be interrupted. */
export const hang = (): Fault => ({ kind: "hang" })

/** The call takes effect and never returns; it can be interrupted. */
export const hangAfter = (): Fault => ({ kind: "hangAfter" })

/** The body of a `get` fails once it has delivered `at` bytes. Without `error`: `Unavailable`. */
export const cut = (at: number, error?: StoreError): Fault => ({ kind: "cut", at, error })

/** The body of a `get` ends after `at` bytes as if these were all: what broken servers and proxies do. */
export const truncate = (at: number): Fault => ({ kind: "truncate", at })

/** The body of a `get` delivers `at` bytes and then nothing more, until it is cancelled. */
export const stall = (at: number): Fault => ({ kind: "stall", at })

/**
 * The lowest bit of byte `at` is wrong: in the body of a `get`, in the bytes that reach the backend with a
 * `put` or `putPart`. Nothing happens to shorter ones.
 */
export const flip = (at: number): Fault => ({ kind: "flip", at })

/** Which calls a fault hits. Of the conditions given, all must hold; with none, it hits every call it can. */
export interface Rule {
  /** What is done. Faults of bodies and bytes only ever hit calls that have some. */
  readonly fault: Fault
  /** The calls concerned. Default: all. */
  readonly on?: Operation | ReadonlyArray<Operation> | undefined
  /** Only keys (of `list`: prefixes) this holds for; a text: keys that contain it. `removeMany` has no key: `""`. */
  readonly key?: string | ((key: string) => boolean) | undefined
  /** Only the first, second … of the calls that `on` and `key` select; counted from 1. */
  readonly nth?: number | ReadonlyArray<number> | undefined
  /** How often, from 0 (never) to 1 (always). Default 1. */
  readonly probability?: number | undefined
}

/** A fault that has been injected. */
export interface Injected {
  /** The call it hit. */
  readonly operation: Operation
  /** The key of that call. */
  readonly key: string
  /** Which call of this operation it was, counted from 1. */
  readonly call: number
  /** What was done to it. */
  readonly fault: Fault
}

/** Options of {@link faulty}. */
export interface FaultyOptions {
  /** Tried in this order on every call; several may hit the same one. The first is the outermost. */
  readonly rules?: ReadonlyArray<Rule> | undefined
  /** Decides what `probability` decides. Default: random; print it when a test fails. */
  readonly seed?: number | undefined
}

/** What became of the bodies that `get` handed out. */
export interface BodyCounts {
  /** Handed out. */
  readonly opened: number
  /** Still holding the body of the wrapped backend: neither read to its end, nor failed, nor cancelled. */
  readonly open: number
  /** Cancelled by the reader (or by the fault that broke it), and the wrapped backend's body has been told. */
  readonly cancelled: number
}

/** A backend that fails, and what is to be seen of it. */
export interface Faulty {
  /** Like the wrapped one, capabilities included, but for the faults. */
  readonly backend: Backend
  /** With the same seed and the same calls, the same faults are injected. */
  readonly seed: number
  /** What has been injected, in the order in which the calls began. Grows while the backend is used. */
  readonly injected: ReadonlyArray<Injected>
  /** How often each operation was called, faults included. */
  readonly calls: (operation: Operation) => number
  /** The bodies handed out until now. */
  readonly bodies: () => BodyCounts
}

/**
 * Wraps `inner` so that it fails where `rules` say so.
 *
 * @example The third part fails once, a tenth of all bodies break
 * ```ts
 * import { StoreError } from "@holdfast/holdfast"
 * import * as Memory from "@holdfast/holdfast/memory"
 * import { cut, fail, faulty } from "@holdfast/holdfast/testing"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const { backend, injected } = faulty(yield* Memory.make(), {
 *     seed: 7,
 *     rules: [
 *       { on: "putPart", nth: 3, fault: fail(new StoreError({ reason: "RateLimited", detail: "slow down" })) },
 *       { on: "get", probability: 0.1, fault: cut(1000) },
 *       { on: "stat", fault: fail() },
 *     ],
 *   })
 *   const error = yield* Effect.flip(backend.stat("runs/42"))
 *   console.assert(error.reason === "Unavailable")
 *   console.assert(injected.length === 1)
 * })
 * await Effect.runPromise(program)
 * ```
 */
export const faulty = (inner: Backend, options: FaultyOptions = {}): Faulty => {
  const { rules = [], seed = crypto.getRandomValues(new Uint32Array(1))[0]! } = options
  const seen = rules.map(() => 0)
  const calls = new Map<Operation, number>()
  const injected: Array<Injected> = []
  const bodies = { opened: 0, open: 0, cancelled: 0 }

  const begin = (operation: Operation, key: string): ReadonlyArray<Fault> => {
    const call = (calls.get(operation) ?? 0) + 1
    calls.set(operation, call)
    const faults = rules.filter((rule, index) => {
      if (!applies(rule, operation, key)) return false
      const nth = ++seen[index]!
      return (rule.nth === undefined || [rule.nth].flat().includes(nth)) &&
        draw(seed, index, nth) < (rule.probability ?? 1)
    }).map(({ fault }) => fault)
    for (const fault of faults) injected.push({ operation, key, call, fault })
    return faults
  }

  /** One call, under the faults that hit it; `run` gets the bytes that are to reach the wrapped backend. */
  const intercept = <A>(
    operation: Operation,
    key: string,
    run: (bytes: Uint8Array) => Effect.Effect<A, StoreError>,
    bytes: Uint8Array = nothing,
  ): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      const faults = begin(operation, key)
      const sent = bytes.length === 0 ? bytes : faults.reduce(flipped, bytes)
      return faults.reduceRight((call, fault) => disturb(call, fault, operation, key), run(sent))
    })

  const track = (result: GetResult): GetResult => {
    bodies.opened++
    bodies.open++
    const ended = (how: "ended" | "cancelled") => {
      bodies.open--
      if (how === "cancelled") bodies.cancelled++
    }
    return { ...result, body: passOn(result.body, ended) }
  }

  const { copy, move, copyPart, listUploads, listParts, listVersions, presign } = inner
  const backend: Backend = {
    name: inner.name,
    capabilities: inner.capabilities,
    stat: (key, options) => intercept("stat", key, () => inner.stat(key, options)),
    get: (key, options) => intercept("get", key, () => Effect.map(inner.get(key, options), track)),
    put: (key, bytes, options) => intercept("put", key, (sent) => inner.put(key, sent, options), bytes),
    list: (options) => intercept("list", options?.prefix ?? "", () => inner.list(options)),
    remove: (key, options) => intercept("remove", key, () => inner.remove(key, options)),
    removeMany: (keys) => intercept("removeMany", "", () => inner.removeMany(keys)),
    createUpload: (key, head) => intercept("createUpload", key, () => inner.createUpload(key, head)),
    putPart: (upload, part, bytes) =>
      intercept("putPart", upload.key, (sent) => inner.putPart(upload, part, sent), bytes),
    completeUpload: (upload, parts, options) =>
      intercept("completeUpload", upload.key, () => inner.completeUpload(upload, parts, options)),
    abortUpload: (upload) => intercept("abortUpload", upload.key, () => inner.abortUpload(upload)),
    copy: copy && ((from, to, options) => intercept("copy", from, () => copy(from, to, options))),
    move: move && ((from, to, options) => intercept("move", from, () => move(from, to, options))),
    copyPart: copyPart &&
      ((upload, part, source) => intercept("copyPart", upload.key, () => copyPart(upload, part, source))),
    listUploads: listUploads &&
      ((options) => intercept("listUploads", options?.prefix ?? "", () => listUploads(options))),
    listParts: listParts && ((upload) => intercept("listParts", upload.key, () => listParts(upload))),
    listVersions: listVersions &&
      ((options) => intercept("listVersions", options?.prefix ?? "", () => listVersions(options))),
    presign: presign && ((method, key, options) => intercept("presign", key, () => presign(method, key, options))),
  }
  return {
    backend,
    seed,
    injected,
    calls: (operation) => calls.get(operation) ?? 0,
    bodies: () => ({ ...bodies }),
  }
}

const nothing = new Uint8Array(0)

const bodyFaults: ReadonlyArray<Fault["kind"]> = ["cut", "truncate", "stall"]

const applies = ({ fault, on, key }: Rule, operation: Operation, of: string): boolean => {
  if (on !== undefined && ![on].flat().includes(operation)) return false
  if (typeof key === "string" ? !of.includes(key) : key?.(of) === false) return false
  if (bodyFaults.includes(fault.kind)) return operation === "get"
  return fault.kind !== "flip" || operation === "get" || operation === "put" || operation === "putPart"
}

/** From 0 to 1, and the same for the same three numbers (the finalizer of MurmurHash3). */
const draw = (seed: number, rule: number, nth: number): number => {
  let hash = seed ^ Math.imul(rule + 1, 0x9e3779b1) ^ Math.imul(nth, 0x85ebca77)
  for (const factor of [0x85ebca6b, 0xc2b2ae35]) hash = Math.imul(hash ^ (hash >>> 15), factor)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}

const disturb = <A>(
  call: Effect.Effect<A, StoreError>,
  fault: Fault,
  operation: Operation,
  key: string,
): Effect.Effect<A, StoreError> => {
  const refuse = (when: string, error: StoreError | undefined): Effect.Effect<never, StoreError> =>
    Effect.fail(error ?? new StoreError({ reason: "Unavailable", operation, key, detail: `${when}, as a test asked` }))
  switch (fault.kind) {
    case "delay":
      return Effect.andThen(Effect.sleep(fault.millis), call)
    case "fail":
      return refuse("the call failed before it began", fault.error)
    case "failAfter":
      return Effect.andThen(Effect.flatMap(call, discard), refuse("the reply was lost", fault.error))
    case "hang":
      return Effect.never
    case "hangAfter":
      return Effect.andThen(Effect.flatMap(call, discard), Effect.never)
    default:
      // Here `applies` has seen to it that only a `get` has a body; bytes on their way in are flipped before.
      return Effect.map(
        call,
        (result) => hasBody(result) ? { ...result, body: spoil(result.body, fault, key) } : result,
      )
  }
}

const hasBody = (value: unknown): value is GetResult => typeof value === "object" && value !== null && "body" in value

/** Frees what a result holds that its caller will never see. */
const discard = (result: unknown): Effect.Effect<void> =>
  hasBody(result) ? Effect.promise(() => result.body.cancel()) : Effect.void

const flipped = (bytes: Uint8Array, fault: Fault): Uint8Array => {
  if (fault.kind !== "flip" || fault.at >= bytes.length) return bytes
  const wrong = new Uint8Array(bytes)
  wrong[fault.at]! ^= 1
  return wrong
}

/** The same body, telling when it is over and how. */
const passOn = (
  body: ReadableStream<Uint8Array>,
  over: (how: "ended" | "cancelled") => void,
): ReadableStream<Uint8Array> => {
  const reader = body.getReader()
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const next = await reader.read().catch((error) => {
        over("ended")
        throw error
      })
      if (!next.done) return controller.enqueue(next.value)
      over("ended")
      controller.close()
    },
    cancel: async (reason) => {
      await reader.cancel(reason)
      over("cancelled")
    },
  }, { highWaterMark: 0 })
}

type BodyFault = Extract<Fault, { readonly at: number }>

const spoil = (body: ReadableStream<Uint8Array>, fault: BodyFault, key: string): ReadableStream<Uint8Array> => {
  const reader = body.getReader()
  let at = 0
  /** Ends a body at its fault; all but a stalled one let go of what is behind. */
  const end = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
    // Settled by cancelling the body, which is what a reader with an idle timeout does.
    if (fault.kind === "stall") return await new Promise<never>(() => {})
    await reader.cancel()
    if (fault.kind === "truncate") return controller.close()
    const detail = `the body broke after ${fault.at} bytes, as a test asked`
    const error = fault.kind === "cut" ? fault.error : undefined
    controller.error(error ?? new StoreError({ reason: "Unavailable", operation: "get", key, detail }))
  }
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      if (fault.kind !== "flip" && at >= fault.at) return await end(controller)
      const { done, value } = await reader.read()
      if (done) return controller.close()
      const local = fault.at - at
      at += value.length
      if (fault.kind !== "flip") return controller.enqueue(value.subarray(0, Math.max(0, local)))
      controller.enqueue(local >= 0 ? flipped(value, { kind: "flip", at: local }) : value)
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 })
}
