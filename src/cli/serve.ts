/**
 * `holdfast serve` and `holdfast serve token`
 *
 * A store behind the routes of `src/http`, for programs that are to have no keys of the store. Lives until a signal, and
 * then lets the requests on hand end. SIGHUP has it read its file of tokens again.
 *
 * @module
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { appendFile, readFile } from "node:fs/promises"
import process from "node:process"
import { CommandError, fileError, usageError, usageExit } from "./exit.ts"
import { bytes, Json, openStore, seconds, text, type Verb } from "./flags.ts"
import { printJson, writeOut } from "./output.ts"
import { onHangup } from "./serve/hangup.ts"
import { levels, Log } from "./serve/log.ts"
import { listen, type Listening, stop } from "./serve/listen.ts"
import { makeToken, parseRule, parseRules, type TokenRule } from "./serve/tokens.ts"

/** Seconds that requests on hand get after the signal; what runs containers often kills after 30. */
const defaultGrace = 25

const flags = {
  port: Flag.Int("port").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("Where to listen; 0: any that is free. Default: 8420"),
    Flag.withDefault(8420),
  ),
  host: text("host", "NAME", "Address to listen on; others than this machine's own need tokens. Default: 127.0.0.1"),
  tokenFile: text("token-file", "FILE", "Who may do what; holdfast serve token makes its lines. SIGHUP reads it again"),
  tokenHash: Flag.String("token-hash").pipe(
    Flag.withMetavar("LINE"),
    Flag.withDescription("A line of such a file: sha256:HEX [read|write] [prefix]; repeat the flag for more"),
    Flag.atLeast(0),
  ),
  maxBytes: bytes("max-bytes", "Most bytes of an object. Default: what the store takes"),
  logLevel: Flag.Literals("log-level", levels).pipe(
    Flag.withMetavar("LEVEL"),
    Flag.withDescription("error, info: each request, debug: names too. Default: info"),
    Flag.withDefault("info" as const),
  ),
  grace: seconds("grace", `How long requests on hand may go on after a signal. Default: ${defaultGrace}s`),
}

const readRules = (
  file: string | undefined,
  lines: ReadonlyArray<string>,
): Effect.Effect<ReadonlyArray<TokenRule>, CommandError> =>
  Effect.gen(function* () {
    const wrong = (where: string) => (error: unknown): CommandError =>
      usageError(`${where}: ${(error as Error).message}`, 'write "sha256:<64 hex digits> [read|write] [prefix]"')
    const given = yield* Effect.try({ try: () => lines.map(parseRule), catch: wrong("Cannot use --token-hash") })
    if (file === undefined) return given
    const action = `read the tokens of ${JSON.stringify(file)}`
    const content = yield* Effect.tryPromise({
      try: () => readFile(file, "utf8"),
      catch: (cause) => fileError("File", action, cause),
    })
    const rules = yield* Effect.try({ try: () => parseRules(content), catch: wrong(`Cannot ${action}`) })
    // A file that was emptied by mistake must not open the store to everybody.
    if (rules.length === 0) {
      return yield* Effect.fail(usageError(`Cannot ${action}: there are none`, "add one with holdfast serve token"))
    }
    return [...given, ...rules]
  })

const isLoopback = (host: string): boolean => host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host)

const listenError = (address: string, cause: unknown): CommandError => {
  const { code, name, message } = cause as { readonly code?: string; readonly name?: string; readonly message?: string }
  const taken = code === "EADDRINUSE" || name === "AddrInUse"
  return new CommandError(
    "Usage",
    `Cannot listen on ${address}: ${taken ? "another program does" : message ?? String(cause)}`,
    taken ? "give another --port, or 0 for any that is free" : "check --host and --port",
    usageExit,
  )
}

const token: Verb<"token"> = Command.make(
  "token",
  {
    file: Argument.String("FILE").pipe(
      Argument.withDescription("Where the token's hash goes; made when it is missing"),
    ),
    readOnly: Flag.Boolean("read-only").pipe(
      Flag.withDescription("It may load and list, and not save or remove"),
      Flag.withDefault(false),
    ),
    prefix: text("prefix", "PREFIX", "It is for keys that begin so, such as runs/"),
  },
  ({ file, readOnly, prefix = "" }) =>
    Effect.gen(function* () {
      const { token, line } = makeToken(readOnly ? "read" : "write", prefix)
      yield* Effect.try({
        try: () => parseRule(line),
        catch: (error) => usageError(`Cannot use --prefix: ${(error as Error).message}`, "write it as keys begin"),
      })
      yield* Effect.tryPromise({
        try: async () => {
          const before = await readFile(file, "utf8").catch(() => "")
          await appendFile(file, `${before === "" || before.endsWith("\n") ? "" : "\n"}${line}\n`, { mode: 0o600 })
        },
        catch: (cause) => fileError("File", `write to ${JSON.stringify(file)}`, cause),
      })
      yield* (yield* Json) ? printJson({ token, line }) : writeOut(`${token}\n`)
    }),
).pipe(
  Command.withDescription(
    "Make a token, print it, and add its SHA-256 to a file for --token-file. The token itself is kept nowhere: give it\n" +
      "  to whoever is to have it, as HOLDFAST_TOKEN. To take it back, remove its line and send the server SIGHUP.",
  ),
  Command.withShortDescription("Make a token for a served store"),
  Command.withExamples([
    { command: "holdfast serve token tokens.txt", description: "A token that may do everything" },
    {
      command: "holdfast serve token tokens.txt --read-only --prefix public/",
      description: "One that may load what is below public/",
    },
  ]),
)

/** The verb. */
export const serve: Verb<"serve"> = Command.make(
  "serve",
  flags,
  ({ port, host = "127.0.0.1", tokenFile, tokenHash, maxBytes, logLevel, grace = defaultGrace }) =>
    Effect.scoped(Effect.gen(function* () {
      const rules = yield* readRules(tokenFile, tokenHash)
      if (rules.length === 0 && !isLoopback(host)) {
        return yield* Effect.fail(usageError(
          `Without tokens, everybody who reaches ${host} could read and write the store`,
          "make a token with holdfast serve token tokens.txt, and give --token-file tokens.txt",
        ))
      }
      const store = yield* openStore
      // Loaded for this verb alone: the other ones need no server.
      const { makeApp, mount } = yield* Effect.promise(() => import("./serve/app.ts"))
      process.stderr.on("error", () => {})
      const log = new Log(logLevel, (line, written) => process.stderr.write(line, () => written()))
      const app = makeApp(store, { rules, maxBytes, log })
      const name = host.includes(":") ? `[${host}]` : host
      const begin: Effect.Effect<Listening, CommandError> = Effect.tryPromise({
        try: () => listen({ hostname: host, port }, app.answer),
        catch: (cause) => listenError(`${name}:${port}`, cause),
      })
      const end = (server: Listening): Effect.Effect<void> =>
        Effect.promise(async () => {
          app.stopping()
          log.add("info", { event: "stopping", grace })
          await stop(server, grace * 1000, app.idle)
          log.add("info", { event: "stopped" })
        })
      const reload: Effect.Effect<void> = Effect.match(readRules(tokenFile, tokenHash), {
        onSuccess: (rules) => {
          app.admit(rules)
          log.add("info", { event: "reloaded", tokens: rules.length })
        },
        // What was in force stays so. The message names the line and shows nothing of it.
        onFailure: ({ message }) => log.add("error", { event: "not reloaded", problem: message }),
      })
      // On Windows it says that the console is gone, after which the system ends the process.
      if (tokenFile !== undefined && process.platform !== "win32") {
        yield* Effect.acquireRelease(
          Effect.sync(() => onHangup(() => Effect.runPromise(reload))),
          (restore) => Effect.sync(restore),
        )
      }
      const server = yield* Effect.acquireRelease(begin, end)
      const url = `http://${name}:${server.port}${mount}`
      log.add("info", { event: "listening", url, store: store.backend, tokens: rules.length })
      yield* (yield* Json) ? printJson({ url }) : writeOut(`${url}\n`)
      return yield* Effect.never
    })),
).pipe(
  Command.withDescription(
    "Serve the store over HTTP, for programs that are to have no keys of it: their store is http://HOST:PORT/store and\n" +
      "  their token HOLDFAST_TOKEN. Prints the URL; logs go to stderr as lines of JSON, without secrets and, but with\n" +
      "  --log-level debug, without names of objects. /health and /metrics (Prometheus) are there too. Put a server that\n" +
      "  speaks TLS in front of it before others than this machine use it. A signal lets the requests on hand end.",
  ),
  Command.withShortDescription("Serve the store over HTTP"),
  Command.withExamples([
    { command: "holdfast serve --port 8420", description: "For the programs of this machine" },
    {
      command: "holdfast serve --host 0.0.0.0 --token-file tokens.txt --store s3://my-bucket",
      description: "A bucket, for whoever has a token",
    },
  ]),
  Command.withSubcommands([token]),
)
