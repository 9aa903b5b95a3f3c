/** `holdfast stat KEY` */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import type { ObjectInfo } from "../backend.ts"
import { formatCrc32 } from "../streams/crc32.ts"
import { customerKeyFile, readCustomerKey } from "./encryption.ts"
import { Json, openStore, type Verb, versionId } from "./flags.ts"
import { formatBytes, outIsTerminal, printable, printJson, writeOut } from "./output.ts"

const flags = {
  key: Argument.String("KEY").pipe(Argument.withDescription("Name of the object")),
  versionId,
  customerKeyFile,
}

/** The facts of an object, one a line; what the store does not know is left out. */
const describe = (info: ObjectInfo): string => {
  const human = (bytes: number): string => bytes < 1024 ? `${bytes}` : `${bytes} (${formatBytes(bytes)})`
  const { codec, length } = info
  const ratio = length === undefined || length === 0 ? "" : `, ${(100 * info.size / length).toFixed(1)} % of it`
  const facts: ReadonlyArray<readonly [name: string, value: string | undefined]> = [
    ["key", info.key],
    ["size", length === undefined ? undefined : human(length)],
    ["stored", codec === undefined ? undefined : `${human(info.size)}${ratio}`],
    ["codec", codec],
    ["modified", info.modified.toISOString()],
    ["etag", info.etag],
    ["type", info.contentType],
    ["version", info.versionId],
    ["encrypted", info.encryption && [info.encryption.type, info.encryption.keyId].filter(Boolean).join(" ")],
    ["class", info.storageClass],
    ["crc32", info.crc32 === undefined ? undefined : formatCrc32(info.crc32)],
    ["sha256", info.sha256],
    ...Object.entries(info.metadata).map(([name, value]) => ["metadata", `${name}=${value}`] as const),
  ]
  return facts.flatMap(([name, value]) => value === undefined ? [] : [`${name.padEnd(10)}${value}\n`]).join("")
}

/** The verb. */
export const stat: Verb<"stat"> = Command.make(
  "stat",
  flags,
  ({ key, versionId, customerKeyFile }) =>
    Effect.scoped(Effect.gen(function* () {
      const customerKey = yield* readCustomerKey(customerKeyFile)
      const store = yield* openStore
      const info = yield* store.stat(key, { versionId, customerKey })
      if (yield* Json) return yield* printJson(info)
      const text = describe(info)
      yield* writeOut(outIsTerminal() ? printable(text) : text)
    })),
).pipe(
  Command.withDescription("Show the facts of an object. Exit code 1 says that there is none."),
  Command.withShortDescription("Show the facts of an object"),
  Command.withExamples([
    {
      command: "echo hello | holdfast save notes/hello && holdfast stat notes/hello",
      description: "Show sizes, time, etag, codec, checksums and metadata",
    },
    {
      command: "holdfast stat notes/gone >/dev/null 2>&1 || echo missing",
      description: "Ask in a script whether there is such an object",
    },
  ]),
)
