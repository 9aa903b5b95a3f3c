/** `holdfast verify KEY|PREFIX...` */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import type { Verified } from "../options.ts"
import { customerKeyFile, readCustomerKey } from "./encryption.ts"
import { type CommandError, exitCodes, usageError } from "./exit.ts"
import { Json, openStore, type Verb, versionId } from "./flags.ts"
import { outIsTerminal, printable, printError, printJson, writeOut } from "./output.ts"

const flags = {
  keys: Argument.String("KEY").pipe(
    Argument.withDescription("Names of objects, or prefixes that end in / for all objects below them"),
    Argument.variadic(),
  ),
  all: Flag.Boolean("all").pipe(Flag.withDescription("Every object of the store"), Flag.withDefault(false)),
  deep: Flag.Boolean("deep").pipe(
    Flag.withDescription("Read and check every stored byte (default); --no-deep: only facts and trailers"),
    Flag.withDefault(true),
  ),
  versionId,
  customerKeyFile,
}

const flaw = (keys: ReadonlyArray<string>, all: boolean, versionId: string | undefined): CommandError | undefined => {
  if (versionId !== undefined && (all || keys.length !== 1 || keys[0]!.endsWith("/"))) {
    return usageError("--version-id takes exactly one KEY", "check the versions one by one")
  }
  if (all && keys.length > 0) {
    return usageError("--all is for every object of the store", "leave out the KEYs, or --all")
  }
  return keys.length === 0 && !all
    ? usageError("No KEY is given", "name an object, a prefix such as runs/42/, or give --all")
    : undefined
}

/** The keys of the objects meant. Nothing below a prefix is as wrong as a key that is not there. */
const named = (
  store: ObjectStoreService,
  keys: ReadonlyArray<string>,
  all: boolean,
): Stream.Stream<string, StoreError> =>
  Stream.flatMap(Stream.fromIterable(all ? [""] : keys), (key) => {
    if (key !== "" && !key.endsWith("/")) return Stream.succeed(key)
    const below = Stream.map(store.list({ prefix: key }), (entry) => entry.key)
    return all ? below : Stream.orElseIfEmpty(below, () =>
      Stream.fail(
        new StoreError({
          reason: "NotFound",
          operation: "verify",
          key,
          detail: "there is no object below this prefix",
          backend: store.backend,
        }),
      ))
  })

const describe = ({ info, checks }: Verified): string =>
  `ok  ${info.key}  ${checks.length === 0 ? "nothing to hold its bytes against" : checks.join(", ")}\n`

/** Whether a failure is about the object, and the others can still be looked at. */
const isFinding = (error: StoreError): boolean => exitCodes[error.reason] === 6 || error.reason === "NotFound"

/** The verb. */
export const verify: Verb<"verify"> = Command.make(
  "verify",
  flags,
  ({ keys, all, deep, versionId, customerKeyFile }) =>
    Effect.scoped(Effect.gen(function* () {
      const wrong = flaw(keys, all, versionId)
      if (wrong !== undefined) return yield* Effect.fail(wrong)
      const customerKey = yield* readCustomerKey(customerKeyFile)
      const json = yield* Json
      const store = yield* openStore
      // A damaged object does not keep the others from being looked at; the last error is the command's own.
      let failed: StoreError | undefined
      yield* Stream.runForEach(named(store, keys, all), (key) =>
        Effect.matchEffect(store.verify(key, { deep, versionId, customerKey }), {
          onSuccess: (verified) => {
            if (json) {
              return printJson({ key, ok: true, checks: verified.checks })
            }
            const text = describe(verified)
            return writeOut(outIsTerminal() ? printable(text) : text)
          },
          onFailure: (error) => {
            if (!isFinding(error)) {
              return Effect.fail(error)
            }
            const previous = failed
            failed = previous !== undefined && exitCodes[error.reason] < exitCodes[previous.reason] ? previous : error
            return previous === undefined ? Effect.void : printError(failed === previous ? error : previous, json)
          },
        }))
      if (failed !== undefined) {
        return yield* Effect.fail(failed)
      }
    })),
).pipe(
  Command.withDescription(
    "Hold every stored byte against the checksums that were stored with it.\n" +
      "  Prints a line for each object that is right. Exit code 6 says that some are damaged or cut short;\n" +
      "  the message names the frame and its offset in the stored bytes. Nothing is changed.",
  ),
  Command.withShortDescription("Check stored bytes against their checksums"),
  Command.withExamples([
    {
      command: "echo hello | holdfast save notes/hello && holdfast verify notes/hello",
      description: "Check an object",
    },
    { command: "holdfast verify --all", description: "Check every object of the store" },
  ]),
)
