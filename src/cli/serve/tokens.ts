/**
 * Who may do what at a served store: tokens, of which the server knows only the SHA-256.
 *
 * A rule is a line of text, in a file or a flag:
 *
 *     sha256:<64 hex digits> [read|write] [prefix]
 *
 * `read` describes, lists, stats and loads; `write`, which is the default, saves and removes as well. A prefix bounds it
 * to keys that begin so; without one it is for all. Lines that begin with `#` are comments.
 *
 * A plain SHA-256 is enough only because {@link makeToken} draws 256 bits: what a person thinks of can be guessed from it.
 *
 * @module
 */
import { Buffer } from "node:buffer"
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import type { Authorization, Verb } from "../../http/mod.ts"
import { prefixFlaw } from "../../key.ts"

/** What a token may do. */
export interface TokenRule {
  /** SHA-256 of the token. */
  readonly hash: Uint8Array
  /** For logs: enough of the hash to tell tokens apart, and of no use to anybody else. */
  readonly name: string
  readonly access: "read" | "write"
  /** What the keys begin with. */
  readonly prefix: string
}

const line = /^sha256:([0-9a-f]{64})(?:[ \t]+(read|write)(?:[ \t]+(.*))?)?$/i

/** Reads a rule. Throws an error whose message says what is wrong; it does not repeat the text, which may be a token. */
export const parseRule = (text: string): TokenRule => {
  const [, hex, access = "write", prefix = ""] = line.exec(text.trim()) ?? []
  if (hex === undefined) {
    throw new Error('not like "sha256:<64 hex digits> [read|write] [prefix]"; make one with holdfast serve token')
  }
  const flaw = prefixFlaw(prefix)
  if (flaw !== undefined) throw new Error(flaw)
  return {
    hash: Buffer.from(hex, "hex"),
    name: hex.slice(0, 8).toLowerCase(),
    access: access.toLowerCase() === "read" ? "read" : "write",
    prefix,
  }
}

/** Reads the rules of a file. Throws an error whose message names the line. */
export const parseRules = (text: string): ReadonlyArray<TokenRule> =>
  text.split(/\r?\n/).flatMap((line, index) => {
    if (/^\s*(#|$)/.test(line)) return []
    try {
      return [parseRule(line)]
    } catch (error) {
      throw new Error(`line ${index + 1} is ${(error as Error).message}`)
    }
  })

/** A fresh token, and the line that lets it in. */
export const makeToken = (access: TokenRule["access"], prefix: string): { token: string; line: string } => {
  const token = randomBytes(32).toString("base64url")
  const hash = createHash("sha256").update(token).digest("hex")
  return { token, line: `sha256:${hash} ${access}${prefix === "" ? "" : ` ${prefix}`}` }
}

/** The rule of the token that a request carries. Each is compared, in a time that does not depend on how far it fits. */
export const ruleOf = (rules: ReadonlyArray<TokenRule>, request: Request): TokenRule | undefined => {
  const token = /^Bearer ([\x21-\x7e]+)$/i.exec(request.headers.get("authorization") ?? "")?.[1]
  if (token === undefined) return undefined
  const hash = createHash("sha256").update(token).digest()
  let found: TokenRule | undefined
  for (const rule of rules) if (timingSafeEqual(hash, rule.hash)) found ??= rule
  return found
}

const reads: ReadonlyArray<Verb> = ["describe", "list", "stat", "load"]

/** Whether a rule allows what is asked. What a store can do, each of its tokens may know. */
export const allows = ({ access, prefix }: TokenRule, { verb, key }: Authorization): boolean =>
  (access === "write" || reads.includes(verb)) && (verb === "describe" || key.startsWith(prefix))
