/**
 * AWS credentials, and keeping them fresh.
 *
 * A provider is a plain `() => Promise<…>`, not an Effect: it is what `@aws-sdk/credential-providers` and every
 * other tool hand out, so theirs can be passed as they are, and the signer underneath speaks promises too. What a
 * maintainer must keep: no secret is ever an enumerable or own property of anything here, so nothing that prints,
 * spreads or serialises an object shows one.
 *
 * @module
 */
import { StoreError } from "../error.ts"

/** Credentials as the AWS SDKs write them. */
export interface CredentialsLike {
  /** Which key: `AKIA…`, or `ASIA…` for temporary ones. */
  readonly accessKeyId: string
  /** The secret that signs. */
  readonly secretAccessKey: string
  /** Sent along by temporary credentials. */
  readonly sessionToken?: string | undefined
  /** When they end. Default: never. */
  readonly expiration?: Date | undefined
}

/** Where credentials come from. Called again whenever fresh ones are wanted. */
export type CredentialsProvider = () => Promise<CredentialsLike>

const invalid = (detail: string): StoreError =>
  new StoreError({ reason: "Config", detail, operation: "authenticate", hint: "copy both keys again, without spaces" })

/** A header carries these, and one pasted with its line end is refused by the service in words that help nobody. */
const unprintable = /[^\x21-\x7e]/

/**
 * Credentials that do not show their secrets to `console.log`, `JSON.stringify`, template strings, spreads or the
 * inspectors of Bun, Deno and Node. Fails with `Config` if a part is empty or holds what cannot be sent.
 *
 * @example What a log shows of them
 * ```ts
 * import { Credentials } from "@holdfast/holdfast/s3"
 *
 * const credentials = new Credentials({ accessKeyId: "AKIAEXAMPLE", secretAccessKey: "very secret" })
 * console.assert(!JSON.stringify(credentials).includes("very secret"))
 * ```
 */
export class Credentials implements CredentialsLike {
  readonly #accessKeyId: string
  readonly #secretAccessKey: string
  readonly #sessionToken: string | undefined
  readonly #expiration: number | undefined

  /** Checks and keeps `parts`; later changes to that object have no effect. */
  constructor(parts: CredentialsLike) {
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = parts
    if (typeof accessKeyId !== "string" || accessKeyId === "") throw invalid("the credentials have no accessKeyId")
    if (typeof secretAccessKey !== "string" || secretAccessKey === "") {
      throw invalid("the credentials have no secretAccessKey")
    }
    if (unprintable.test(accessKeyId)) throw invalid("the accessKeyId holds a space or a character that is not ASCII")
    if (secretAccessKey.trim() !== secretAccessKey) throw invalid("the secretAccessKey starts or ends with a space")
    if (sessionToken && unprintable.test(sessionToken)) {
      throw invalid("the sessionToken holds a space or a character that is not ASCII")
    }
    if (expiration !== undefined && Number.isNaN(expiration.getTime())) {
      throw invalid("the expiration of the credentials is not a date")
    }
    this.#accessKeyId = accessKeyId
    this.#secretAccessKey = secretAccessKey
    this.#sessionToken = sessionToken || undefined
    this.#expiration = expiration?.getTime()
  }

  /** Which key. */
  get accessKeyId(): string {
    return this.#accessKeyId
  }

  /** The secret that signs. */
  get secretAccessKey(): string {
    return this.#secretAccessKey
  }

  /** Sent along by temporary credentials. */
  get sessionToken(): string | undefined {
    return this.#sessionToken
  }

  /** When they end; `undefined`: never. */
  get expiration(): Date | undefined {
    return this.#expiration === undefined ? undefined : new Date(this.#expiration)
  }

  /** The credentials without their secrets, for a log. */
  toJSON(): Record<string, string | undefined> {
    return {
      accessKeyId: `${this.#accessKeyId.slice(0, 4)}…`,
      secretAccessKey: "<redacted>",
      sessionToken: this.#sessionToken === undefined ? undefined : "<redacted>",
      expiration: this.expiration?.toISOString(),
    }
  }

  /** Without secrets. */
  toString(): string {
    return `Credentials(${this.#accessKeyId.slice(0, 4)}…)`
  }

  static {
    // What the inspectors of Node and Bun, and of Deno, call before they look inside.
    for (const inspector of ["nodejs.util.inspect.custom", "Deno.customInspect"]) {
      Object.defineProperty(this.prototype, Symbol.for(inspector), {
        value(this: Credentials): string {
          return this.toString()
        },
      })
    }
  }
}

/** `parts` as {@link Credentials}, the same object if they are that already. */
export const credentialsOf = (parts: CredentialsLike): Credentials =>
  parts instanceof Credentials ? parts : new Credentials(parts)
