/** `holdfast save KEY [FILE|-]` */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import process from "node:process"
import { encryptionFlags, readEncryption } from "./encryption.ts"
import { usageError } from "./exit.ts"
import { openInput, openStdin } from "./files.ts"
import { bytes, compressionFlags, conditions, Json, openStore, Quiet, storageClass, text, type Verb } from "./flags.ts"
import { errIsTerminal, printJson } from "./output.ts"
import { withProgress } from "./progress.ts"

const flags = {
  key: Argument.String("KEY").pipe(Argument.withDescription("Name of the object, such as runs/42/state.json")),
  file: Argument.String("FILE").pipe(
    Argument.withDescription("Where the bytes come from; - or none: the standard input"),
    Argument.optional,
    Argument.map(Option.getOrUndefined),
  ),
  ...conditions("the object"),
  ...compressionFlags,
  contentType: text("content-type", "TYPE", "Media type to store with the object, such as application/json"),
  metadata: Flag.KeyValuePair("metadata").pipe(
    Flag.withMetavar("NAME=VALUE"),
    Flag.withDescription("Metadata to store with the object; repeat the flag for more"),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  ),
  expectedSize: bytes("expect-size", "Save nothing unless the source has exactly this size"),
  expectedSha256: text("expect-sha256", "HEX", "Save nothing unless the source has this SHA-256"),
  digest: Flag.Literals("digest", ["sha256"]).pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("Compute a digest and store it, which compressed objects always do"),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  ),
  ...encryptionFlags,
  storageClass,
  tags: Flag.KeyValuePair("tag").pipe(
    Flag.withMetavar("NAME=VALUE"),
    Flag.withDescription("Tag of the object, on services that have them; repeat the flag for more"),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  ),
  partSize: bytes("part-size", "Size of a part of a large object. Default: what suits the store"),
  concurrency: Flag.Int("concurrency").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("Parts in flight at once. Default: what suits the store"),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  ),
}

/** The verb. */
export const save: Verb<"save"> = Command.make(
  "save",
  flags,
  ({ key, file, sse, kmsKeyId, customerKeyFile, ...options }) =>
    Effect.scoped(Effect.gen(function* () {
      if (file === undefined && process.stdin.isTTY) {
        return yield* Effect.fail(usageError(
          "Nothing to save: no FILE is given and the standard input is a terminal",
          "name a FILE, or pipe the bytes in; to type them, give - as the FILE",
        ))
      }
      const encryption = yield* readEncryption({ sse, kmsKeyId, customerKeyFile })
      const json = yield* Json
      const store = yield* openStore
      const input = file === undefined || file === "-" ? yield* openStdin : yield* openInput(file)
      const expectedSize = options.expectedSize ?? input.size
      const info = yield* withProgress({
        words: ["Saving", "Saved"],
        key,
        total: expectedSize,
        enabled: errIsTerminal() && !json && !(yield* Quiet),
      }, (onProgress) => store.save(key, input.source, { ...options, encryption, expectedSize, onProgress }))
      if (json) yield* printJson(info)
    })),
).pipe(
  Command.withDescription(
    "Save a file or the standard input as an object, whole or not at all.\n" +
      "  An object of that name is replaced. It is compressed in a form that zstd -d opens (gzip -d with\n" +
      "  --compression gzip), and load gives back what was saved. Prints nothing unless asked with --json.",
  ),
  Command.withShortDescription("Save a file or the standard input as an object"),
  Command.withExamples([
    { command: "echo hello | holdfast save notes/hello", description: "Save what a program prints" },
    {
      command: "holdfast save notes/passwd /etc/passwd --content-type text/plain --metadata host=$(uname -n)",
      description: "Save a file with a media type and metadata",
    },
    {
      command: "holdfast save notes/passwd /etc/passwd --compression none",
      description: "Store the bytes of the file as they are",
    },
    {
      command: 'cat /etc/passwd | holdfast save notes/passwd --expect-size "$(wc -c < /etc/passwd)"',
      description: "Save nothing if the producer dies half way",
    },
  ]),
)
