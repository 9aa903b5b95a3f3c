/**
 * Encryption on this side: what the store holds says nothing to whoever has not got the key, and a change to any bit
 * of it is noticed. It stands outside of the compression, and is independent of what the service does.
 *
 * The bytes: the magic `HFSNAP\0\1`, a salt of 16 bytes, a check of the key of 16 bytes; then chunks of 64 KiB, each
 * AES-256-GCM with its tag. HKDF-SHA-256 makes the chunks' key and the check out of the caller's key and the salt. A
 * chunk's nonce is its number (11 bytes, big-endian) and one byte that is 1 for the last one, so that chunks cannot be
 * reordered, left out or cut off unnoticed.
 *
 * @module
 */
import * as Redacted from "effect/Redacted"
import { StoreError } from "../error.ts"
import { Input, type Pull } from "../streams/codec-input.ts"
import { FormatError } from "../streams/format-error.ts"

/** A key of 32 random bytes; as a `Redacted` it does not show in logs. */
export type SnapshotKey = Uint8Array | Redacted.Redacted<Uint8Array>

const magic = new TextEncoder().encode("HFSNAP\0\x01")
const saltSize = 16
const checkSize = 16
const headSize = magic.length + saltSize + checkSize
const chunkSize = 64 * 1024
const tagSize = 16

/** Whether bytes begin like something that was encrypted here; 8 bytes tell. */
export const isEncrypted = (bytes: Uint8Array): boolean => magic.every((byte, i) => bytes[i] === byte)

/** Why a key cannot be used, or `undefined` if it can. */
export const keyFlaw = (key: SnapshotKey): string | undefined => {
  const bytes: unknown = Redacted.isRedacted(key) ? Redacted.value(key) : key
  return bytes instanceof Uint8Array && bytes.length === 32
    ? undefined
    : "encryptionKey is not 32 bytes; give a Uint8Array of 256 random bits"
}

interface Keys {
  readonly chunks: CryptoKey
  readonly check: Uint8Array
}

const deriveKeys = async (key: SnapshotKey, salt: Uint8Array<ArrayBuffer>): Promise<Keys> => {
  const secret = new Uint8Array(Redacted.isRedacted(key) ? Redacted.value(key) : key)
  const master = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits", "deriveKey"])
  const from = (info: string) => ({ name: "HKDF", hash: "SHA-256", salt, info: new TextEncoder().encode(info) })
  const check = await crypto.subtle.deriveBits(from("holdfast snapshot check"), master, 8 * checkSize)
  const aes = { name: "AES-GCM", length: 256 }
  const chunks = await crypto.subtle.deriveKey(from("holdfast snapshot chunks"), master, aes, false, [
    "encrypt",
    "decrypt",
  ])
  return { chunks, check: new Uint8Array(check) }
}

const nonceOf = (index: number, last: boolean): Uint8Array<ArrayBuffer> => {
  const nonce = new Uint8Array(12)
  new DataView(nonce.buffer).setBigUint64(3, BigInt(index))
  nonce[11] = last ? 1 : 0
  return nonce
}

/** Encrypts what the source delivers, piece by piece. */
export async function* encrypt(source: AsyncIterable<Uint8Array>, key: SnapshotKey): AsyncGenerator<Uint8Array> {
  const salt = crypto.getRandomValues(new Uint8Array(saltSize))
  const keys = await deriveKeys(key, salt)
  const head = new Uint8Array(headSize)
  head.set(magic)
  head.set(salt, magic.length)
  head.set(keys.check, magic.length + saltSize)
  yield head
  const chunk = new Uint8Array(chunkSize)
  let filled = 0
  let index = 0
  const seal = async (last: boolean): Promise<Uint8Array> =>
    new Uint8Array(
      await crypto.subtle.encrypt(
        { name: "AES-GCM", iv: nonceOf(index++, last) },
        keys.chunks,
        chunk.subarray(0, filled),
      ),
    )
  for await (const bytes of source) {
    for (let at = 0; at < bytes.length;) {
      // A full chunk is sealed only when more follows: the last one is marked as such.
      if (filled === chunkSize) {
        yield await seal(false)
        filled = 0
      }
      const taken = Math.min(bytes.length - at, chunkSize - filled)
      chunk.set(bytes.subarray(at, at + taken), filled)
      filled += taken
      at += taken
    }
  }
  yield await seal(true)
}

/**
 * Decrypts what {@link encrypt} has made; each chunk is checked before it is given out. Another key than it was
 * encrypted with is `Unauthorized`; changed or missing bytes are a {@link FormatError}.
 */
export async function* decrypt(pull: Pull, key: SnapshotKey | undefined): AsyncGenerator<Uint8Array> {
  const input = new Input(pull)
  if (!(await input.fill(headSize))) {
    throw new FormatError("truncated", "the encrypted snapshot ends early", { offset: 0 })
  }
  if (key === undefined) throw refused("the snapshot is encrypted, and no encryptionKey is given")
  const head = input.take(headSize)
  const keys = await deriveKeys(key, head.slice(magic.length, magic.length + saltSize))
  if (!keys.check.every((byte, i) => byte === head[magic.length + saltSize + i])) {
    throw refused("the snapshot was encrypted with another key")
  }
  for (let index = 0, last = false; !last; index++) {
    const { offset } = input
    last = !(await input.fill(chunkSize + tagSize + 1))
    const sealed = input.take(last ? input.view.length : chunkSize + tagSize)
    if (sealed.length < tagSize) throw new FormatError("truncated", "the encrypted snapshot ends early", { offset })
    try {
      yield new Uint8Array(
        await crypto.subtle.decrypt({ name: "AES-GCM", iv: nonceOf(index, last) }, keys.chunks, sealed),
      )
    } catch (cause) {
      throw new FormatError("corrupt", "an encrypted chunk was changed, or chunks are missing", { offset, cause })
    }
  }
}

const refused = (detail: string): StoreError =>
  new StoreError({
    reason: "Unauthorized",
    detail,
    hint: "give the encryptionKey that the snapshot was saved with",
    operation: "load",
  })
