/**
 * Checks of what one may do with objects: list, save, look, load, remove; and that a list is up to date.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { StoreError } from "../../error.ts"
import { type Bench, keyOf, put, readAll, sameBytes } from "./bench.ts"
import type { Check } from "./check.ts"
import { failed, notHere, ok, wrong } from "./finding.ts"

const text = "a probe of holdfast doctor, to be removed by it"

const nothing = notHere("there is no object to try it on")

/** Listing. */
export const list: Check = {
  name: "list",
  purpose: "read",
  run: (bench) =>
    Effect.map(bench.backend.list({ limit: 1 }), ({ objects }) => {
      const entry = objects[0]
      if (entry !== undefined) bench.sample = { key: entry.key, bytes: undefined, info: undefined }
      return ok("works")
    }),
}

/** Saving. */
export const save: Check = {
  name: "save",
  purpose: "write",
  run: (bench) => {
    const key = keyOf(bench, "object")
    const encryption = bench.location.kind === "s3" ? bench.location.encryption : undefined
    return Effect.map(put(bench, key, text, encryption?.type === "sse-c" ? {} : { encryption }), (info) => {
      bench.sample = { key, bytes: new TextEncoder().encode(text), info }
      return ok(bench.location.kind === "disk" ? "works, and the bytes are flushed to the disk" : "works")
    })
  },
}

/** Facts of an object. */
export const stat: Check = {
  name: "stat",
  purpose: "read",
  run: ({ sample, backend }) =>
    sample === undefined ? Effect.succeed(nothing) : Effect.map(
      backend.stat(sample.key),
      (info) =>
        sample.info !== undefined && info.writeId !== sample.info.writeId
          ? wrong(
            "Protocol",
            "the object that was saved is not the one that is there",
            "check that no proxy keeps answers or drops x-amz-meta headers",
          )
          : ok("works"),
    ),
}

/** Loading. Of an object that is not of the test, no more than a byte. */
export const load: Check = {
  name: "load",
  purpose: "read",
  run: ({ sample, backend }) =>
    Effect.gen(function* () {
      if (sample === undefined) return nothing
      const { bytes } = sample
      if (bytes === undefined) {
        const got = yield* Effect.result(backend.get(sample.key, { length: 1 }))
        if (got._tag === "Success") yield* Effect.promise(() => got.success.body.cancel().catch(() => undefined))
        // An empty object has no first byte.
        return got._tag === "Failure" && got.failure.reason !== "RangeNotSatisfiable"
          ? failed(got.failure)
          : ok("works")
      }
      const { body } = yield* backend.get(sample.key)
      return sameBytes(yield* readAll(body), bytes)
        ? ok("gives back what was saved")
        : wrong("Corrupt", "other bytes came back than were saved", "check that no proxy changes bodies")
    }),
}

const listed = (bench: Bench, key: string): Effect.Effect<boolean, StoreError> =>
  Effect.map(bench.backend.list({ prefix: key }), ({ objects }) => objects.some((entry) => entry.key === key))

/** Whether a list knows what has just been saved and removed. */
export const freshList: Check = {
  name: "list after save",
  purpose: "write",
  run: (bench) =>
    Effect.gen(function* () {
      const key = keyOf(bench, "fresh")
      yield* put(bench, key, text)
      const appeared = yield* listed(bench, key)
      yield* bench.backend.remove(key)
      const vanished = !(yield* listed(bench, key))
      return appeared && vanished ? ok("a list is up to date at once") : wrong(
        "Conflict",
        appeared ? "an object that was removed is still listed" : "an object that was saved is not listed at once",
        "this service's lists lag behind: do not decide by them what is there, use stat",
      )
    }),
}

/** Removing. */
export const remove: Check = {
  name: "remove",
  purpose: "write",
  run: (bench) =>
    Effect.gen(function* () {
      const key = keyOf(bench, "removed")
      yield* put(bench, key, text)
      yield* bench.backend.remove(key)
      const found = yield* Effect.result(bench.backend.stat(key))
      if (found._tag === "Failure" && found.failure.reason !== "NotFound") return failed(found.failure)
      return found._tag === "Failure"
        ? ok("works")
        : wrong("Conflict", "an object is still there after its removal", "check that no proxy keeps answers")
    }),
}

/** Requests for people without credentials. */
export const presign: Check = {
  name: "presign",
  purpose: "read",
  run: ({ backend, sample }) =>
    Effect.gen(function* () {
      if (backend.presign === undefined) return notHere("the store has no such thing")
      if (sample === undefined) return nothing
      const request = yield* backend.presign("GET", sample.key, { expires: 60 })
      const status = yield* Effect.tryPromise({
        try: async () => {
          const response = await fetch(request.url, { headers: request.headers, redirect: "manual" })
          await response.body?.cancel()
          return response.status
        },
        catch: () => undefined,
      }).pipe(Effect.orElseSucceed(() => undefined))
      return status === 200 ? ok("a URL works without credentials") : wrong(
        "Forbidden",
        `a presigned URL is refused${status === undefined ? "" : ` with status ${status}`}`,
        "check for a bucket policy that denies requests signed in the query (s3:authType)",
      )
    }),
}
