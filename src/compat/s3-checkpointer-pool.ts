/**
 * A `fetch` with a bounded number of requests in use, from their first byte to the last of their answer. Sockets are the
 * runtime's, which keeps them open for the next request; so the bound on requests is the bound on sockets.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { readerOf, streamOf } from "../streams/reader.ts"

/** How requests are sent. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>

/** At most `size` requests at a time; further ones wait until an answer has been read, cancelled or broken off. */
export const pooledFetch = (size: number, inner: Fetch): Fetch => {
  const slots = Semaphore.makeUnsafe(size)
  const give = (): void => void Effect.runSync(Semaphore.release(slots, 1))
  return async (url, init) => {
    init.signal?.throwIfAborted()
    await Effect.runPromise(Semaphore.take(slots, 1), { signal: init.signal ?? undefined }).catch((cause: unknown) => {
      throw init.signal?.reason ?? cause
    })
    let response: Response
    try {
      response = await inner(url, init)
    } catch (error) {
      give()
      throw error
    }
    if (response.body === null) {
      give()
      return response
    }
    const reader = readerOf(response.body)
    const body = streamOf({
      read: async () => {
        try {
          const chunk = await reader.read()
          if (chunk === undefined) give()
          return chunk
        } catch (error) {
          give()
          throw error
        }
      },
      cancel: async (reason) => {
        give()
        await reader.cancel(reason)
      },
    })
    const { status, statusText, headers } = response
    return new Response(body, { status, statusText, headers })
  }
}
