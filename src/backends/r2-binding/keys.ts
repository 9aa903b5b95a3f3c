/**
 * Keys of the store and names in the bucket: behind the prefix, and in the form that R2 keeps apart.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { StoreError } from "../../error.ts"
import { maxKeyBytes } from "../../key.ts"
import { utf8Length } from "../../streams/utf8.ts"
import { fail } from "./errors.ts"

/** How keys become names. */
export interface Keys {
  /** What all names start with. */
  readonly root: string
  /** The name of a key; one that R2 cannot keep, or would take for another, is `InvalidKey`. */
  readonly nameOf: (operation: string, key: string) => Effect.Effect<string, StoreError>
  /** The key of a name, or of a folded prefix. */
  readonly keyOf: (name: string) => string
}

/** The names behind a prefix. `exact`: R2 does not fold them. */
export const keysOf = (prefix: string, exact: boolean): Keys => {
  const root = prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`
  const flawOf = (key: string, name: string): string | undefined => {
    // https://developers.cloudflare.com/r2/reference/unicode-interoperability/
    if (!exact && key !== key.normalize("NFC")) {
      return "the key is not in Unicode's composed form, in which alone R2 tells keys apart; use key.normalize()"
    }
    const size = utf8Length(name)
    return size > maxKeyBytes ? `with the prefix it has ${size} bytes of UTF-8; the most is ${maxKeyBytes}` : undefined
  }
  return {
    root,
    keyOf: (name) => name.slice(root.length),
    nameOf: (operation, key) =>
      Effect.suspend(() => {
        const name = root + key
        const flaw = flawOf(key, name)
        return flaw === undefined ? Effect.succeed(name) : Effect.fail(fail("InvalidKey", operation, key, flaw))
      }),
  }
}
