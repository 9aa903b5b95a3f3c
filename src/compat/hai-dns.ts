/**
 * JACS' record in DNS: the owner of a domain says which agent is theirs, and with which key.
 *
 *     _v1.agent.jacs.{domain}. TXT
 *       "v=hai.ai; jacs_agent_id={id}; alg=SHA-256; enc=base64; jac_public_key_hash={digest}"
 *
 * The digest is the SHA-256 of the key's bytes as they are; the `publicKeyHash` of signatures is another.
 *
 * @module
 */
import { StoreError } from "../error.ts"
import { fromBase64, sha256Hex, toBase64 } from "../stores/document-signature.ts"
import { builtin } from "./jacs-host.ts"

/** What a record is about. */
export interface AgentDnsSubject {
  /** The domain of the agent, `jacs_agent_domain` in JACS' configuration; international names as `xn--…`. */
  readonly domain: string
  /** The agent's `jacsId`. */
  readonly agentId: string
  /** The agent's public key. */
  readonly publicKey: Uint8Array<ArrayBuffer>
}

/** A TXT record. */
export interface AgentDnsRecord {
  /** Its name, with the dot at the end: `"_v1.agent.jacs.example.com."`. */
  readonly name: string
  /** Its text, under 255 bytes: one string of the record. */
  readonly text: string
}

/** The TXT records of a name, each as its strings; rejects with the code `ENOTFOUND` or `ENODATA` if there are none. */
export type ResolveTxt = (name: string) => Promise<ReadonlyArray<ReadonlyArray<string>>>

/** Options of {@link checkAgentDns}. */
export interface AgentDnsOptions {
  /**
   * The record must be there, as `jacs_dns_required` has it. Default `true`: whoever can do without says so, since a
   * record that somebody holds back looks like none.
   */
  readonly required?: boolean | undefined
  /**
   * Asks DNS. Default: `node:dns`, where the runtime has it; else `Unsupported`. It does not validate DNSSEC: for
   * `jacs_dns_strict` give one that does.
   */
  readonly resolveTxt?: ResolveTxt | undefined
}

/**
 * What DNS says of an agent's key.
 *
 * - `"verified"`: a record is about this agent and this key
 * - `"wrong-digest"`: the records about this agent are about other keys
 * - `"wrong-agent"`: there are records, and all are about other agents
 * - `"malformed"`: there are records of JACS, and none can be read
 * - `"missing"`: there is no record
 * - `"unavailable"`: DNS gave no answer
 */
export type AgentDnsOutcome = "verified" | "wrong-digest" | "wrong-agent" | "malformed" | "missing" | "unavailable"

/** The result of {@link checkAgentDns}. */
export interface AgentDnsCheck {
  /** What was found. */
  readonly outcome: AgentDnsOutcome
  /** Whether to go on: verified, or without an answer where none is required. */
  readonly ok: boolean
  /** The name that was asked for. */
  readonly name: string
  /** The outcome in words. */
  readonly detail: string
}

const invalid = (detail: string, hint: string): StoreError =>
  new StoreError({ reason: "InvalidInput", detail, hint, operation: "dns" })

const nameOf = (domain: string): string => {
  const name = `_v1.agent.jacs.${domain.replace(/\.$/, "").toLowerCase()}`
  // RFC 1035, section 2.3.4: 63 bytes a label, 253 characters as they are written.
  if (name.length > 253 || !name.split(".").every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label))) {
    throw invalid(`${JSON.stringify(domain)} is no domain`, 'give one such as "example.com"')
  }
  return `${name}.`
}

/** SHA-256 of bytes as they are, lower-case hex. */
const digestOf = (publicKey: Uint8Array<ArrayBuffer>): Promise<string> => sha256Hex(publicKey)

const toHex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")

/**
 * The record that the owner of a domain publishes for an agent, its digest in base64 (the default) or hex.
 * `InvalidInput` where the domain or the id cannot be one.
 *
 * @example What to publish, and whether it is there
 * ```ts
 * import { agentDnsRecord, checkAgentDns } from "@holdfast/holdfast/jacs"
 *
 * const publicKey = crypto.getRandomValues(new Uint8Array(32))
 * const agent = { domain: "example.com", agentId: crypto.randomUUID(), publicKey }
 * const { name, text } = await agentDnsRecord(agent)
 * console.assert(name === "_v1.agent.jacs.example.com.")
 *
 * // Leave out resolveTxt to ask DNS.
 * const { ok, outcome } = await checkAgentDns(agent, { resolveTxt: () => Promise.resolve([[text]]) })
 * console.assert(ok && outcome === "verified")
 * ```
 */
export const agentDnsRecord = async (
  { domain, agentId, publicKey }: AgentDnsSubject,
  encoding: "base64" | "hex" = "base64",
): Promise<AgentDnsRecord> => {
  const name = nameOf(domain)
  if (!/^[\w.-]{1,64}$/.test(agentId)) {
    throw invalid(`${JSON.stringify(agentId)} is no id of an agent`, "give the agent's jacsId, a UUID")
  }
  const hex = await digestOf(publicKey)
  const digest = encoding === "hex"
    ? hex
    : toBase64(Uint8Array.from(hex.match(/../g) ?? [], (two) => parseInt(two, 16)))
  const text = `v=hai.ai; jacs_agent_id=${agentId}; alg=SHA-256; enc=${encoding}; jac_public_key_hash=${digest}`
  return { name, text }
}

/** What a text says: an agent and a digest in hex; `"malformed"`; or `undefined` if it is nothing of JACS. */
const read = (text: string): { readonly agentId: string; readonly hex: string } | "malformed" | undefined => {
  const fields = new Map(
    text.split(";").filter((part) => part.includes("=")).map((part) => {
      const at = part.indexOf("=")
      return [part.slice(0, at).trim(), part.slice(at + 1).trim()]
    }),
  )
  const version = fields.get("v")
  // Newer releases of JACS write "jacs", and read both.
  if (version !== "hai.ai" && version !== "jacs") return undefined
  const [agentId, enc, digest] = ["jacs_agent_id", "enc", "jac_public_key_hash"].map((name) => fields.get(name))
  if (agentId === undefined || digest === undefined || fields.get("alg") !== "SHA-256") return "malformed"
  const bytes = enc === "base64" ? fromBase64(digest) : undefined
  const hex = enc === "hex" ? digest.toLowerCase() : toHex(bytes ?? new Uint8Array())
  return /^[0-9a-f]{64}$/.test(hex) ? { agentId, hex } : "malformed"
}

const defaultResolver = (): ResolveTxt => {
  const dns = builtin<{ resolveTxt(name: string): Promise<Array<Array<string>>> }>("dns/promises")
  if (dns === undefined) {
    throw new StoreError({
      reason: "Unsupported",
      detail: "this runtime has no node:dns",
      hint: "give resolveTxt, such as one that asks a DNS server over HTTPS",
      operation: "dns",
    })
  }
  return (name) => dns.resolveTxt(name)
}

/** The texts of a name; none where there is no such name; an `Error` where there is no answer. */
const textsOf = async (resolveTxt: ResolveTxt, name: string): Promise<ReadonlyArray<string> | Error> => {
  try {
    return (await resolveTxt(name)).map((strings) => strings.join(""))
  } catch (error) {
    const code = (error as { readonly code?: unknown } | null)?.code
    if (code === "ENOTFOUND" || code === "ENODATA") return []
    return error instanceof Error ? error : new Error(String(error))
  }
}

/**
 * Asks DNS whether an agent's key is the one that the owner of its domain has published. What is wrong is an outcome
 * and not an error; `ok` says whether to go on. Records of others at the same name are passed over, and of several about
 * the agent one suffices, as while a key is changed. Rejects only where the question cannot be asked: `InvalidInput`, or
 * `Unsupported` without `node:dns`.
 */
export const checkAgentDns = async (
  subject: AgentDnsSubject,
  options: AgentDnsOptions = {},
): Promise<AgentDnsCheck> => {
  const name = nameOf(subject.domain)
  const required = options.required ?? true
  const answer = (outcome: AgentDnsOutcome, detail: string): AgentDnsCheck => {
    const silent = outcome === "missing" || outcome === "unavailable"
    return { outcome, ok: outcome === "verified" || (silent && !required), name, detail }
  }
  const texts = await textsOf(options.resolveTxt ?? defaultResolver(), name)
  if (texts instanceof Error) return answer("unavailable", `DNS gave no answer: ${texts.message}`)
  const found = texts.map(read).filter((one) => one !== undefined)
  if (found.length === 0) return answer("missing", "there is no TXT record of JACS at this name")
  const readable = found.filter((one) => one !== "malformed")
  if (readable.length === 0) return answer("malformed", "the TXT record cannot be read")
  const ours = readable.filter(({ agentId }) => agentId === subject.agentId)
  if (ours.length === 0) return answer("wrong-agent", "the TXT record is about another agent")
  const digest = await digestOf(subject.publicKey)
  return ours.some(({ hex }) => hex === digest)
    ? answer("verified", "the TXT record is about this agent and this key")
    : answer("wrong-digest", "the TXT record is about another key of this agent")
}
