/**
 * Lines about requests to S3, under the target `aws_sdk_s3`: an answer at `debug`; at `warn` one that is tried again,
 * or none. Of the request they tell the method, host, path and which parameters it has; of the answer its status and
 * id. Values of parameters and headers, and bodies, are never looked at.
 *
 * @module
 */
import { requestIdOf } from "../backends/s3/errors.ts"
import type { S3Options } from "../backends/s3/options.ts"
import { noAnswerFrom } from "../network.ts"
import type { RustLog } from "./rust-log.ts"

const target = "aws_sdk_s3"

/** A `fetch` that tells of each request; `undefined`, for the runtime's own, where nobody wants to know. */
export const loggedFetch = (log: RustLog): S3Options["fetch"] => {
  if (!log.writes("warn", target)) return undefined
  const attempts = new Map<string, number>()
  return async (url, init) => {
    const { host, pathname, search, searchParams } = new URL(url)
    const { method = "GET", headers, signal } = init
    // The same parameters and the same range are the same request; its host can change with the bucket's region.
    const same = `${method} ${pathname}${search} ${new Headers(headers).get("range") ?? ""}`
    const attempt = (attempts.get(same) ?? 0) + 1
    attempts.set(same, attempt)
    const query = searchParams.size === 0 ? undefined : [...searchParams.keys()].join(",")
    const asked = { method, host, path: pathname, query, attempt }
    const began = performance.now()
    const duration = (): { readonly duration_ms: number } => ({ duration_ms: Math.round(performance.now() - began) })
    try {
      const response = await fetch(url, init)
      const { status } = response
      const level = status >= 500 || status === 429 ? "warn" : "debug"
      log.line(level, target, "answer", { ...asked, status, request_id: requestIdOf(response.headers), ...duration() })
      return response
    } catch (cause) {
      const error = signal?.aborted ? "given up, or out of time" : noAnswerFrom(host, cause).detail
      log.line("warn", target, "no answer", { ...asked, error, ...duration() })
      throw cause
    }
  }
}
