/**
 * A `fetch` with a bounded number of requests in use, from their first byte to the last of their answer. Sockets are the
 * runtime's, which keeps them open for the next request; so the bound on requests is the bound on sockets.
 *
 * @module
 */

/** How requests are sent. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>

/** Slots that are taken in the order of asking. */
class Slots {
  #free: number
  readonly #waiting: Array<() => void> = []

  constructor(size: number) {
    this.#free = size
  }

  async take(signal: AbortSignal | null | undefined): Promise<void> {
    signal?.throwIfAborted()
    if (this.#free > 0) {
      this.#free--
      return
    }
    await new Promise<void>((resolve, reject) => {
      const proceed = (): void => {
        signal?.removeEventListener("abort", leave)
        resolve()
      }
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(proceed), 1)
        reject(signal?.reason)
      }
      signal?.addEventListener("abort", leave, { once: true })
      this.#waiting.push(proceed)
    })
  }

  give(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}

/** At most `size` requests at a time; further ones wait until an answer has been read, cancelled or broken off. */
export const pooledFetch = (size: number, inner: Fetch): Fetch => {
  const slots = new Slots(size)
  return async (url, init) => {
    await slots.take(init.signal)
    let response: Response
    try {
      response = await inner(url, init)
    } catch (error) {
      slots.give()
      throw error
    }
    if (response.body === null) {
      slots.give()
      return response
    }
    const reader = response.body.getReader()
    const body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        try {
          const { done, value } = await reader.read()
          if (!done) return controller.enqueue(value)
          slots.give()
          controller.close()
        } catch (error) {
          slots.give()
          throw error
        }
      },
      cancel: async (reason) => {
        slots.give()
        await reader.cancel(reason)
      },
    }, { highWaterMark: 0 })
    const { status, statusText, headers } = response
    return new Response(body, { status, statusText, headers })
  }
}
