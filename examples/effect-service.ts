/**
 * An agent's state in S3 from Effect code: the layer says where, how often calls are tried again and which key encrypts;
 * the program does not know. It runs against a service in this process; leave out `fetch` for a real bucket.
 *
 * Run it: bun examples/effect-service.ts, or deno run -A examples/effect-service.ts
 */
import { ObjectStore, type StoreError } from "@holdfast/holdfast"
import * as S3 from "@holdfast/holdfast/s3"
import { makeS3Peer, peerCredentials } from "@holdfast/holdfast/testing"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

/** Adds one to a counter that others count with as well: load, change, save if nobody was faster. */
const increment: Effect.Effect<number, StoreError, ObjectStore> = Effect.gen(function* () {
  const store = yield* ObjectStore
  const loaded = yield* store.load("runs/7/steps")
  const steps = Number(yield* Effect.promise(() => loaded.text())) + 1
  yield* store.save("runs/7/steps", String(steps), { ifMatch: loaded.info.etag })
  return steps
}).pipe(Effect.retry({ times: 20, while: (error) => error.reason === "PreconditionFailed" }))

const program = Effect.gen(function* () {
  const store = yield* ObjectStore
  yield* store.save("runs/7/steps", "0", { ifNoneMatch: "*" })
  yield* Effect.all(Array.from({ length: 5 }, () => increment), { concurrency: 5 })
  const { encryption } = yield* store.stat("runs/7/steps")
  const loaded = yield* store.load("runs/7/steps")
  const steps = yield* Effect.promise(() => loaded.text())
  console.log(`${steps} steps, encrypted with ${encryption?.type} under ${encryption?.keyId}`)
})

// The service fails now and then, as they do.
const keyId = "arn:aws:kms:us-east-1:123456789012:key/agents"
const peer = makeS3Peer({
  buckets: ["agents"],
  kmsKeys: [keyId],
  seed: 7,
  rules: [{ fault: { kind: "error", status: 503, code: "SlowDown" }, probability: 0.2 }],
})
const live = S3.layer({
  bucket: "agents",
  region: "us-east-1",
  ...peerCredentials,
  fetch: peer.fetch,
  encryption: { type: "sse-kms", keyId, context: { team: "research" }, bucketKey: true },
  policy: { retry: Schedule.exponential("5 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 10 })) },
})
await Effect.runPromise(Effect.provide(program, live))
