/** `holdfast load KEY [FILE|-]` */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { StoreError } from "../error.ts"
import type { Progress } from "../save.ts"
import { customerKeyFile, readCustomerKey } from "./encryption.ts"
import { openOutput, type Output } from "./files.ts"
import { usageError } from "./exit.ts"
import { bytes, Json, openStore, parseBytes, Quiet, text, type Verb, versionId } from "./flags.ts"
import { errIsTerminal, outIsTerminal, printJson, writeOut } from "./output.ts"
import { withProgress } from "./progress.ts"

/** Reads START:END; throws where it is none. */
const parseRange = (value: string): { readonly offset: number; readonly length: number | undefined } => {
  const [start, end, ...rest] = value.split(":")
  if (start === undefined || end === undefined || rest.length > 0 || value === ":") throw new RangeError(value)
  const offset = start === "" ? 0 : parseBytes(start)
  const length = end === "" ? undefined : parseBytes(end) - offset
  if (length !== undefined && length < 0) throw new RangeError(value)
  return { offset, length }
}

const flags = {
  key: Argument.String("KEY").pipe(Argument.withDescription("Name of the object")),
  file: Argument.String("FILE").pipe(
    Argument.withDescription("Where the bytes go; - or none: the standard output"),
    Argument.optional,
    Argument.map(Option.getOrUndefined),
  ),
  offset: bytes("offset", "First byte wanted. Default: 0"),
  length: bytes("length", "Most bytes wanted. Default: all that follow"),
  range: Flag.String("range").pipe(
    Flag.withMetavar("START:END"),
    Flag.withDescription("Bytes from START up to, not including, END; either may be left out: 10:, :10, 1MiB:2MiB"),
    Flag.mapTryCatch(parseRange, () => 'Expected START:END such as 1000000:2000000, ":10" or "1MiB:"'),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  ),
  decode: Flag.Literals("decode", ["zstd", "gzip", "none"]).pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("How a foreign object is compressed; none: the stored bytes"),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  ),
  maxLength: bytes("max-length", "With --decode: fail when the object decodes to more"),
  ifMatch: text("if-match", "ETAG", "Only if the object still has this etag"),
  versionId,
  customerKeyFile,
}

const standardOutput: Output = { write: writeOut, commit: Effect.void }

/** The verb. */
export const load: Verb<"load"> = Command.make(
  "load",
  flags,
  ({ key, file, range, customerKeyFile, ...options }) =>
    Effect.scoped(Effect.gen(function* () {
      if (range !== undefined && (options.offset !== undefined || options.length !== undefined)) {
        return yield* Effect.fail(usageError("--range says the same as --offset and --length", "give one or the other"))
      }
      const customerKey = yield* readCustomerKey(customerKeyFile)
      const json = yield* Json
      const store = yield* openStore
      const toFile = file !== undefined && file !== "-"
      // Begun before any file is made, so that a load that cannot begin leaves none.
      let onProgress: ((progress: Progress) => void) | undefined
      const loaded = yield* Effect.acquireRelease(
        store.load(key, { ...options, ...range, customerKey, onProgress: (progress) => onProgress?.(progress) }),
        (loaded) => Effect.promise(() => loaded.cancel()),
        { interruptible: true },
      )
      const output = toFile ? yield* openOutput(file) : standardOutput
      const reader = yield* Effect.acquireRelease(
        Effect.sync(() => loaded.body.getReader()),
        (reader) => Effect.promise(() => reader.cancel().catch(() => undefined)),
      )
      const read = Effect.tryPromise({ try: () => reader.read(), catch: (cause) => cause as StoreError })
      yield* withProgress({
        words: ["Loading", "Loaded"],
        key,
        total: loaded.length,
        // Data and progress on one terminal would garble each other.
        enabled: errIsTerminal() && !json && !(yield* Quiet) && (toFile || !outIsTerminal()),
      }, (report) =>
        Effect.gen(function* () {
          onProgress = report
          while (true) {
            const { done, value } = yield* read
            if (done) break
            yield* output.write(value)
          }
          yield* output.commit
        }))
      if (json && toFile) yield* printJson(loaded.info)
    })),
).pipe(
  Command.withDescription(
    "Load an object into a file or onto the standard output.\n" +
      "  A FILE changes only once all bytes have come and are right; until then it is as it was before.\n" +
      "  On the standard output the bytes come as they are read: only exit code 0 says that they are all right.",
  ),
  Command.withShortDescription("Load an object into a file or onto the standard output"),
  Command.withExamples([
    {
      command: "echo hello | holdfast save notes/hello && holdfast load notes/hello",
      description: "Print an object",
    },
    { command: "holdfast load notes/hello hello.txt", description: "Load it into a file" },
    { command: "holdfast load notes/hello --range 1:4", description: "Print three bytes of it" },
  ]),
)
