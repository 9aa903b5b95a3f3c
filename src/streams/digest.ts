/**
 * SHA-256 fed piece by piece. WebCrypto has no such thing, so this needs a runtime with `node:crypto`
 * (Bun, Deno, Node, Workers with `nodejs_compat`).
 *
 * @module
 */

/** A digest in the making. */
export interface Hasher {
  /** Feeds the next bytes; they are read before the call returns. */
  readonly update: (bytes: Uint8Array) => void
  /** The digest in lower-case hex. Call it once. */
  readonly hex: () => string
}

interface NodeHash {
  update(bytes: Uint8Array): unknown
  digest(encoding: "hex"): string
}

/** A fresh SHA-256, or `undefined` where the runtime offers none that can be fed piece by piece. */
export const sha256 = (): Hasher | undefined => {
  const host = globalThis as {
    process?: { getBuiltinModule?: (id: string) => { createHash?: (name: string) => NodeHash } | undefined }
  }
  const hash = host.process?.getBuiltinModule?.("node:crypto")?.createHash?.("sha256")
  if (hash === undefined) return undefined
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") }
}
