/**
 * Public keys of agents by the agent's id and version: what HAI's registry gives, whoever keeps it; and a verifier of
 * documents that asks for them.
 *
 * @module
 */
import { LRUCache } from "lru-cache"
import { StoreError } from "../error.ts"
import { type DocumentSignature, makeEd25519Verifier, type Verifier } from "../stores/documents.ts"

/** The public key of one version of an agent. */
export interface AgentKey {
  /** The agent's `jacsId`. */
  readonly agentId: string
  /** The `jacsVersion` that has this key. */
  readonly version: string
  /** The key; 32 bytes where it is one of Ed25519. */
  readonly publicKey: Uint8Array<ArrayBuffer>
  /** What signatures call it; computed from the key, and not believed of anybody. */
  readonly publicKeyHash: string
  /** Its algorithm as whoever keeps the key names it: `"ring-Ed25519"`, `"ed25519"`. */
  readonly algorithm: string
  /** What the registry says of it. Anything but `"active"`, or nothing at all, is not to be relied on. */
  readonly status?: string | undefined
}

/** Where keys of agents are found: an `AgentRegistry`, what `makeHaiKeys` makes, or your own. */
export interface AgentKeys {
  /**
   * The key of a version of an agent; default `"latest"`, the newest. Rejects with a {@link StoreError}: `NotFound`
   * where it is not known.
   */
  readonly publicKeyOf: (agentId: string, version?: string) => Promise<AgentKey>
}

/** How many keys a verifier keeps, some hundred bytes each. */
const maxKept = 1000

/** How long it keeps them, in milliseconds: a key that is withdrawn is relied on for 5 minutes more at most. */
const keptFor = 5 * 60_000

/**
 * Checks signatures of Ed25519 with the key that a registry has for the agent and version which the signature names. So
 * a valid one is that agent's, and not merely one by a key that is known: another key is `"invalid"`. Sources are asked
 * in their order until one knows the version; none does, or the key is not active: `"unknown"`. A source that fails
 * otherwise rejects the check. Up to 1,000 keys are kept for 5 minutes.
 *
 * @example Whose documents are they?
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { DocumentStore } from "@holdfast/holdfast/documents"
 * import { AgentRegistry, makeAgentVerifier, makeHaiKeys } from "@holdfast/holdfast/jacs"
 *
 * await using store = await open("mem:")
 * // Our own agents first, then those that HAI knows.
 * const verifier = makeAgentVerifier(new AgentRegistry(store), makeHaiKeys())
 * const documents = new DocumentStore(store, { verifier })
 * const { jacsId } = await documents.create({ title: "unsigned" })
 * console.assert((await documents.verify(await documents.getLatest(jacsId))).signature === "absent")
 * ```
 */
export const makeAgentVerifier = (...sources: ReadonlyArray<AgentKeys>): Verifier => {
  // Without a resolution no timers are set.
  const kept = new LRUCache<string, Promise<AgentKey | undefined>>({ max: maxKept, ttl: keptFor, ttlResolution: 0 })

  const search = async (agentId: string, version: string): Promise<AgentKey | undefined> => {
    for (const source of sources) {
      const key = await source.publicKeyOf(agentId, version).catch((error: unknown) => {
        // An id that cannot be one here may be one in the next registry.
        if (StoreError.is(error) && (error.reason === "NotFound" || error.reason === "InvalidKey")) return undefined
        throw error
      })
      if (key !== undefined) return key
    }
    return undefined
  }

  const find = ({ agentID, agentVersion }: DocumentSignature): Promise<AgentKey | undefined> => {
    const name = JSON.stringify([agentID, agentVersion])
    const known = kept.get(name)
    if (known !== undefined) return known
    // Kept while it is asked for, so that a list of an agent's documents asks once.
    const asked = search(agentID, agentVersion)
    kept.set(name, asked)
    const forget = (): void => void kept.delete(name)
    asked.then((key) => key === undefined ? forget() : undefined, forget)
    return asked
  }

  return {
    verify: async (facts, message, bytes) => {
      // A signature is by one version for good; "latest" would be another's tomorrow.
      const key = facts.agentVersion === "latest" ? undefined : await find(facts)
      if (key === undefined || (key.status !== undefined && key.status !== "active")) return "unknown"
      if (key.publicKeyHash !== facts.publicKeyHash) return "invalid"
      return await makeEd25519Verifier([key.publicKey]).verify(facts, message, bytes)
    },
  }
}
