/**
 * The one error of Holdfast. Everything that can go wrong with bytes, keys or a place they live is a
 * {@link StoreError} with a `reason` from a closed list, so a program decides by `reason` and never by text.
 *
 * Foreign errors are mapped once, at the edge of the backend that met them. Two rules a maintainer must keep:
 * a message never holds a secret, a signature or a query string; and `transient` never says `true` for
 * something that trying again cannot mend.
 *
 * @module
 */
import type * as Cause from "effect/Cause"
import * as Data from "effect/Data"

/** Why a call failed. `docs/errors.md` lists for each what it means, its exit code and what to do. */
export type Reason =
  | "NotFound"
  | "NotModified"
  | "AlreadyExists"
  | "PreconditionFailed"
  | "Conflict"
  | "RangeNotSatisfiable"
  | "InvalidKey"
  | "InvalidInput"
  | "Config"
  | "Unauthorized"
  | "Forbidden"
  | "RateLimited"
  | "Timeout"
  | "Unavailable"
  | "Truncated"
  | "Corrupt"
  | "Changed"
  | "CommitUnknown"
  | "TooLarge"
  | "Unsupported"
  | "NoSpace"
  | "Aborted"
  | "Protocol"

/** What is true of every error with a given reason unless the error itself says otherwise. */
interface ReasonFacts {
  /** Trying the same call again may succeed. */
  readonly transient: boolean
  /** The call may have taken effect although it failed. */
  readonly ambiguous: boolean
  /** What the reader can do about it. */
  readonly hint: string
}

const fact = (hint: string, more?: { readonly transient?: boolean; readonly ambiguous?: boolean }): ReasonFacts => ({
  transient: more?.transient ?? false,
  ambiguous: more?.ambiguous ?? false,
  hint,
})

const reasons: Readonly<Record<Reason, ReasonFacts>> = {
  NotFound: fact("check the key, and list its prefix to see what is there"),
  NotModified: fact("the copy you have is current; use it"),
  AlreadyExists: fact("save under another key, or leave out ifNoneMatch to replace it"),
  PreconditionFailed: fact("load the object again, redo the change on what it holds now, and save with its new etag"),
  Conflict: fact("another object or writer is in the way; look at the key named and try again"),
  RangeNotSatisfiable: fact("stat the object and ask for an offset below its size"),
  InvalidKey: fact("use a key of 1 to 1,024 bytes of UTF-8 without control characters, backslashes, . or .. segments"),
  InvalidInput: fact("correct the option named in the message"),
  Config: fact("correct the setting named in the message"),
  Unauthorized: fact("check that the credentials are right and have not expired"),
  Forbidden: fact("ask the owner of the store for permission to do this on this key"),
  RateLimited: fact("slow down; the store asked for fewer calls", { transient: true }),
  Timeout: fact("try again, or raise attemptTimeout or idleTimeout", { transient: true, ambiguous: true }),
  Unavailable: fact("try again; if it lasts, check that the store can be reached", {
    transient: true,
    ambiguous: true,
  }),
  Truncated: fact("load again; if it lasts, the stored object is shorter than it should be: run verify", {
    transient: true,
  }),
  Corrupt: fact("the stored bytes are not what was saved; restore the object from a copy and save it again"),
  Changed: fact("the object was replaced while it was being read; start the load again"),
  CommitUnknown: fact("stat the object to see whether your bytes are there before you save again", { ambiguous: true }),
  TooLarge: fact("use a larger partSize or give expectedSize, or split the object"),
  Unsupported: fact("this backend cannot do that; see its capabilities"),
  NoSpace: fact("free some room where the store lives and save again; what was stored before is untouched"),
  Aborted: fact("the caller ended the call; nothing more will happen", { ambiguous: true }),
  Protocol: fact("the store answered something that Holdfast does not understand; report it with the request id", {
    ambiguous: true,
  }),
}

/** Every reason, in the order of `docs/errors.md`. */
export const allReasons: ReadonlyArray<Reason> = Object.keys(reasons) as Array<Reason>

/** What a {@link StoreError} is made from. Only `reason` and `detail` are required. */
export interface StoreErrorArgs {
  /** Why it failed. */
  readonly reason: Reason
  /** What went wrong, as the end of a sentence: no capital, no full stop, values quoted. */
  readonly detail: string
  /** The backend that failed: `"disk"`, `"memory"`, `"s3"`. */
  readonly backend?: string | undefined
  /** The verb that failed: `"save"`, `"put"`, `"stat"`. */
  readonly operation?: string | undefined
  /** The key of the object concerned. */
  readonly key?: string | undefined
  /** What to do about it; the default depends on the reason. */
  readonly hint?: string | undefined
  /** Whether trying again may help; the default depends on the reason. */
  readonly transient?: boolean | undefined
  /** Whether a change may have taken effect in spite of the error; the default depends on the reason. */
  readonly ambiguous?: boolean | undefined
  /** How often the call was tried, the first attempt included. */
  readonly attempts?: number | undefined
  /** The service's own id of the failed request, for its support. */
  readonly requestId?: string | undefined
  /** How long the store asked us to wait before another try, in milliseconds. */
  readonly retryAfter?: number | undefined
  /** The error underneath. */
  readonly cause?: unknown
}

const StoreErrorBase: new (args: StoreErrorArgs) => Cause.YieldableError & { readonly _tag: "StoreError" } = Data
  .TaggedError("StoreError") as never

/**
 * A failed call on a store.
 *
 * In Effect code it is the typed failure of every verb; with the Promise face it is what a rejected promise
 * holds. Use {@link StoreError.is} rather than `instanceof`: a program may end up with two copies of a package.
 *
 * @example Decide by reason
 * ```ts
 * import { open, StoreError } from "@holdfast/holdfast"
 *
 * await using store = await open("mem:")
 * const found = await store.stat("runs/42").catch((error) => {
 *   if (StoreError.is(error) && error.reason === "NotFound") return undefined
 *   throw error
 * })
 * console.assert(found === undefined)
 * ```
 */
export class StoreError extends StoreErrorBase {
  /** Why it failed: one of a closed list. */
  readonly reason: Reason
  /** What went wrong, without the operation and the key. */
  readonly detail: string
  /** The backend that failed, `"holdfast"` when no backend was asked. */
  readonly backend: string
  /** The verb that failed. */
  readonly operation: string
  /** The key of the object concerned, where there is one. */
  readonly key: string | undefined
  /** What to do about it. */
  readonly hint: string
  /** Whether the same call may succeed when tried again. */
  readonly transient: boolean
  /** Whether a change may have taken effect although the call failed. */
  readonly ambiguous: boolean
  /** How often it was tried, the first attempt included. */
  readonly attempts: number
  /** The service's own id of the failed request. */
  readonly requestId: string | undefined
  /** How long the store asked to wait before another try, in milliseconds. */
  readonly retryAfter: number | undefined

  /** An error with the defaults of its reason for what is left out. */
  constructor(args: StoreErrorArgs) {
    super({ ...args })
    const facts: ReasonFacts = reasons[args.reason]
    this.reason = args.reason
    this.detail = args.detail
    this.backend = args.backend ?? "holdfast"
    this.operation = args.operation ?? "call"
    this.key = args.key
    this.hint = args.hint ?? facts.hint
    this.transient = args.transient ?? facts.transient
    this.ambiguous = args.ambiguous ?? facts.ambiguous
    this.attempts = args.attempts ?? 1
    this.requestId = args.requestId
    this.retryAfter = args.retryAfter
    this.message = describe(this)
  }

  /** Whether `value` is a StoreError, also one made by another copy of this package. */
  static is(value: unknown): value is StoreError {
    return typeof value === "object" && value !== null && (value as { _tag?: unknown })._tag === "StoreError" &&
      (value as { reason?: unknown }).reason as string in reasons
  }

  /** The same error with some fields replaced, for a wrapper that knows more than the layer below. */
  with(fields: Partial<StoreErrorArgs>): StoreError {
    return new StoreError({
      reason: this.reason,
      detail: this.detail,
      backend: this.backend,
      operation: this.operation,
      key: this.key,
      hint: this.hint,
      transient: this.transient,
      ambiguous: this.ambiguous,
      attempts: this.attempts,
      requestId: this.requestId,
      retryAfter: this.retryAfter,
      cause: this.cause,
      ...fields,
    })
  }

  /** What a log line or a `--json` reader gets: everything but the cause. */
  override toJSON(): Record<string, unknown> {
    return {
      code: this.reason,
      message: this.message,
      hint: this.hint,
      backend: this.backend,
      operation: this.operation,
      key: this.key,
      transient: this.transient,
      attempts: this.attempts,
      requestId: this.requestId,
    }
  }
}

const describe = (error: StoreError): string => {
  const what = error.key === undefined ? "" : ` ${JSON.stringify(error.key)}`
  const times = error.attempts > 1 ? ` (after ${error.attempts} attempts)` : ""
  return `Cannot ${error.operation}${what}: ${error.detail}${times}`
}
