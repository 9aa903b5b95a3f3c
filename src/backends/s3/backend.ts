/**
 * S3 as a {@link Backend}: what this store can do, and its calls.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Backend, Capabilities, Encryption, WriteCondition } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { utf8Length } from "../../streams/utf8.ts"
import { type Client, makeClient } from "./client.ts"
import { copy } from "./copy.ts"
import { checkEncryption } from "./encryption.ts"
import { list, listUploads, listVersions } from "./listing.ts"
import { abortUpload, completeUpload, copyPart, createUpload, type Heads, listParts, putPart } from "./multipart.ts"
import type { Settings } from "./options.ts"
import { presign } from "./presign.ts"
import { get, stat } from "./read.ts"
import { put, remove, removeMany } from "./write.ts"
import { fitsXml } from "./xml.ts"

/** Longest key with the store's prefix, in bytes of UTF-8. Source: Amazon S3, "Naming Amazon S3 objects". */
const maxKeyBytes = 1024

const capabilitiesOf = ({ profile, confidential }: Settings): Capabilities => {
  const { create, replace, complete, copy, remove } = profile.conditional
  return {
    parts: profile.parts,
    maxPut: profile.maxPut,
    conditional: { create, replace, complete, copy, remove },
    enforcedChecksum: profile.protection === "crc32",
    copy: true,
    move: false,
    parallelRanges: true,
    nestedKeys: profile.nestedKeys,
    // A key that travels unencrypted is nobody's secret.
    encryption: profile.encryption.filter((type) => type !== "sse-c" || confidential),
    storageClasses: profile.storageClasses,
    tags: profile.tags,
    maxCopy: profile.maxCopy,
  }
}

/** Why a key would become another object than it says, or none, and what to do. */
const keyFlaw = (
  { profile, prefix }: Settings,
  key: string,
): { readonly detail: string; readonly hint: string } | undefined => {
  const size = utf8Length(prefix) + utf8Length(key)
  if (size > maxKeyBytes) {
    const detail = `the key has ${size} bytes of UTF-8 with the store's prefix; the most is ${maxKeyBytes}`
    return { detail, hint: "use a shorter key or prefix" }
  }
  if (profile.keys === "composed" && key !== key.normalize("NFC")) {
    return { detail: `${profile.name} would fold the key to Unicode's composed form`, hint: 'use key.normalize("NFC")' }
  }
  if (profile.keys === "path") {
    const segments = key.split("/")
    const detail = segments.includes("")
      ? "has an empty segment, which it would leave out"
      : segments.some((segment) => utf8Length(segment) > 255)
      ? "has a segment of more than 255 bytes"
      : fitsXml(key)
      ? undefined
      : "holds a character that its lists cannot show"
    if (detail !== undefined) {
      return { detail: `${profile.name} keeps objects as files, and the key ${detail}`, hint: "use another key" }
    }
  }
}

/** Makes the backend. Throws `Config` where the credentials given are incomplete. */
export const makeBackend = (settings: Settings): Backend => {
  const client: Client = makeClient(settings)
  const { profile } = settings
  const capabilities = capabilitiesOf(settings)
  const { conditional, encryption: has = [] } = capabilities
  const heads: Heads = new WeakMap()

  const checkKey = (operation: string, key: string): void => {
    const flaw = keyFlaw(settings, key)
    if (flaw === undefined) return
    throw new StoreError({ reason: "InvalidKey", ...flaw, operation, key, backend: "s3" })
  }

  const refuse = (operation: string, key: string, condition: WriteCondition, create: boolean, replace: boolean) => {
    const asked = condition.ifNoneMatch !== undefined && !create
      ? "ifNoneMatch"
      : condition.ifMatch !== undefined && !replace
      ? "ifMatch"
      : undefined
    if (asked === undefined) return
    throw new StoreError({
      reason: "Unsupported",
      detail: `${profile.name} does not check ${asked} here`,
      hint: "save without a condition, or choose a profile if the service can do more than is known of it",
      operation,
      key,
      backend: "s3",
    })
  }

  const checkWrite = (
    operation: string,
    key: string,
    options: WriteCondition & { readonly encryption?: Encryption | undefined },
    create = false,
    replace = create,
  ): void => {
    checkKey(operation, key)
    refuse(operation, key, options, create, replace)
    checkEncryption(options.encryption, has, operation, key)
  }

  /** Checks that ask nothing of the service; they throw. */
  const check = (checks: () => void): Effect.Effect<void, StoreError> =>
    client.run(() => {
      checks()
      return Promise.resolve()
    })

  const run = <A>(checks: () => void, work: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, StoreError> =>
    client.run((signal) => {
      checks()
      return work(signal)
    })

  return {
    name: "s3",
    capabilities,
    stat: (key, options = {}) =>
      run(() => checkKey("stat", key), (signal) => stat(client, "stat", key, options, signal)),
    get: (key, options = {}) => run(() => checkKey("get", key), (signal) => get(client, key, options, signal)),
    put: (key, bytes, options) =>
      run(
        () => checkWrite("put", key, options, conditional.create, conditional.replace),
        (signal) => put(client, key, bytes, options, signal),
      ),
    list: (options = {}) => client.run((signal) => list(client, options, signal)),
    remove: (key, options = {}) =>
      run(
        () => checkWrite("remove", key, { ifMatch: options.ifMatch }, conditional.remove),
        (signal) => remove(client, key, options, signal),
      ),
    removeMany: (keys) => keys.length === 0 ? Effect.succeed([]) : removeMany(client, keys),
    createUpload: (key, options) =>
      Effect.andThen(
        check(() => checkWrite("createUpload", key, { encryption: options.encryption })),
        createUpload(client, heads, key, options),
      ),
    putPart: (upload, part, bytes) => client.run((signal) => putPart(client, upload, part, bytes, signal)),
    completeUpload: (upload, parts, options) =>
      run(
        () => checkWrite("completeUpload", upload.key, options, conditional.complete),
        (signal) => completeUpload(client, heads, upload, parts, options, signal),
      ),
    abortUpload: (upload) => client.run((signal) => abortUpload(client, upload, signal)),
    copy: (from, to, options) =>
      Effect.andThen(
        check(() => {
          checkKey("copy", from)
          checkWrite("copy", to, options, conditional.copy)
        }),
        copy(client, heads, from, to, options),
      ),
    copyPart: profile.copyParts
      ? (upload, part, source) => client.run((signal) => copyPart(client, upload, part, source, signal))
      : undefined,
    listUploads: profile.listsUploads
      ? (options = {}) => client.run((signal) => listUploads(client, options, signal))
      : undefined,
    listParts: profile.listsParts ? (upload) => client.run((signal) => listParts(client, upload, signal)) : undefined,
    listVersions: profile.versions
      ? (options = {}) => client.run((signal) => listVersions(client, options, signal))
      : undefined,
    presign: (method, key, options) => run(() => checkKey("presign", key), () => presign(client, method, key, options)),
  }
}
