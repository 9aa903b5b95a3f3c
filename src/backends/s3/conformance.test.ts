import { test } from "bun:test"
import * as Effect from "effect/Effect"
import { conformance, register } from "../conformance.ts"
import { except, open, quick, services } from "./testing.ts"

for (const [name, profile, quirks] of services) {
  const make = () => Effect.map(open({ profile: quick(profile), peer: { quirks } }), ({ backend }) => backend)
  register(test, except(await conformance(`s3 (${name})`, make), name))
}

const under = () => Effect.map(open({ prefix: "some folder/é" }), ({ backend }) => backend)
register(test, except(await conformance("s3 (aws, under a prefix)", under), "prefix"))
