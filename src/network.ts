/**
 * What it means when `fetch` gives no answer. The runtimes have no codes in common, so it is read from their words:
 * above all, whether the request can have had an effect.
 *
 * @module
 */

/** What a backend says of a request without an answer. */
export interface NoAnswer {
  readonly reason: "Unavailable"
  readonly detail: string
  readonly hint?: string
  /** `false`: the same would happen again. */
  readonly transient?: false
  /** `false`: nobody has acted on the request. Absent: somebody may have. */
  readonly ambiguous?: false
  /** What `fetch` threw, as far as it may be shown. */
  readonly cause: Error
}

const untrusted = /certificate|CERT_|_CERT|SELF_SIGNED|ERR_TLS|UnknownIssuer|NotValidForName|SSL routines/i
const unreachable =
  /ECONNREFUSED|ConnectionRefused|ENOTFOUND|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|dns error|Connection refused/
/**
 * What a server says over HTTP/2 of a request that it has done nothing about, in the words of Bun, Deno and Node.
 * https://www.rfc-editor.org/rfc/rfc9113.html#section-8.7
 */
const unread = /HTTP2RefusedStream|refused stream before|NGHTTP2_REFUSED_STREAM/

const codeOf = (error: unknown): string => {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === "string" ? code : ""
}

/**
 * An error of `fetch` as a cause that can be shown: its text and code, without the URL's query, which some runtimes
 * put into it, and without whatever else hangs on the original.
 */
const shown = (error: unknown): Error => {
  const { name, message } = error instanceof Error ? error : new Error("not an Error")
  const inner = (error as { cause?: unknown } | null)?.cause
  const clean = new Error(
    [message, inner instanceof Error ? inner.message : ""].filter((text) => text !== "").join(": ")
      .replace(/\?[^\s)"']*/g, ""),
  )
  clean.name = name
  const code = codeOf(error) || codeOf(inner)
  return code === "" ? clean : Object.assign(clean, { code })
}

/** Why there is no answer from `host`, from what `fetch` threw. */
export const noAnswerFrom = (host: string, error: unknown): NoAnswer => {
  const cause = shown(error)
  const text = `${codeOf(cause)} ${cause.message}`
  const reason = "Unavailable"
  if (untrusted.test(text)) {
    return {
      reason,
      transient: false,
      ambiguous: false,
      detail: `the certificate of ${host} cannot be trusted`,
      hint: "check the host name and the certificate authorities that this runtime trusts",
      cause,
    }
  }
  if (unreachable.test(text)) {
    return {
      reason,
      ambiguous: false,
      detail: `${host} cannot be reached: network failure`,
      hint: "check the endpoint, and that the network lets this program reach it",
      cause,
    }
  }
  if (unread.test(text)) {
    return { reason, ambiguous: false, detail: `${host} did not look at the request: it refused the stream`, cause }
  }
  return { reason, detail: `no answer from ${host}: network failure`, cause }
}

/** How a request is sent whose answer nobody is to change: no redirect followed, and in Bun's word no body decoded. */
export const asItComes: RequestInit & { readonly decompress: false } = { redirect: "manual", decompress: false }
