/**
 * The flags that several verbs take, and what they share: opening the store that `--store` names.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as ByteSize from "effect/ByteSize"
import type * as Command from "effect/cli/Command"
import type * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { open } from "../open.ts"
import { storeVariable } from "../store-url.ts"
import type { CommandError } from "./exit.ts"

/** The store that is used when neither the flag nor the variable names one. */
export const defaultStore = "file:./holdfast-data"

/** `--store` */
export const StoreUrl: GlobalFlag.Setting<"store", string> = GlobalFlag.Setting("store")({
  flag: Flag.String("store").pipe(
    Flag.withMetavar("URL"),
    Flag.withDescription(
      `file:, s3:, r2:, https:, webdav+https:, mem:. Default: ${storeVariable} or ${defaultStore}`,
    ),
    Flag.withFallbackConfig(Config.String(storeVariable)),
    Flag.withDefault(defaultStore),
  ),
})

/** `--json` */
export const Json: GlobalFlag.Setting<"json", boolean> = GlobalFlag.Setting("json")({
  flag: Flag.Boolean("json").pipe(
    Flag.withDescription("Print results and errors as lines of JSON"),
    Flag.withDefault(false),
  ),
})

/** `--quiet` */
export const Quiet: GlobalFlag.Setting<"quiet", boolean> = GlobalFlag.Setting("quiet")({
  flag: Flag.Boolean("quiet").pipe(
    Flag.withAlias("q"),
    Flag.withDescription("Show no progress"),
    Flag.withDefault(false),
  ),
})

/** What these flags, which every verb takes, bring into its handler. */
export type Globals = GlobalFlag.Setting.Identifier<"store" | "json" | "quiet">

/** A subcommand, ready for the root command. */
export type Verb<Name extends string> = Command.Command<
  Name,
  never,
  // deno-lint-ignore ban-types
  {},
  StoreError | CommandError | CliError.CliError,
  Globals
>

/** A promise that rejects with StoreErrors, as an effect that fails with them. */
export const fromStore = <A>(run: () => Promise<A>): Effect.Effect<A, StoreError> =>
  Effect.tryPromise({ try: run, catch: (cause) => cause }).pipe(
    Effect.catch((cause) => StoreError.is(cause) ? Effect.fail(cause) : Effect.die(cause)),
  )

/** The store of a URL; closed with the scope. */
export const openAt = (url: string): Effect.Effect<ObjectStoreService, StoreError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(fromStore(() => open(url)), (store) => Effect.promise(() => store.close())),
    (store) => store.service,
  )

/** The store of this run; closed with the scope. */
export const openStore: Effect.Effect<ObjectStoreService, StoreError, Globals | Scope.Scope> = Effect.gen(
  function* () {
    return yield* openAt(yield* StoreUrl)
  },
)

/** An optional flag of text. */
export const text = (name: string, metavar: string, description: string): Flag.Flag<string | undefined> =>
  Flag.String(name).pipe(
    Flag.withMetavar(metavar),
    Flag.withDescription(description),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  )

/** An optional flag of a number of bytes: `1048576` or `1MiB`. */
export const bytes = (name: string, description: string): Flag.Flag<number | undefined> =>
  Flag.String(name).pipe(
    Flag.withMetavar("BYTES"),
    Flag.withDescription(description),
    Flag.mapTryCatch(parseBytes, () => 'Expected a number of bytes such as 1048576 or "1MiB"'),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  )

/** Reads a number of bytes; throws where it is none, or too large to be exact. */
export const parseBytes = (value: string): number => {
  // `wc -c` pads its number on some systems.
  const size = Number(ByteSize.fromStringUnsafe(/^\s*\d+\s*$/.test(value) ? `${value}B` : value))
  if (!Number.isSafeInteger(size)) throw new RangeError(`${value} is too large`)
  return size
}

/** An optional flag of a duration in seconds: `90s`, `15m`, `12h` or `7d`. */
export const seconds = (name: string, description: string): Flag.Flag<number | undefined> =>
  Flag.String(name).pipe(
    Flag.withMetavar("TIME"),
    Flag.withDescription(description),
    Flag.mapTryCatch(parseSeconds, () => "Expected a time such as 90s, 15m, 12h or 7d"),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  )

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Reads a duration; throws where it is none. */
const parseSeconds = (value: string): number => {
  const [, count = "", unit = ""] = /^(\d{1,9})([smhd])$/.exec(value) ?? []
  const size = units[unit]
  if (size === undefined) throw new RangeError(value)
  return Number(count) * size
}

/** `--version-id` */
export const versionId: Flag.Flag<string | undefined> = text(
  "version-id",
  "ID",
  "This version instead of the current one; holdfast versions lists them",
)

/** `--storage-class` */
export const storageClass: Flag.Flag<string | undefined> = text(
  "storage-class",
  "NAME",
  "The service's storage class, such as STANDARD_IA",
)

/** How a save compresses. */
export const compressionFlags: {
  readonly compression: Flag.Flag<"zstd" | "gzip" | "none" | undefined>
  readonly level: Flag.Flag<number | undefined>
  readonly frameSize: Flag.Flag<number | undefined>
} = {
  compression: Flag.Literals("compression", ["zstd", "gzip", "none"]).pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("zstd (default), gzip or none"),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  ),
  level: Flag.Int("level").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("How hard to compress: zstd 1 to 19 (default 3), gzip 1 to 9 (default 6)"),
    Flag.optional,
    Flag.map(Option.getOrUndefined),
  ),
  frameSize: bytes(
    "frame-size",
    "Bytes that are compressed by themselves: what a range load reads at least. Default: 4MiB",
  ),
}

/** The condition flags of verbs that write an object. */
export const conditions = (object: string): {
  readonly ifNoneMatch: Flag.Flag<"*" | undefined>
  readonly ifMatch: Flag.Flag<string | undefined>
} => ({
  ifNoneMatch: Flag.Boolean("if-none-match").pipe(
    Flag.withDescription(`Only if ${object} does not exist yet`),
    Flag.withDefault(false),
    Flag.map((given) => given ? "*" as const : undefined),
  ),
  ifMatch: text("if-match", "ETAG", `Only if ${object} still has this etag`),
})
