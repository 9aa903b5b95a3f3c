/**
 * Failures as answers: `application/problem+json` (RFC 9457) with the reason as `code`, and a hint that says what to
 * send instead. The table here is the one of `docs/http.md`.
 *
 * @module
 */
import { errorDocument, problemType } from "../backends/http/wire.ts"
import type { Reason, StoreError } from "../error.ts"

/** The status of a failure. A store that is not let in by its own service is no fault of the client's: 502. */
const statuses: Readonly<Record<Reason, number>> = {
  NotFound: 404,
  NotModified: 304,
  AlreadyExists: 412,
  PreconditionFailed: 412,
  Conflict: 409,
  RangeNotSatisfiable: 416,
  InvalidKey: 400,
  InvalidInput: 400,
  Config: 500,
  Unauthorized: 502,
  Forbidden: 403,
  RateLimited: 429,
  Timeout: 504,
  Unavailable: 503,
  Truncated: 502,
  Corrupt: 502,
  Changed: 503,
  CommitUnknown: 500,
  TooLarge: 413,
  Unsupported: 501,
  NoSpace: 507,
  Aborted: 400,
  Protocol: 502,
}

/** Faults of the bytes that a request brings; of bytes that a store gives out they are faults of the store. */
const ofRequests: Partial<Record<Reason, number>> = { Truncated: 400, Corrupt: 422 }

const statusOf = (error: StoreError, method: string): number => {
  const { reason } = error
  const brings = method !== "GET" && method !== "HEAD"
  // No store was asked: it is the sender who took too long.
  if (reason === "Timeout" && brings && error.backend === "holdfast") return 408
  return (brings ? ofRequests[reason] : undefined) ?? statuses[reason]
}

/** Most milliseconds that a client is asked to wait. */
const maxWait = 3_600_000

/** The answer to a request that has failed. A `HEAD` gets its status and headers. */
export const problemResponse = (
  error: StoreError,
  request: Request,
  more: { readonly status?: number | undefined; readonly headers?: Readonly<Record<string, string>> } = {},
): Response => {
  const status = more.status ?? statusOf(error, request.method)
  const headers: Record<string, string> = { "cache-control": "no-store", ...more.headers }
  const { retryAfter } = error
  if (retryAfter !== undefined) headers["retry-after"] = String(Math.ceil(Math.min(retryAfter, maxWait) / 1000))
  if (status === 304) return new Response(null, { status, headers })
  const body = JSON.stringify({
    type: `urn:holdfast:${error.reason}`,
    title: error.message,
    status,
    ...errorDocument(error),
  })
  return new Response(request.method === "HEAD" ? null : body, {
    status,
    headers: { ...headers, "content-type": problemType },
  })
}
