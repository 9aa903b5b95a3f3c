/** `holdfast rm KEY...` */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { RemoveResult } from "../backend.ts"
import type { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { type CommandError, usageError } from "./exit.ts"
import { Json, openStore, text, type Verb } from "./flags.ts"
import { printError, printJson } from "./output.ts"

const flags = {
  keys: Argument.String("KEY").pipe(
    Argument.withDescription("Names of the objects; with --recursive prefixes that end in /"),
    Argument.variadic(),
  ),
  ifMatch: text("if-match", "ETAG", "Only if the object still has this etag; takes one KEY"),
  versionId: text("version-id", "ID", "Remove this version for good; takes one KEY. holdfast versions lists them"),
  recursive: Flag.Boolean("recursive").pipe(
    Flag.withAlias("r"),
    Flag.withDescription("Remove every object whose key starts with KEY; holdfast ls KEY shows which"),
    Flag.withDefault(false),
  ),
  all: Flag.Boolean("all").pipe(
    Flag.withDescription("With --recursive and no KEY: empty the whole store"),
    Flag.withDefault(false),
  ),
}

interface Input {
  readonly keys: ReadonlyArray<string>
  readonly ifMatch: string | undefined
  readonly versionId: string | undefined
  readonly recursive: boolean
  readonly all: boolean
}

/** What is wrong with the flags. An empty variable in `rm -r "$PREFIX"` must not cost a whole store. */
const flaw = ({ keys, ifMatch, versionId, recursive, all }: Input): CommandError | undefined => {
  const single = ifMatch !== undefined ? "--if-match" : versionId !== undefined ? "--version-id" : undefined
  if (single !== undefined && (recursive || keys.length !== 1)) {
    return usageError(`${single} takes exactly one KEY, without --recursive`, "remove the objects one by one")
  }
  if (all && (!recursive || keys.length > 0)) {
    return usageError("--all is only for --recursive without a KEY", "write rm --recursive --all, or name the keys")
  }
  if (keys.length === 0 && !all) {
    return usageError(
      "No KEY is given",
      recursive ? "name a prefix such as runs/42/, or give --all to empty the whole store" : "name at least one",
    )
  }
  const loose = recursive ? keys.find((key) => !key.endsWith("/")) : undefined
  if (loose === undefined) return undefined
  return loose === ""
    ? usageError("The prefix is empty: that is the whole store", "name a prefix such as runs/42/, or give --all alone")
    : usageError(
      `The prefix ${JSON.stringify(loose)} does not end in "/", and would match other names that start with it`,
      `write ${JSON.stringify(`${loose}/`)}`,
    )
}

const removeBelow = (store: ObjectStoreService, prefix: string): Stream.Stream<RemoveResult, StoreError> =>
  Stream.flatMap(
    store.pages({ prefix }),
    ({ objects }) => Stream.unwrap(Effect.map(store.removeMany(objects.map(({ key }) => key)), Stream.fromIterable)),
  )

const remove = (store: ObjectStoreService, input: Input): Stream.Stream<RemoveResult, StoreError> => {
  if (input.recursive) {
    return Stream.flatMap(Stream.fromIterable(input.all ? [""] : input.keys), (prefix) => removeBelow(store, prefix))
  }
  const [key] = input.keys
  return key !== undefined && input.keys.length === 1
    ? Stream.fromEffect(Effect.as(store.remove(key, { ifMatch: input.ifMatch, versionId: input.versionId }), { key }))
    : Stream.unwrap(Effect.map(store.removeMany(input.keys), Stream.fromIterable))
}

/** The verb. */
export const rm: Verb<"rm"> = Command.make("rm", flags, (input) =>
  Effect.scoped(Effect.gen(function* () {
    const wrong = flaw(input)
    if (wrong !== undefined) return yield* Effect.fail(wrong)
    const json = yield* Json
    const store = yield* openStore
    // A key that cannot be removed does not keep the others; the last of the errors is the command's own.
    let failed: StoreError | undefined
    yield* Stream.runForEach(remove(store, input), ({ key, error }) => {
      if (error === undefined) return json ? printJson({ key, removed: true }) : Effect.void
      const previous = failed
      failed = error
      return previous === undefined ? Effect.void : printError(previous, json)
    })
    if (failed !== undefined) return yield* Effect.fail(failed)
  }))).pipe(
    Command.withDescription("Remove objects. One that is missing already counts as removed. Nothing is asked."),
    Command.withShortDescription("Remove objects"),
    Command.withExamples([
      { command: "holdfast rm notes/hello notes/copy", description: "Remove two objects" },
      { command: "holdfast rm --recursive runs/42/", description: "Remove everything below runs/42/" },
    ]),
  )
