/**
 * `holdfast presign KEY`
 *
 * @module
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { Json, openStore, seconds, text, type Verb, versionId } from "./flags.ts"
import { printJson, writeErr, writeOut } from "./output.ts"

const flags = {
  key: Argument.String("KEY").pipe(Argument.withDescription("Name of the object")),
  method: Flag.Literals("method", ["GET", "PUT", "HEAD", "DELETE"]).pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("What the URL is for: GET (default), PUT, HEAD or DELETE"),
    Flag.withDefault("GET" as const),
  ),
  expires: seconds("expires", "For how long it works, up to 7d. Default: 15m"),
  contentType: text("content-type", "TYPE", "With PUT: the media type that the request must have"),
  versionId,
}

/** The verb. */
export const presign: Verb<"presign"> = Command.make(
  "presign",
  flags,
  ({ key, method, expires, ...options }) =>
    Effect.scoped(Effect.gen(function* () {
      const store = yield* openStore
      const request = yield* store.presign(method, key, {
        ...options,
        expires: expires === undefined ? undefined : expires * 1000,
      })
      if (yield* Json) return yield* printJson(request)
      yield* writeOut(`${request.url}\n`)
      // On stderr, so that the URL alone can be put into a variable.
      for (const [name, value] of Object.entries(request.headers)) {
        yield* writeErr(`the request must carry this header: ${name}: ${value}\n`)
      }
    })),
).pipe(
  Command.withDescription(
    "Print a URL with which others can load, save or remove one object without credentials until it expires.\n" +
      "  Treat it like a password. The store is not asked: whether the object is there shows when the URL is used.\n" +
      "  A GET gives the stored bytes as they are, so save with --compression none what a browser is to read.",
  ),
  Command.withShortDescription("Print a URL that works without credentials for a while"),
  Command.withExamples([
    {
      command: "holdfast presign notes/hello --expires 1h --store s3://my-bucket",
      description: "Let somebody load an object for an hour",
    },
    {
      command: "holdfast presign notes/new --method PUT --store s3://my-bucket",
      description: "Let somebody save one: curl -T FILE URL",
    },
  ]),
)
