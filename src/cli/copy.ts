/**
 * `holdfast cp FROM TO` and `holdfast mv FROM TO`
 *
 * @module
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ObjectInfo, WriteCondition } from "../backend.ts"
import { type Reason, StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { type Address, addressOf } from "./address.ts"
import { type EncryptionChoice, encryptionFlags, readEncryption } from "./encryption.ts"
import { CommandError, exitCodes, usageError } from "./exit.ts"
import { conditions, type Globals, Json, openAt, Quiet, storageClass, StoreUrl, text, type Verb } from "./flags.ts"
import { errIsTerminal, printError, printJson } from "./output.ts"
import { withProgress } from "./progress.ts"
import { transfer, transferAway } from "../transfer.ts"

const flags = {
  from: Argument.String("FROM").pipe(Argument.withDescription("Name of the object there is, or a URL that holds it")),
  to: Argument.String("TO").pipe(
    Argument.withDescription("Name it gets, or a URL that holds it; an object of that name is replaced"),
  ),
  fromStore: text("from-store", "URL", "Store that FROM is in. Default: --store"),
  toStore: text("to-store", "URL", "Store that TO is in. Default: --store"),
  ...conditions("TO"),
  ...encryptionFlags,
  storageClass,
}

interface Input extends WriteCondition, EncryptionChoice {
  readonly from: string
  readonly to: string
  readonly fromStore: string | undefined
  readonly toStore: string | undefined
  readonly storageClass: string | undefined
}

/** Both ends of a copy. */
interface Ends {
  readonly from: Address
  readonly to: Address
  readonly source: ObjectStoreService
  /** The same service where both ends are in one store: then the store copies by itself. */
  readonly target: ObjectStoreService
}

const openEnds = (
  { from, to, fromStore, toStore }: Input,
  check: (from: Address, to: Address) => CommandError | undefined = () => undefined,
): Effect.Effect<Ends, StoreError | CommandError, Globals | Scope.Scope> =>
  Effect.gen(function* () {
    const store = yield* StoreUrl
    const [source, target] = [addressOf(from, fromStore, store), addressOf(to, toStore, store)]
    if (source instanceof CommandError) return yield* Effect.fail(source)
    if (target instanceof CommandError) return yield* Effect.fail(target)
    const wrong = check(source, target)
    if (wrong !== undefined) return yield* Effect.fail(wrong)
    const opened = yield* openAt(source.store)
    return {
      from: source,
      to: target,
      source: opened,
      target: target.store === source.store ? opened : yield* openAt(target.store),
    }
  })

/** Runs a copy or a move of one object, with progress where its bytes come through here. */
const one = (input: Input, moves: boolean): Effect.Effect<void, StoreError | CommandError, Globals> =>
  Effect.scoped(Effect.gen(function* () {
    const encryption = yield* readEncryption(input)
    const { from, to, source, target } = yield* openEnds(input)
    const condition = { ifMatch: input.ifMatch, ifNoneMatch: input.ifNoneMatch }
    const placement = { encryption, storageClass: input.storageClass }
    const json = yield* Json
    const here = { store: source, key: from.key }
    const there = { store: target, key: to.key }
    const info = yield* source === target
      ? (moves ? source.move : source.copy)(from.key, to.key, { ...condition, ...placement })
      : withProgress(
        {
          words: moves ? ["Moving", "Moved"] : ["Copying", "Copied"],
          key: from.key,
          total: undefined,
          enabled: errIsTerminal() && !json && !(yield* Quiet),
        },
        (onProgress): Effect.Effect<ObjectInfo, StoreError> =>
          moves
            ? transferAway(here, there, { condition, ...placement, onProgress })
            : Effect.map(transfer(here, there, { condition, ...placement, onProgress }), (done) => done.target),
      )
    if (json) yield* printJson(info)
  }))

/** Objects of a recursive copy that are on their way at once. */
const inFlight = 4

/** Failures that concern one object and leave the others be. */
const single: ReadonlySet<Reason> = new Set<Reason>([
  "NotFound",
  "AlreadyExists",
  "PreconditionFailed",
  "Conflict",
  "Changed",
  "InvalidKey",
  "TooLarge",
  "Truncated",
  "Corrupt",
])

const prefixesFlaw = (from: Address, to: Address): CommandError | undefined => {
  const loose = [from, to].find(({ key }) => key !== "" && !key.endsWith("/"))
  if (loose !== undefined) {
    return usageError(
      `The prefix ${JSON.stringify(loose.key)} does not end in "/"`,
      `write ${JSON.stringify(`${loose.key}/`)}; an empty prefix is the whole store`,
    )
  }
  return from.store === to.store && to.key.startsWith(from.key)
    ? usageError("TO lies within FROM, so the copy would go on for ever", "copy to another prefix or store")
    : undefined
}

/** Copies every object below a prefix. One that fails does not keep the others from being copied. */
const recursive = (input: Input): Effect.Effect<void, StoreError | CommandError, Globals> =>
  Effect.scoped(Effect.gen(function* () {
    const encryption = yield* readEncryption(input)
    const { from, to, source, target } = yield* openEnds(input, prefixesFlaw)
    const { ifNoneMatch, storageClass } = input
    const json = yield* Json
    const copyOne = (key: string): Effect.Effect<ObjectInfo, StoreError> => {
      const name = to.key + key.slice(from.key.length)
      const placement = { encryption, storageClass }
      return source === target ? source.copy(key, name, { ifNoneMatch, ...placement }) : Effect.map(
        transfer({ store: source, key }, { store: target, key: name }, { condition: { ifNoneMatch }, ...placement }),
        (done) => done.target,
      )
    }
    const missing = new StoreError({
      reason: "NotFound",
      detail: "there is no object below this prefix",
      operation: "copy",
      key: from.key,
      backend: source.backend,
    })
    // The worst of the errors is the command's own.
    let failed: StoreError | undefined
    yield* source.list({ prefix: from.key }).pipe(
      Stream.orElseIfEmpty(() => Stream.fail(missing)),
      Stream.mapEffect(({ key }) => Effect.result(copyOne(key)), { concurrency: inFlight, unordered: true }),
      Stream.runForEach((result): Effect.Effect<void, StoreError | CommandError> => {
        if (Result.isSuccess(result)) return json ? printJson(result.success) : Effect.void
        const error = result.failure
        if (!single.has(error.reason)) return Effect.fail(error)
        const previous = failed
        failed = previous !== undefined && exitCodes[error.reason] < exitCodes[previous.reason] ? previous : error
        return previous === undefined ? Effect.void : printError(failed === previous ? error : previous, json)
      }),
    )
    if (failed !== undefined) return yield* Effect.fail(failed)
  }))

const grammar =
  "FROM and TO are keys of --store, or of the store that --from-store or --to-store names. Without those flags\n" +
  "  each may also be a URL that holds the key: s3://BUCKET/KEY?region=... or r2://BUCKET/KEY.\n" +
  "  Between two stores the stored bytes go as they are, with their metadata, and are checked on the way."

/** The verb that copies. */
export const copy: Verb<"cp"> = Command.make(
  "cp",
  {
    ...flags,
    recursive: Flag.Boolean("recursive").pipe(
      Flag.withAlias("r"),
      Flag.withDescription("Copy every object whose key starts with FROM; FROM and TO end in / or are empty"),
      Flag.withDefault(false),
    ),
  },
  ({ recursive: all, ...input }) => {
    if (!all) return one(input, false)
    return input.ifMatch === undefined ? recursive(input) : Effect.fail(
      usageError("--if-match names one object", "leave out --recursive, or use --if-none-match"),
    )
  },
).pipe(
  Command.withDescription(`Copy an object with its metadata, within a store or from one to another.\n  ${grammar}`),
  Command.withShortDescription("Copy objects within a store, or between two"),
  Command.withExamples([
    {
      command: "echo hello | holdfast save notes/hello && holdfast cp notes/hello notes/copy",
      description: "Keep a copy of an object",
    },
    {
      command: "holdfast cp notes/hello notes/hello --to-store s3://my-bucket",
      description: "Copy it into a bucket",
    },
    {
      command: "holdfast cp --recursive notes/ old/notes/ --to-store file:./backup",
      description: "Copy everything below notes/ to another store",
    },
  ]),
)

/** The verb that renames. */
export const move: Verb<"mv"> = Command.make("mv", flags, (input) => one(input, true)).pipe(
  Command.withDescription(
    `Rename an object with its metadata, within a store or from one to another.\n  ${grammar}\n` +
      "  The original is removed once the copy is there, and only if nobody has replaced it meanwhile.",
  ),
  Command.withShortDescription("Rename an object within a store, or move it to another"),
  Command.withExamples([{
    command: "echo hello | holdfast save notes/hello && holdfast mv notes/hello notes/old",
    description: "Give an object another name",
  }]),
)
