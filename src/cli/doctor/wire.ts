/**
 * The requests of `doctor` as they pass: what the answers' headers tell, and a body that is damaged on purpose.
 *
 * @module
 */

/** What is kept of an answer. */
export interface Answer {
  /** Of HTTP. */
  readonly status: number
  /** The service's clock minus this machine's in milliseconds, to about a second. */
  readonly skew: number | undefined
  /** The bucket's region, where the answer names it. */
  readonly region: string | undefined
}

/** A `fetch` that looks at what it carries. */
export class Wire {
  readonly #answers: Array<Answer> = []
  /** While true, the first byte of every body arrives changed. */
  damaging = false

  /** The answers so far. */
  get answers(): ReadonlyArray<Answer> {
    return this.#answers
  }

  /** As `fetch`. */
  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const { body } = init
    const damaged = this.damaging && body instanceof Uint8Array && body.length > 0
      ? { ...init, body: body.map((byte, at) => at === 0 ? byte ^ 1 : byte) }
      : init
    const response = await fetch(url, damaged)
    const date = Date.parse(response.headers.get("date") ?? "")
    this.#answers.push({
      status: response.status,
      // A date is cut to whole seconds, which is half a second early on average.
      skew: Number.isNaN(date) ? undefined : date + 500 - Date.now(),
      region: response.headers.get("x-amz-bucket-region") ?? undefined,
    })
    return response
  }
}
