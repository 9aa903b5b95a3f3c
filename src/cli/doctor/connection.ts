/**
 * Checks of the way to a service: reach, credentials, clock.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Reason } from "../../error.ts"
import { fromStore } from "../flags.ts"
import type { Bench } from "./bench.ts"
import type { Check } from "./check.ts"
import { failed, type Finding, notHere, ok, wrong } from "./finding.ts"
import { machineIdentity } from "./identity.ts"

/** Reasons of a request that was sent and not answered. */
const silent: ReadonlySet<Reason> = new Set<Reason>(["Unavailable", "Timeout"])

/** Whether the service can be reached, and where the bucket is. */
export const service: Check = {
  name: "service",
  purpose: "read",
  where: "service",
  gate: true,
  run: (bench) =>
    Effect.gen(function* () {
      // The store's own attempts, so that a wrong region or clock has been put right by now if it can be.
      const asked = yield* Effect.result(bench.backend.list({ limit: 1, prefix: bench.prefix }))
      const error = bench.first = asked._tag === "Failure" ? asked.failure : undefined
      const answers = bench.wire?.answers ?? []
      if (error !== undefined && answers.length === 0 && !silent.has(error.reason)) {
        return notHere("no request could be made")
      }
      // Other refusals are answers, too; the checks after this one tell them.
      if (error !== undefined && (silent.has(error.reason) || error.reason === "Config")) return failed(error)
      const region = answers.find((answer) => answer.region !== undefined)?.region
      if (region === undefined) return ok("answers")
      const given = regionOf(bench)
      return ok(
        `answers; the bucket is in ${region}`,
        given === undefined || given === region ? undefined : `write region=${region} in the URL instead of ${given}`,
      )
    }),
}

const regionOf = ({ location }: Bench): string | undefined =>
  location.kind === "s3" ? location.options.region : undefined

/** Who asks, and whether the service knows him. */
export const credentials: Check = {
  name: "credentials",
  purpose: "read",
  where: "service",
  gate: true,
  run: (bench) =>
    Effect.gen(function* () {
      const who = yield* fromStore(() => machineIdentity(bench.location))
      const refused = bench.first
      return refused?.reason === "Unauthorized"
        ? failed(refused.with({ detail: `${who}: ${refused.detail}` }))
        : ok(who)
    }),
}

/** Seconds off beyond which Amazon refuses a signature. Source: S3's RequestTimeTooSkewed, 15 minutes. */
const tolerated = 900
/** Seconds off that are worth a word. */
const noticeable = 60

const judgeClock = (seconds: number): Finding => {
  if (seconds === 0) return ok("this machine's clock agrees with the service's")
  const off = `this machine's clock is ${Math.abs(seconds)} s ${seconds > 0 ? "behind" : "ahead of"} the service's`
  if (Math.abs(seconds) > tolerated) {
    return wrong("Config", off, "set the clock; Holdfast corrects for it, other programs are refused")
  }
  return Math.abs(seconds) > noticeable ? ok(off, "set the clock before it is off by 15 minutes") : ok(off)
}

/** Whether the clocks agree. */
export const clock: Check = {
  name: "clock",
  purpose: "read",
  where: "service",
  run: ({ wire }) => {
    const skew = wire?.answers.findLast((answer) => answer.skew !== undefined)?.skew
    return Effect.succeed(
      skew === undefined ? notHere("the service does not say what time it is") : judgeClock(Math.round(skew / 1000)),
    )
  },
}
