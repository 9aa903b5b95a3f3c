/**
 * JACS' agent: the names, options and answers of its Node binding, over a store of documents. It reads JACS'
 * configuration, keys and documents. Calls that block there give promises here.
 *
 * @module
 */
import { StoreError } from "../error.ts"
import { open as openStore, type OpenOptions } from "../open.ts"
import type { Store } from "../store.ts"
import {
  type Attachment,
  type Document,
  DocumentStore,
  makeEd25519Signer,
  makeEd25519Verifier,
  publicKeyHash,
} from "../stores/documents.ts"
import { findPublicKey } from "./hai-registry.ts"
import { type JacsConfig, type JacsEnvironment, readConfig, storeUrlOf } from "./jacs-config.ts"
import { currentEnvironment, filesOf, isMissing, mimetypeOf, openBlob, writePrivate } from "./jacs-host.ts"
import { loadKeys } from "./jacs-keys.ts"

export { chooseBackend, iamPolicy } from "./guides.ts"
export {
  type AgentDnsCheck,
  type AgentDnsOptions,
  type AgentDnsOutcome,
  type AgentDnsRecord,
  agentDnsRecord,
  type AgentDnsSubject,
  checkAgentDns,
  type ResolveTxt,
} from "./hai-dns.ts"
export { type HaiKeysOptions, makeHaiKeys, serveAgentKeys } from "./hai-endpoint.ts"
export { type AgentKey, type AgentKeys, makeAgentVerifier } from "./hai-keys.ts"
export { AgentRegistry, type AgentRegistryOptions, type RegisterOptions } from "./hai-registry.ts"
export { type JacsConfig, type JacsEnvironment, type JacsStorage, jacsStorages } from "./jacs-config.ts"
export { auditModes, type LooseMode } from "./jacs-host.ts"

/** Options of {@link JacsAgent}. */
export interface JacsAgentOptions {
  /** Where variables are read when an agent is loaded. Default: the process's environment, as it is then. */
  readonly env?: JacsEnvironment | undefined
  /** Opens the store of a URL. Default: `open` of `@holdfast/holdfast`. */
  readonly open?: ((url: string, options: OpenOptions) => Promise<Store>) | undefined
}

/** An agent that has been loaded. */
interface Loaded {
  readonly config: JacsConfig
  readonly store: Store
  readonly documents: DocumentStore
  readonly agent: Document
  /** The agent's own document is not stored yet: the first document that is brings it along. */
  unsaved: boolean
}

const agentSchema = "https://hai.ai/schemas/agent/v1/agent.schema.json"

/** What JACS lets be updated. */
const editable: ReadonlySet<unknown> = new Set(["config", "artifact"])

/**
 * An agent that creates, signs, reads and verifies documents. Failures are plain `Error`s with JACS' words where it has
 * words of its own; the {@link StoreError} is the `cause`, or the error itself.
 *
 * @example Create a document and read it back
 * ```ts
 * import { JacsAgent } from "@holdfast/holdfast/jacs"
 *
 * await using agent = new JacsAgent({ env: { JACS_DEFAULT_STORAGE: "memory" } })
 * await agent.load()
 * const made = JSON.parse(await agent.createDocument(JSON.stringify({ title: "My Document" })))
 * const found = await agent.getDocument(`${made.jacsId}:${made.jacsVersion}`)
 * console.assert(JSON.parse(found).title === "My Document")
 * console.assert(await agent.verifyDocument(found))
 * ```
 */
export class JacsAgent implements AsyncDisposable {
  readonly #options: JacsAgentOptions
  #loaded: Loaded | undefined

  /** Reads nothing yet: neither a file nor the environment. */
  constructor(options: JacsAgentOptions = {}) {
    this.#options = options
  }

  /**
   * Reads the configuration, the keys and the agent, and opens the storage; returns the agent's document. Without a path
   * the environment and the defaults decide: `fs` in `./jacs_data`. Keys that are not there are made, and so is an agent
   * for keys that have none.
   */
  async load(configPath?: string): Promise<string> {
    const env = this.#options.env ?? currentEnvironment()
    const config = await readConfig(configPath, env)
    const url = storeUrlOf(config, env)
    const keys = await loadKeys(config, env)
    const store = await (this.#options.open ?? openStore)(url, { env, encryption: config.encryption })
    try {
      const hash = await publicKeyHash(keys.publicKey)
      const verifier = makeEd25519Verifier(async (wanted) =>
        wanted === hash ? keys.publicKey : await findPublicKey(reader.service.store, wanted)
      )
      const acceptLegacy = env["JACS_REJECT_LEGACY_SIGNATURE_CONTENT"] !== "true"
      // WebDAV has no conditions. An agent's documents have ids that nobody else makes, and the agent is their writer.
      const options = { verifier, acceptLegacy, soleWriter: config.storage === "hai" }
      const reader = new DocumentStore(store, options)
      const found = await agentOf(reader, config, hash)
      const identity = found ?? newAgent()
      const { jacsId: agentId, jacsVersion: agentVersion } = identity
      const signer = await makeEd25519Signer({ ...keys, agentId, agentVersion })
      const documents = new DocumentStore(store, { ...options, signer })
      const agent = found ?? await documents.agents.create(newFields(identity), { save: false, schema: agentSchema })
      await this.close()
      this.#loaded = { config, store, documents, agent, unsaved: found === undefined }
      return JSON.stringify(agent)
    } catch (error) {
      await store.close()
      throw error
    }
  }

  get #ready(): Loaded {
    if (this.#loaded === undefined) throw new Error("Agent not loaded: call load() first")
    return this.#loaded
  }

  /** The documents underneath, for all that JACS' binding has no name for. */
  get documents(): DocumentStore {
    return this.#ready.documents
  }

  /** The configuration that was loaded. */
  get config(): JacsConfig {
    return this.#ready.config
  }

  /**
   * Creates a signed document and returns it.
   *
   * @param json The author's fields, as the text of a JSON object.
   * @param customSchema The document's `$schema`.
   * @param outputFilename A file that gets the document as well.
   * @param noSave `true`: nothing is stored, and no file is written.
   * @param attachments A file or folder, or several; paths are relative to the process's folder.
   * @param embed `true`: the files' bytes are put into the document; else their paths and hashes.
   */
  async createDocument(
    json: string,
    customSchema?: string | null,
    outputFilename?: string | null,
    noSave?: boolean | null,
    attachments?: string | ReadonlyArray<string> | null,
    embed?: boolean | null,
  ): Promise<string> {
    const loaded = this.#ready
    const save = noSave !== true
    const content = parsed(json)
    const files = await attachmentsOf(attachments)
    if (save) await this.#saveAgent(loaded)
    const document = await jacsError(
      loaded.documents.create(content, {
        schema: customSchema ?? undefined,
        save,
        attachments: files,
        embed: embed ?? false,
      }),
    )
    const text = JSON.stringify(document)
    if (save && typeof outputFilename === "string") await writePrivate(outputFilename, text, "w")
    return text
  }

  /** The version `"id:version"` of a document, as it is stored. */
  getDocument(documentKey: string): Promise<string> {
    return jacsError(this.#ready.documents.getText(documentKey), documentKey)
  }

  /** The newest version of a document. */
  async getLatestDocument(documentId: string): Promise<string> {
    return JSON.stringify(await jacsError(this.#ready.documents.getLatest(documentId), documentId))
  }

  /**
   * Makes the next version of a document, which `"id:version"` must be the newest of, and returns it. As in JACS its
   * `jacsLevel` must be `config` or `artifact`; documents are `raw` unless their author says otherwise.
   */
  async updateDocument(
    documentKey: string,
    newDocument: string,
    attachments?: string | ReadonlyArray<string> | null,
    embed?: boolean | null,
  ): Promise<string> {
    const { documents } = this.#ready
    const fields = parsed(newDocument)
    const level = fields["jacsLevel"] ?? "raw"
    if (!editable.has(level)) throw new Error(`JACS docs of type ${String(level)} are not editable`)
    const [id, version] = documentKey.split(":")
    if ((fields["jacsId"] ?? id) !== id || (fields["jacsVersion"] ?? version) !== version) {
      throw new Error(`The id/versions do not match found for key: ${documentKey}.`)
    }
    const files = await attachmentsOf(attachments)
    const options = { attachments: files, embed: embed ?? false }
    return JSON.stringify(await jacsError(documents.update(documentKey, fields, options), documentKey))
  }

  /**
   * Checks a document's digest, signature and files; `true`, or a rejection that says what is wrong. Files outside the
   * document are read again at their paths.
   */
  async verifyDocument(document: string): Promise<boolean> {
    const { documents } = this.#ready
    const { signature } = await jacsError(documents.verify(document, { readFile: openBlob }))
    if (signature !== "valid") throw new Error(`the document's signature is ${signature}`)
    return true
  }

  /** Moves the version `"id:version"` to the archive. */
  removeDocument(documentKey: string): Promise<void> {
    return jacsError(this.#ready.documents.remove(documentKey))
  }

  /** Closes the storage. */
  async close(): Promise<void> {
    const store = this.#loaded?.store
    this.#loaded = undefined
    await store?.close()
  }

  /** Same as {@link JacsAgent.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #saveAgent(loaded: Loaded): Promise<void> {
    if (!loaded.unsaved) return
    await loaded.documents.agents.add(loaded.agent)
    loaded.unsaved = false
  }
}

/** The agent that a configuration names, or else the oldest one that these keys have signed. */
const agentOf = async (documents: DocumentStore, config: JacsConfig, hash: string): Promise<Document | undefined> => {
  if (config.agent !== undefined) return await jacsError(documents.agents.get(config.agent), config.agent)
  const ours = documents.agents.find({ where: ({ jacsSignature }) => jacsSignature?.publicKeyHash === hash })
  const found = await Array.fromAsync(ours)
  return found.toSorted((a, b) => Date.parse(a.jacsOriginalDate) - Date.parse(b.jacsOriginalDate))[0]
}

interface Identity {
  readonly jacsId: string
  readonly jacsVersion: string
}

const newAgent = (): Identity => ({ jacsId: crypto.randomUUID(), jacsVersion: crypto.randomUUID() })

const newFields = ({ jacsId, jacsVersion }: Identity): Record<string, unknown> => {
  const date = new Date().toISOString()
  const header = {
    jacsVersionDate: date,
    jacsOriginalVersion: jacsVersion,
    jacsOriginalDate: date,
    jacsLevel: "config",
  }
  return { jacsId, jacsVersion, ...header, jacsAgentType: "ai", name: "agent" }
}

const parsed = (json: string): Record<string, unknown> => {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (cause) {
    throw new Error(`the document is no JSON: ${(cause as Error).message}`, { cause })
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error("the document is no JSON object")
  }
  return value as Record<string, unknown>
}

const attachmentsOf = async (
  paths: string | ReadonlyArray<string> | null | undefined,
): Promise<ReadonlyArray<Attachment>> => {
  const found: Array<Attachment> = []
  for (const path of typeof paths === "string" ? [paths] : paths ?? []) {
    const files = await filesOf(path).catch((cause) => {
      throw isMissing(cause) ? new Error(`the attachment ${JSON.stringify(path)} is not there`, { cause }) : cause
    })
    for (const file of files) {
      const bytes = await openBlob(file)
      if (bytes !== undefined) found.push({ path: file, bytes, mimetype: mimetypeOf(file) })
    }
  }
  return found
}

/** Failures in JACS' words, where it has them. */
const jacsError = async <A>(call: Promise<A>, documentKey?: string): Promise<A> => {
  try {
    return await call
  } catch (cause) {
    if (!StoreError.is(cause)) throw cause
    if (cause.reason === "NotFound" && documentKey !== undefined) {
      throw new Error(`Document not found: ${documentKey}`, { cause })
    }
    if (cause.reason === "InvalidInput") throw new Error(cause.detail, { cause })
    throw cause
  }
}
