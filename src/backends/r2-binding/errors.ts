/**
 * What a bound R2 bucket throws, as {@link StoreError}s. The binding throws plain `Error`s whose message ends in R2's
 * code: `put: Your metadata headers exceed the maximum allowed metadata size. (10012)`. The Workers runtime throws its
 * own without a code.
 *
 * Source: https://developers.cloudflare.com/r2/api/error-codes/
 *
 * @module
 */
import { type Reason, StoreError, type StoreErrorArgs } from "../../error.ts"

type Meaning = Pick<StoreErrorArgs, "reason" | "hint" | "transient" | "ambiguous">

const unwell: Meaning = { reason: "Unavailable" }
const badParts: Meaning = { reason: "InvalidInput", hint: "begin the save anew; the parts do not make one object" }
const noBucket: Meaning = {
  reason: "Config",
  hint: "check bucket_name of the binding in the Worker's configuration, and that the bucket exists",
}

const meanings: Readonly<Record<number, Meaning>> = {
  0: unwell,
  10001: unwell,
  10002: { reason: "Unauthorized" },
  10003: { reason: "Forbidden" },
  10005: noBucket,
  10006: noBucket,
  10007: { reason: "NotFound" },
  10011: badParts,
  10012: { reason: "InvalidInput", hint: "give less metadata, or save it as an object of its own" },
  10013: unwell,
  10020: { reason: "InvalidKey" },
  10024: { reason: "NotFound", hint: "begin the save anew; the upload is over, or older than 7 days" },
  10025: badParts,
  10031: { reason: "PreconditionFailed" },
  // Refused before it was stored, and the bytes were right when they left: another attempt may arrive whole.
  10037: { reason: "Corrupt", transient: true, hint: "try again; the bytes were damaged on their way to R2" },
  10039: { reason: "RangeNotSatisfiable" },
  10042: { reason: "Forbidden", hint: "the account has no R2 subscription" },
  10043: unwell,
  10048: badParts,
  10054: unwell,
  10058: { reason: "RateLimited", hint: "slow down; R2 takes about one write a second to a key" },
  10069: { reason: "Forbidden", hint: "a bucket lock protects the object; wait until it ends" },
  100100: { reason: "TooLarge" },
}

/** What the runtime itself says, by the words that it uses. */
const meaningOf = (cause: unknown, text: string): Meaning => {
  // https://developers.cloudflare.com/workers/platform/limits/#subrequests: each call of a binding counts.
  if (/too many (?:subrequests|api requests)/i.test(text)) {
    return {
      reason: "RateLimited",
      transient: false,
      ambiguous: false,
      hint: "the Worker has made as many calls as one invocation may; use larger parts, or raise limits.subrequests",
    }
  }
  // How the binding refuses arguments; nothing was asked of R2.
  if (cause instanceof TypeError || cause instanceof RangeError) return { reason: "Protocol", ambiguous: false }
  return unwell
}

/** The error for something that a call of the binding has thrown. */
export const r2Error = (operation: string, key: string | undefined, cause: unknown): StoreError => {
  const message = cause instanceof Error ? cause.message : String(cause)
  const [, said = message, code] = /^(?:\w+: )?([\s\S]*?) \((\d+)\)$/.exec(message) ?? []
  const meaning = code === undefined ? meaningOf(cause, said) : meanings[Number(code)] ?? { reason: "Protocol" }
  const text = said.replaceAll(/\s+/g, " ").replace(/\.$/, "")
  const detail = code === undefined ? `R2 cannot be asked: ${text}` : `R2 says "${text}" (${code})`
  return new StoreError({ ...meaning, detail, operation, key, backend: "r2-binding", cause })
}

/** An error of our own. */
export const fail = (reason: Reason, operation: string, key: string | undefined, detail: string): StoreError =>
  new StoreError({ reason, operation, key, detail, backend: "r2-binding" })
