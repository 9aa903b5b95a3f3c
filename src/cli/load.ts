/** `holdfast load KEY [FILE|-]` */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { StoreError } from "../error.ts"
import type { Progress } from "../save.ts"
import { openOutput, type Output } from "./files.ts"
import { bytes, Json, openStore, Quiet, text, type Verb } from "./flags.ts"
import { errIsTerminal, outIsTerminal, printJson, writeOut } from "./output.ts"
import { withProgress } from "./progress.ts"

const flags = {
  key: Argument.String("KEY").pipe(Argument.withDescription("Name of the object")),
  file: Argument.String("FILE").pipe(
    Argument.withDescription("Where the bytes go; - or none: the standard output"),
    Argument.optional,
    Argument.map(Option.getOrUndefined),
  ),
  offset: bytes("offset", "First byte wanted. Default: 0"),
  length: bytes("length", "Most bytes wanted. Default: all that follow"),
  ifMatch: text("if-match", "ETAG", "Only if the object still has this etag"),
}

const standardOutput: Output = { write: writeOut, commit: Effect.void }

/** The verb. */
export const load: Verb<"load"> = Command.make(
  "load",
  flags,
  ({ key, file, ...range }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const store = yield* openStore
      const toFile = file !== undefined && file !== "-"
      // Begun before any file is made, so that a load that cannot begin leaves none.
      let onProgress: ((progress: Progress) => void) | undefined
      const loaded = yield* Effect.acquireRelease(
        store.load(key, { ...range, onProgress: (progress) => onProgress?.(progress) }),
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
    { command: "holdfast load notes/hello --offset 1 --length 3", description: "Print three bytes of it" },
  ]),
)
