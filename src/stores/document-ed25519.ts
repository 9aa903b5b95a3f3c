/**
 * Ed25519 for documents, by WebCrypto: the algorithm that JACS calls `ring-Ed25519`. Its public keys are 32 bytes, its
 * private keys PKCS #8.
 *
 * @module
 */
import { StoreError } from "../error.ts"
import { sha256Hex, type SignatureState, type Signer, type Verifier } from "./document-signature.ts"

/** What JACS calls the algorithm; `"ed25519"` is another name for it. */
const names: ReadonlySet<string> = new Set(["ring-Ed25519", "ed25519"])

/** A key pair as it is kept in files. */
export interface Ed25519Keys {
  /** 32 bytes. */
  readonly publicKey: Uint8Array<ArrayBuffer>
  /** PKCS #8. Keep it secret. */
  readonly privateKey: Uint8Array<ArrayBuffer>
}

/**
 * How JACS names a public key: SHA-256 of its bytes read as UTF-8, what is none replaced, without white space around it
 * and without carriage returns; lower-case hex.
 */
export const publicKeyHash = (publicKey: Uint8Array): Promise<string> =>
  sha256Hex(new TextDecoder("utf-8", { ignoreBOM: true }).decode(publicKey).trim().replaceAll("\r", ""))

/** A new key pair. */
export const generateEd25519Keys = async (): Promise<Ed25519Keys> => {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]) as CryptoKeyPair
  return {
    publicKey: new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)),
    privateKey: new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey)),
  }
}

/** PKCS #8, version 1, of an Ed25519 key up to its 32 bytes. Source: RFC 8410, section 10.3. */
const pkcs8Head = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20)

/** What follows the version in either version of PKCS #8. */
const pkcs8Middle = pkcs8Head.subarray(5)

/**
 * The key in version 1 of PKCS #8. Rust's ring writes version 2, which holds the public key as well and which WebCrypto
 * refuses.
 */
const asVersion1 = (privateKey: Uint8Array): Uint8Array<ArrayBuffer> | undefined => {
  const seed = privateKey.subarray(pkcs8Head.length, pkcs8Head.length + 32)
  if (seed.length < 32 || pkcs8Middle.some((byte, i) => byte !== privateKey[5 + i])) return undefined
  const key = new Uint8Array(pkcs8Head.length + 32)
  key.set(pkcs8Head)
  key.set(seed, pkcs8Head.length)
  return key
}

/**
 * Signs with an Ed25519 key in an agent's name. Rejects with `Config` when the key is none.
 *
 * @example Sign what is created
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { DocumentStore, generateEd25519Keys, makeEd25519Signer, makeEd25519Verifier } from "@holdfast/holdfast/documents"
 *
 * const keys = await generateEd25519Keys()
 * const signer = await makeEd25519Signer({ ...keys, agentId: crypto.randomUUID(), agentVersion: crypto.randomUUID() })
 * const verifier = makeEd25519Verifier([keys.publicKey])
 * await using store = await open("mem:")
 * const documents = new DocumentStore(store, { signer, verifier })
 * const { jacsId } = await documents.create({ title: "Monthly report" })
 * console.assert((await documents.verify(await documents.getLatest(jacsId))).signature === "valid")
 * ```
 */
export const makeEd25519Signer = async (
  options: Ed25519Keys & { readonly agentId: string; readonly agentVersion: string },
): Promise<Signer> => {
  const bytes = asVersion1(options.privateKey)
  if (bytes === undefined) {
    const detail = "the private key is no Ed25519 key in PKCS #8"
    throw new StoreError({ reason: "Config", detail, operation: "open" })
  }
  const key = await crypto.subtle.importKey("pkcs8", bytes, "Ed25519", false, ["sign"])
  return {
    algorithm: "ring-Ed25519",
    agentId: options.agentId,
    agentVersion: options.agentVersion,
    publicKeyHash: await publicKeyHash(options.publicKey),
    sign: async (message) => new Uint8Array(await crypto.subtle.sign("Ed25519", key, message)),
  }
}

/** Where public keys are found: some that are known, or a function that finds one by its {@link publicKeyHash}. */
export type PublicKeys =
  | Iterable<Uint8Array<ArrayBuffer>>
  | ((publicKeyHash: string) => Promise<Uint8Array<ArrayBuffer> | undefined>)

/**
 * Checks Ed25519 signatures against public keys of 32 bytes. A key that is not known, and another algorithm, is
 * `"unknown"`. Whether the key belongs to the agent that the signature names is for whoever gives the keys to know.
 */
export const makeEd25519Verifier = (keys: PublicKeys): Verifier => {
  const find = typeof keys === "function" ? keys : lookup([...keys])
  return {
    verify: async (facts, message, bytes): Promise<SignatureState> => {
      if (facts.signingAlgorithm !== undefined && !names.has(facts.signingAlgorithm)) return "unknown"
      const found = await find(facts.publicKeyHash)
      if (found === undefined || found.length !== 32) return "unknown"
      const key = await crypto.subtle.importKey("raw", found, "Ed25519", false, ["verify"])
      return await crypto.subtle.verify("Ed25519", key, bytes, message) ? "valid" : "invalid"
    },
  }
}

const lookup = (keys: ReadonlyArray<Uint8Array<ArrayBuffer>>) => {
  const named = Promise.all(keys.map(async (key) => [await publicKeyHash(key), key] as const))
  return async (hash: string): Promise<Uint8Array<ArrayBuffer> | undefined> => new Map(await named).get(hash)
}
