/**
 * One bounded HTTP call of a credential source: a deadline, no redirects, and a reply of at most 64 KiB. Redirects
 * are refused because what is asked carries secrets, and a metadata service has no reason to send us elsewhere.
 *
 * @module
 */
import { StoreError, type StoreErrorArgs } from "../error.ts"
import type { Machine } from "./machine.ts"

/** The most bytes of a reply that are read; credentials are some hundreds. */
const maxReply = 65_536

/** A whole reply. */
export interface Answer {
  /** HTTP status. */
  readonly status: number
  /** Its headers. */
  readonly headers: Headers
  /** The body as text. */
  readonly text: string
}

/** An error of a credential source. Nothing of it is in doubt: asking for credentials changes nothing. */
export const sourceError = (
  reason: StoreErrorArgs["reason"],
  detail: string,
  more?: Partial<StoreErrorArgs>,
): StoreError => new StoreError({ reason, detail, operation: "authenticate", ambiguous: false, ...more })

/**
 * Asks `url`, which `who` names in errors: `"the container's metadata service"`. `Unavailable` if there is no whole
 * answer within `timeout` milliseconds, `Protocol` for a redirect or a reply that is too large.
 */
export const ask = async (
  machine: Machine,
  who: string,
  url: string,
  init: RequestInit,
  timeout: number,
): Promise<Answer> => {
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(), timeout)
  try {
    const reply = await machine.fetch(url, { ...init, redirect: "manual", signal: deadline.signal })
    if (reply.status >= 300 && reply.status < 400 || reply.type === "opaqueredirect") {
      await reply.body?.cancel()
      throw sourceError("Protocol", `${who} sent a redirect, which is not followed`)
    }
    return { status: reply.status, headers: reply.headers, text: await readAll(reply, who) }
  } catch (error) {
    if (StoreError.is(error)) throw error
    if (deadline.signal.aborted) throw sourceError("Unavailable", `${who} did not answer within ${timeout} ms`)
    // The runtime's own error may quote the URL, so it is not kept.
    throw sourceError("Unavailable", `${who} cannot be reached`)
  } finally {
    clearTimeout(timer)
  }
}

const readAll = async (reply: Response, who: string): Promise<string> => {
  const decoder = new TextDecoder()
  let text = ""
  for await (const chunk of reply.body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > maxReply) throw sourceError("Protocol", `${who} sent more than ${maxReply} bytes`)
  }
  return text + decoder.decode()
}

/** The error for a status that is no success; the reply's text is not shown, since it may echo what was sent. */
export const statusError = (who: string, status: number): StoreError =>
  status === 429 || status >= 500
    ? sourceError("Unavailable", `${who} answered ${status}`)
    : sourceError("Unauthorized", `${who} answered ${status}`)
