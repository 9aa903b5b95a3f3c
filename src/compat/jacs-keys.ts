/**
 * The key files of a JACS agent: the public key as it is, the private one encrypted with a password.
 *
 * Two forms of encryption are read: `salt (16) || nonce (12) || AES-256-GCM`, keyed by PBKDF2 with 600,000 rounds, or
 * 100,000 before JACS 0.6; and the JSON envelope of JACS 0.9 with Argon2id, where the runtime has it. The former is
 * written, since every runtime can.
 *
 * @module
 */
import { StoreError } from "../error.ts"
import { type Ed25519Keys, generateEd25519Keys } from "../stores/documents.ts"
import type { JacsConfig, JacsEnvironment } from "./jacs-config.ts"
import { builtin, makePrivateFolder, readBytes, within, writePrivate } from "./jacs-host.ts"

const passwordVariable = "JACS_PRIVATE_KEY_PASSWORD"

const rounds = [600_000, 100_000] as const

const invalid = (detail: string, hint?: string): StoreError =>
  new StoreError({ reason: "Config", detail, hint, operation: "load" })

/**
 * The keys that a configuration names. Where there are none they are made: in the key directory, encrypted if
 * `JACS_PRIVATE_KEY_PASSWORD` is set; for storage in memory whose configuration names no key directory, in memory.
 */
export const loadKeys = async (config: JacsConfig, env: JacsEnvironment): Promise<Ed25519Keys> => {
  if (config.algorithm !== "ring-Ed25519" && config.algorithm !== "ed25519") {
    throw new StoreError({
      reason: "Unsupported",
      detail: `jacs_agent_key_algorithm is ${JSON.stringify(config.algorithm)}; only ring-Ed25519 is built in`,
      hint: "use DocumentStore of @holdfast/holdfast/documents with a Signer of your own",
      operation: "load",
    })
  }
  if (config.storage === "memory" && !config.keysNamed) return await generateEd25519Keys()
  const paths = [config.publicKeyFilename, config.privateKeyFilename].map((name) => within(config.keyDirectory, name))
  const [publicPath = "", privatePath = ""] = paths
  const [publicKey, privateKey] = await Promise.all(paths.map(readBytes))
  if (publicKey !== undefined && privateKey !== undefined) {
    return { publicKey, privateKey: await decrypted(privateKey, env[passwordVariable]) }
  }
  if (publicKey !== undefined || privateKey !== undefined) {
    const missing = publicKey === undefined ? publicPath : privatePath
    throw invalid(`of the two key files ${JSON.stringify(missing)} is missing`, "restore it, or remove the other one")
  }
  const keys = await generateEd25519Keys()
  const password = env[passwordVariable]
  await makePrivateFolder(config.keyDirectory)
  // The private key first, and neither replaces another process's.
  await writePrivate(
    privatePath,
    password === undefined || password === "" ? keys.privateKey : await encrypted(keys.privateKey, password),
    "wx",
  )
  await writePrivate(publicPath, keys.publicKey, "wx")
  return keys
}

const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)

const pbkdf2 = async (password: string, salt: Uint8Array<ArrayBuffer>, iterations: number): Promise<CryptoKey> => {
  const secret = await crypto.subtle.importKey("raw", utf8(password), "PBKDF2", false, ["deriveKey"])
  const how = { name: "PBKDF2", hash: "SHA-256", salt, iterations }
  return await crypto.subtle.deriveKey(how, secret, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"])
}

/** A private key under a password. */
export const encrypted = async (privateKey: Uint8Array<ArrayBuffer>, password: string): Promise<Uint8Array> => {
  const salt = crypto.getRandomValues(new Uint8Array(16))
  const iv = crypto.getRandomValues(new Uint8Array(12))
  const key = await pbkdf2(password, salt, rounds[0])
  const text = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, privateKey))
  const all = new Uint8Array(28 + text.length)
  all.set(salt)
  all.set(iv, 16)
  all.set(text, 28)
  return all
}

/** What a key file holds once decrypted. A key that is not encrypted is taken as it is. */
export const decrypted = async (
  file: Uint8Array<ArrayBuffer>,
  password: string | undefined,
): Promise<Uint8Array<ArrayBuffer>> => {
  if (isPlain(file)) return file
  if (password === undefined || password === "") {
    throw invalid("the private key is encrypted", `set ${passwordVariable}`)
  }
  const wrong = invalid("the private key cannot be decrypted", `check that ${passwordVariable} is its password`)
  const envelope = envelopeOf(file)
  const decrypt = async (key: CryptoKey, iv: Uint8Array<ArrayBuffer>, text: Uint8Array<ArrayBuffer>) =>
    new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, text))
  if (envelope !== undefined) {
    const key = await argon2(password, envelope)
    return await decrypt(key, envelope.nonce, envelope.ciphertext).catch(() => Promise.reject(wrong))
  }
  for (const iterations of rounds) {
    const key = await pbkdf2(password, file.slice(0, 16), iterations)
    const plain = await decrypt(key, file.slice(16, 28), file.slice(28)).catch(() => undefined)
    if (plain !== undefined) return plain
  }
  throw wrong
}

/** PKCS #8 of an Ed25519 key: a sequence with the algorithm's name in it, RFC 8410. */
const isPlain = (file: Uint8Array): boolean =>
  file[0] === 0x30 && file[2] === 2 && file[7] === 6 && file[9] === 0x2b && file[10] === 0x65 && file[11] === 0x70

interface Envelope {
  readonly salt: Uint8Array<ArrayBuffer>
  readonly nonce: Uint8Array<ArrayBuffer>
  readonly ciphertext: Uint8Array<ArrayBuffer>
  readonly memory: number
  readonly passes: number
  readonly parallelism: number
}

const envelopeOf = (file: Uint8Array): Envelope | undefined => {
  if (file[0] !== 0x7b) return undefined
  try {
    const { salt, nonce, ciphertext, kdf } = JSON.parse(new TextDecoder().decode(file)) as
      & {
        readonly [name in "salt" | "nonce" | "ciphertext"]: string
      }
      & { readonly kdf: { readonly [name in "mCostKib" | "tCost" | "pCost"]: number } }
    const bytes = (text: string) =>
      Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0))
    const [memory, passes, parallelism] = [kdf.mCostKib, kdf.tCost, kdf.pCost]
    return { salt: bytes(salt), nonce: bytes(nonce), ciphertext: bytes(ciphertext), memory, passes, parallelism }
  } catch {
    return undefined
  }
}

interface Argon2 {
  readonly argon2Sync?: (
    algorithm: "argon2id",
    options: {
      readonly message: Uint8Array
      readonly nonce: Uint8Array
      readonly parallelism: number
      readonly tagLength: number
      readonly memory: number
      readonly passes: number
    },
  ) => Uint8Array
}

const argon2 = async (password: string, { salt, memory, passes, parallelism }: Envelope): Promise<CryptoKey> => {
  const derive = builtin<Argon2>("crypto")?.argon2Sync
  if (derive === undefined) {
    throw new StoreError({
      reason: "Unsupported",
      detail: "the private key is encrypted with Argon2id, which this runtime does not have",
      hint: "run it in Bun, or encrypt the key the way of JACS before 0.9",
      operation: "load",
    })
  }
  const secret = derive("argon2id", {
    message: utf8(password),
    nonce: salt,
    parallelism,
    tagLength: 32,
    memory,
    passes,
  })
  return await crypto.subtle.importKey("raw", new Uint8Array(secret), "AES-GCM", false, ["decrypt"])
}
