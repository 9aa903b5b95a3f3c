/**
 * What the sources of credentials share: the shape of a source, and reading the JSON that several of them give.
 *
 * @module
 */
import { sourceError } from "../ask.ts"
import { Credentials } from "../credentials.ts"
import type { Machine } from "../machine.ts"

/** Credentials, or why this source does not apply here, as the end of a sentence: `"AWS_ROLE_ARN is not set"`. */
export type Found = Credentials | string

/**
 * A place credentials can come from. One that does not apply says why; one that applies and fails throws, so that
 * a broken setting never makes a program act under another identity.
 */
export type Source = (machine: Machine) => Promise<Found>

/** Names of the fields, which differ between the sources. */
export interface FieldNames {
  /** The token's field: `"Token"` for metadata services, `"SessionToken"` for programs. */
  readonly token: "Token" | "SessionToken"
}

/** The credentials in `text`, which `who` gave. `Protocol` if it is no JSON or lacks a key; the text is not shown. */
export const credentialsFromJson = (text: string, who: string, names: FieldNames): Credentials => {
  const record = jsonRecord(text, who)
  const field = (name: string): string | undefined => {
    const value = record[name]
    return typeof value === "string" && value !== "" ? value : undefined
  }
  const accessKeyId = field("AccessKeyId")
  const secretAccessKey = field("SecretAccessKey")
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw sourceError("Protocol", `${who} gave no AccessKeyId or no SecretAccessKey`)
  }
  const expiration = field("Expiration")
  return new Credentials({
    accessKeyId,
    secretAccessKey,
    sessionToken: field(names.token),
    expiration: expiration === undefined ? undefined : new Date(expiration),
  })
}

/** The JSON object in `text`, which `who` gave. */
export const jsonRecord = (text: string, who: string): Readonly<Record<string, unknown>> => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Told below: a parser's message quotes the text.
  }
  if (typeof value !== "object" || value === null) {
    throw sourceError("Protocol", `${who} gave something that is not JSON`)
  }
  return value as Readonly<Record<string, unknown>>
}
