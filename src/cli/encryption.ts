/**
 * Flags of encryption at rest. A key of the user's own comes from a file, never from the command line, which every
 * user of the machine can read.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Flag from "effect/cli/Flag"
import { readFile } from "node:fs/promises"
import type { CustomerKey } from "../backend.ts"
import type { EncryptionInput } from "../options.ts"
import { type CommandError, fileError, usageError } from "./exit.ts"
import { text } from "./flags.ts"

/** `--sse-c-key-file` */
export const customerKeyFile: Flag.Flag<string | undefined> = text(
  "sse-c-key-file",
  "FILE",
  "File with the key that the object is encrypted with (SSE-C): 32 bytes, or their base64",
)

/** How a save encrypts. */
export const encryptionFlags: {
  readonly sse: Flag.Flag<"sse-s3" | "sse-kms" | undefined>
  readonly kmsKeyId: Flag.Flag<string | undefined>
  readonly customerKeyFile: Flag.Flag<string | undefined>
} = {
  sse: Flag.Literals("sse", ["sse-s3", "sse-kms"]).pipe(
    Flag.withMetavar("KIND"),
    Flag.withDescription("Have the service encrypt it: with keys of its own, or of the KMS"),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  ),
  kmsKeyId: text("kms-key-id", "ID", "With --sse sse-kms: which key. Default: the account's"),
  customerKeyFile,
}

/** Bytes of a key. Source: Amazon S3, SSE-C takes AES-256. */
const keySize = 32

/** Reads the key of `--sse-c-key-file`. No message shows what is in the file. */
export const readCustomerKey = (path: string | undefined): Effect.Effect<CustomerKey | undefined, CommandError> => {
  if (path === undefined) return Effect.succeed(undefined)
  const read = Effect.tryPromise({
    try: () => readFile(path),
    catch: (cause) => fileError("File", `read ${JSON.stringify(path)}`, cause),
  })
  return Effect.flatMap(read, (content) => {
    const key = content.length === keySize ? content : fromBase64(content.toString("latin1").trim())
    return key?.length === keySize ? Effect.succeed(Redacted.make(Uint8Array.from(key))) : Effect.fail(usageError(
      `${JSON.stringify(path)} does not hold a key of ${keySize} bytes`,
      `make one with: head -c ${keySize} /dev/urandom > FILE`,
    ))
  })
}

const fromBase64 = (encoded: string): Uint8Array | undefined =>
  /^[A-Za-z0-9+/]{43}=$/.test(encoded) ? Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0)) : undefined

/** What the flags of {@link encryptionFlags} say. */
export interface EncryptionChoice {
  readonly sse: "sse-s3" | "sse-kms" | undefined
  readonly kmsKeyId: string | undefined
  readonly customerKeyFile: string | undefined
}

/** What they come to. */
export const readEncryption = (
  { sse, kmsKeyId, customerKeyFile: file }: EncryptionChoice,
): Effect.Effect<EncryptionInput | undefined, CommandError> => {
  if (kmsKeyId !== undefined && sse !== "sse-kms") {
    return Effect.fail(usageError("--kms-key-id is for --sse sse-kms", "give both, or neither"))
  }
  if (sse !== undefined && file !== undefined) {
    return Effect.fail(usageError("--sse and --sse-c-key-file exclude each other", "give one of the two"))
  }
  if (sse === "sse-kms") return Effect.succeed({ type: sse, keyId: kmsKeyId })
  if (sse !== undefined) return Effect.succeed({ type: sse })
  return Effect.map(readCustomerKey(file), (key) => key === undefined ? undefined : { type: "sse-c", key })
}
