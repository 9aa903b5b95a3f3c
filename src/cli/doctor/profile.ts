/**
 * Whether the profile of the store says of the service what was seen of it.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { type Profile, profiles } from "../../backends/s3/mod.ts"
import type { Observed } from "./bench.ts"
import type { Check } from "./check.ts"
import { notHere, ok, wrong } from "./finding.ts"

const conditions = ["create", "replace", "complete", "copy", "remove"] as const

/** What a profile counts on and the service does not do. */
const contradictions = ({ conditional, quotedIfMatch, parts }: Profile, seen: Observed): ReadonlyArray<string> => [
  ...conditions.filter((name) => conditional[name] && seen[name] === false).map((name) => `${name} is ignored`),
  ...(conditional.replace && seen.quotedIfMatch === !quotedIfMatch ? ["etags have the other form"] : []),
  ...(seen.equalSize === true && !parts.equalSize ? ["parts must be equal"] : []),
]

/** Conditions that the service checks and a profile does not count on. */
const unused = ({ conditional }: Profile, seen: Observed): ReadonlyArray<string> =>
  conditions.filter((name) => seen[name] === true && !conditional[name])

/** How much of what a service does a profile leaves unused. */
const waste = (profile: Profile, seen: Observed): number =>
  2 * unused(profile, seen).length + (profile.parts.equalSize === seen.equalSize ? 0 : 1)

/** The profile that makes the most of the service without counting on what it does not do, if there is a better one. */
const betterFor = (used: Profile, seen: Observed): string | undefined => {
  // Of those that are as good, the first one: the one that counts on least.
  const { generic, ...named } = profiles
  const [best] = Object.entries({ generic, ...named }).filter(([, one]) => contradictions(one, seen).length === 0)
    .toSorted(([, one], [, other]) => waste(one, seen) - waste(other, seen))
  if (best === undefined) return undefined
  const better = contradictions(used, seen).length > 0 || waste(best[1], seen) < waste(used, seen)
  return better ? best[0] : undefined
}

/** Names the profile that fits, where another one does. */
export const profile: Check = {
  name: "profile",
  purpose: "write",
  where: "service",
  run: ({ profile: used, observed, location }) =>
    Effect.sync(() => {
      if (used === undefined || location.kind !== "s3") return notHere("the store has no other profile")
      const against = contradictions(used, observed)
      const more = unused(used, observed)
      const other = betterFor(used, observed)
      const advice = other === undefined ? undefined : `try profile=${other} in the URL, and run doctor again with it`
      if (against.length > 0) {
        const hint = advice ?? "give a profile of your own in code"
        return wrong("Config", `it is that of ${used.name}, but ${against.join(", ")}`, hint)
      }
      return more.length === 0
        ? ok(`${used.name}, and nothing speaks against it`)
        : ok(`${used.name}, but this service can do more: ${more.join(", ")}`, advice)
    }),
}
