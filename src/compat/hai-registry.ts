/**
 * A registry of agents on a store of your own: what the page on HAI calls the built-in one.
 *
 * Agents are where documents have theirs, `agents/{id}/{version}.json`, and their public keys where JACS keeps them,
 * `public_keys/{hash}.pem`; so an agent that `JacsAgent` has stored needs its key only.
 *
 * @module
 */
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { run } from "../run.ts"
import type { Store } from "../store.ts"
import { type Document, DocumentStore, makeEd25519Verifier, publicKeyHash } from "../stores/documents.ts"
import { findRecord, lostRace, type RecordFormat, writeRecord } from "../stores/records.ts"
import type { AgentKey, AgentKeys } from "./hai-keys.ts"

/** Options of {@link AgentRegistry}. */
export interface AgentRegistryOptions {
  /** Nothing else writes here; only needed where a store has no conditions, as behind WebDAV. Default `false`. */
  readonly soleWriter?: boolean | undefined
}

/** Options of {@link AgentRegistry.register}. */
export interface RegisterOptions {
  /**
   * The agent may have another key than before. Say so only when you know from elsewhere that its owner has changed it:
   * whoever registers a key speaks for the agent from then on. Default `false`: `Conflict`.
   */
  readonly newKey?: boolean | undefined
}

const keyFormat: RecordFormat<Uint8Array<ArrayBuffer>> = {
  what: "public key",
  encode: (bytes) => bytes,
  decode: (bytes) => new Uint8Array(bytes),
}

const keyAt = (hash: string): string => `public_keys/${hash}.pem`

/** The public key with this hash, where JACS keeps it; `undefined` where there is none, `Corrupt` where it is another. */
export const findPublicKey = async (
  store: ObjectStoreService,
  hash: string,
): Promise<Uint8Array<ArrayBuffer> | undefined> => {
  if (!/^[0-9a-f]{64}$/.test(hash)) return undefined
  const key = keyAt(hash)
  const found = await run(findRecord(store, key, keyFormat))
  if (found === undefined || await publicKeyHash(found.value) === hash) return found?.value
  throw new StoreError({
    reason: "Corrupt",
    detail: "the public key is not the one that it is named after",
    backend: store.backend,
    operation: "publicKeyOf",
    key,
  })
}

/** The hash of the key that has signed an agent, if it is one. */
const hashIn = ({ jacsSignature }: Document): string | undefined =>
  /^[0-9a-f]{64}$/.exec(jacsSignature?.publicKeyHash ?? "")?.[0]

/**
 * Agents and their public keys, by id and version. Whoever may write to the store may register agents; who may read it,
 * can look them up. Failures are {@link StoreError}s.
 *
 * @example Register an agent and look up its key
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { DocumentStore, generateEd25519Keys, makeEd25519Signer } from "@holdfast/holdfast/documents"
 * import { AgentRegistry } from "@holdfast/holdfast/jacs"
 *
 * // The agent, as its owner makes it: signed with its own key.
 * const keys = await generateEd25519Keys()
 * const [jacsId, jacsVersion] = [crypto.randomUUID(), crypto.randomUUID()]
 * const date = new Date().toISOString()
 * const signer = await makeEd25519Signer({ ...keys, agentId: jacsId, agentVersion: jacsVersion })
 * await using store = await open("mem:")
 * const agent = await new DocumentStore(store, { signer }).agents.create(
 *   {
 *     name: "A",
 *     ...{ jacsId, jacsVersion, jacsVersionDate: date },
 *     ...{ jacsOriginalVersion: jacsVersion, jacsOriginalDate: date },
 *   },
 *   { save: false },
 * )
 *
 * const registry = new AgentRegistry(store)
 * await registry.register(agent, keys.publicKey)
 * const found = await registry.publicKeyOf(jacsId, jacsVersion)
 * console.assert(found.publicKeyHash === signer.publicKeyHash)
 * console.assert((await registry.getLatest(jacsId)).name === "A")
 * ```
 */
export class AgentRegistry implements AgentKeys {
  readonly #store: Store
  readonly #options: AgentRegistryOptions
  readonly #service: ObjectStoreService

  /** The registry on a store. Nothing is read yet. */
  constructor(store: Store, options: AgentRegistryOptions = {}) {
    this.#store = store
    this.#options = options
    this.#service = new DocumentStore(store, options).service.store
  }

  /**
   * Registers a version of an agent with its key of Ed25519; doing it again changes nothing. The agent must be signed
   * with that key and in its own name, else it is `InvalidInput`, or `Corrupt` if it is not as it was signed. `Conflict`:
   * the newest version that is registered has another key (see {@link RegisterOptions.newKey}).
   *
   * **Gotcha** The first registration decides whose an id is. Of two at the same moment both succeed: let one program
   * register.
   */
  async register(
    agent: Document | string,
    publicKey: Uint8Array<ArrayBuffer>,
    options: RegisterOptions = {},
  ): Promise<Document> {
    const { agents } = this.#documents(makeEd25519Verifier([publicKey]))
    const { signature } = await agents.verify(agent)
    if (signature !== "valid") {
      throw this.#failure("InvalidInput", "register", "the agent is not signed with this key", {
        hint: "give the agent's own document and the public key, of Ed25519, that it is signed with",
      })
    }
    // It has been found to be a document.
    const document = typeof agent === "string" ? JSON.parse(agent) as Document : agent
    const hash = await publicKeyHash(publicKey)
    const { jacsId, jacsSignature } = document
    if (jacsSignature?.agentID !== jacsId) {
      throw this.#failure("InvalidInput", "register", "the agent is signed in the name of another", {
        hint: "have each agent sign its own document",
      })
    }
    if (options.newKey !== true && (await agents.versions(jacsId)).length > 0) {
      const known = await agents.getLatest(jacsId)
      if (hashIn(known) !== hash) {
        throw this.#failure(
          "Conflict",
          "register",
          `the agent ${JSON.stringify(jacsId)} is registered with another key`,
          {
            key: `agents/${jacsId}/${known.jacsVersion}.json`,
            hint: "ask its owner; if the key was changed, register with newKey: true",
          },
        )
      }
    }
    // The key first, so that there is no agent without one.
    await this.#saveKey(hash, publicKey)
    return await agents.add(agent)
  }

  /** The key of a version of an agent, or of the newest. `NotFound` where the agent or its key is not there. */
  async publicKeyOf(agentId: string, version = "latest"): Promise<AgentKey> {
    const read = new Map<string, Uint8Array<ArrayBuffer>>()
    const find = async (hash: string): Promise<Uint8Array<ArrayBuffer> | undefined> => {
      const key = read.get(hash) ?? await this.#findKey(hash)
      if (key !== undefined) read.set(hash, key)
      return key
    }
    const agent = await this.#get(agentId, version, find)
    const hash = hashIn(agent)
    const publicKey = hash === undefined ? undefined : await find(hash)
    if (hash === undefined || publicKey === undefined) {
      throw this.#failure("NotFound", "publicKeyOf", "the agent is there, but its public key is not", {
        key: hash === undefined ? undefined : keyAt(hash),
        hint: "register the agent",
      })
    }
    const algorithm = agent.jacsSignature?.signingAlgorithm ?? "ring-Ed25519"
    return { agentId, version: agent.jacsVersion, publicKey, publicKeyHash: hash, algorithm }
  }

  /** One version of an agent, its signature checked. */
  get(agentId: string, version: string): Promise<Document> {
    return this.#get(agentId, version, (hash) => this.#findKey(hash))
  }

  /** The newest version of an agent, its signature checked. */
  getLatest(agentId: string): Promise<Document> {
    return this.#get(agentId, "latest", (hash) => this.#findKey(hash))
  }

  #get(
    agentId: string,
    version: string,
    find: (hash: string) => Promise<Uint8Array<ArrayBuffer> | undefined>,
  ): Promise<Document> {
    const { agents } = this.#documents(makeEd25519Verifier(find))
    return version === "latest" ? agents.getLatest(agentId) : agents.get(agentId, version)
  }

  #documents(verifier: ReturnType<typeof makeEd25519Verifier>): DocumentStore {
    return new DocumentStore(this.#store, { ...this.#options, verifier })
  }

  #findKey(hash: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return findPublicKey(this.#service, hash)
  }

  async #saveKey(hash: string, publicKey: Uint8Array<ArrayBuffer>): Promise<void> {
    const write = writeRecord(this.#service, keyAt(hash), keyFormat, publicKey, { ifNoneMatch: "*" })
    await run(write).catch(async (error: unknown) => {
      if (!StoreError.is(error) || !lostRace(error)) throw error
      const known = await this.#findKey(hash)
      if (known === undefined) throw error
      if (known.length === publicKey.length && known.every((byte, i) => byte === publicKey[i])) return
      throw this.#failure("Conflict", "register", "there is another public key with the same hash", {
        key: keyAt(hash),
      })
    })
  }

  #failure(
    reason: StoreError["reason"],
    operation: string,
    detail: string,
    more: { readonly key?: string | undefined; readonly hint?: string },
  ): StoreError {
    return new StoreError({ reason, operation, detail, backend: this.#service.backend, ...more })
  }
}
