/**
 * SHA-256 and HMAC-SHA-256 in the shape that `@smithy/signature-v4` asks for: the runtime's own, synchronous one
 * where there is one, and WebCrypto's elsewhere. WebCrypto costs ten times as much for inputs this short.
 *
 * @module
 */

/** What the signer gives to a hash. */
type Source = string | ArrayBuffer | ArrayBufferView

/** A SHA-256 in the making; an HMAC when it was made with a key. */
export interface Hash {
  /** Takes the next bytes. */
  update(data: Uint8Array): void
  /** The 32 bytes of the result. */
  digest(): Promise<Uint8Array>
  /** Starts again. */
  reset(): void
}

/** Makes a SHA-256, or an HMAC-SHA-256 under `key`. */
export type HashConstructor = new (key?: Source) => Hash

interface NativeHash {
  update(data: Uint8Array): unknown
  digest(): Uint8Array
}
interface NodeCrypto {
  readonly createHash: (name: "sha256") => NativeHash
  readonly createHmac: (name: "sha256", key: Uint8Array) => NativeHash
}

const encoder = new TextEncoder()

const bytesOf = (source: Source): Uint8Array<ArrayBuffer> =>
  typeof source === "string"
    ? encoder.encode(source)
    : ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source)

/** SHA-256 by `node:crypto`. */
export const nativeHash = (crypto: NodeCrypto): HashConstructor =>
  class implements Hash {
    readonly #key: Uint8Array | undefined
    #hash: NativeHash

    constructor(key?: Source) {
      this.#key = key === undefined ? undefined : bytesOf(key)
      this.#hash = this.#start()
    }

    #start(): NativeHash {
      return this.#key === undefined ? crypto.createHash("sha256") : crypto.createHmac("sha256", this.#key)
    }

    update(data: Uint8Array): void {
      this.#hash.update(data)
    }

    digest(): Promise<Uint8Array> {
      return Promise.resolve(this.#hash.digest())
    }

    reset(): void {
      this.#hash = this.#start()
    }
  }

/** SHA-256 by WebCrypto. It has no incremental form, so the input is kept until the end; the signer's is short. */
export class WebHash implements Hash {
  readonly #key: Uint8Array<ArrayBuffer> | undefined
  #chunks: Array<Uint8Array> = []

  /** An HMAC under `key`, or a plain SHA-256 without one. */
  constructor(key?: Source) {
    this.#key = key === undefined ? undefined : bytesOf(key)
  }

  /** Takes the next bytes. */
  update(data: Uint8Array): void {
    this.#chunks.push(data.slice())
  }

  /** The 32 bytes of the result. */
  async digest(): Promise<Uint8Array> {
    const input = new Uint8Array(await new Blob(this.#chunks as Array<BlobPart>).arrayBuffer())
    if (this.#key === undefined) return new Uint8Array(await crypto.subtle.digest("SHA-256", input))
    const algorithm = { name: "HMAC", hash: "SHA-256" }
    // WebCrypto refuses an empty key; HMAC pads with zeros, so one zero byte is the same key.
    const bytes = this.#key.length === 0 ? new Uint8Array(1) : this.#key
    const key = await crypto.subtle.importKey("raw", bytes, algorithm, false, ["sign"])
    return new Uint8Array(await crypto.subtle.sign(algorithm, key, input))
  }

  /** Starts again. */
  reset(): void {
    this.#chunks = []
  }
}

/** The fastest SHA-256 this runtime has. */
export const fastestHash = (): HashConstructor => {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } }
  const crypto = process?.getBuiltinModule?.("node:crypto") as NodeCrypto | undefined
  return crypto === undefined ? WebHash : nativeHash(crypto)
}
