/**
 * Where this machine's credentials come from.
 *
 * @module
 */
import type { Credentials } from "../../aws/credentials.ts"
import { thisMachine } from "../../aws/machine.ts"
import { fromContainer } from "../../aws/sources/container.ts"
import { fromEnvironment } from "../../aws/sources/env.ts"
import { fromInstance } from "../../aws/sources/imds.ts"
import { fromProfile } from "../../aws/sources/profile.ts"
import type { Source } from "../../aws/sources/source.ts"
import { fromWebIdentity } from "../../aws/sources/web-identity.ts"
import { StoreError } from "../../error.ts"
import type { Location } from "../../store-url.ts"

/** The order of `src/aws/chain.ts`, in words for people. */
const places: ReadonlyArray<readonly [name: string, source: Source]> = [
  ["the environment (AWS_ACCESS_KEY_ID)", fromEnvironment],
  ["a web identity (AWS_ROLE_ARN)", fromWebIdentity],
  ["a profile of AWS's files", (machine) => fromProfile(machine)],
  ["the container's role", fromContainer],
  ["the instance's role", fromInstance],
]

const shown = ({ accessKeyId, expiration }: Credentials, place: string): string =>
  `the key ${accessKeyId.slice(0, 4)}… from ${place}` +
  (expiration === undefined ? "" : `, until ${expiration.toISOString()}`)

/** Who signs, without a secret. Fails as the store itself would where nobody does. */
export const machineIdentity = async (location: Location): Promise<string> => {
  if (location.kind === "remote") return location.options.token === undefined ? "none: no token is sent" : "a token"
  if (location.kind !== "s3" && location.kind !== "r2") return "none: nobody is asked"
  const { options } = location
  if ("credentials" in options && options.credentials === "anonymous") return "none: requests are not signed"
  if (options.accessKeyId !== undefined) {
    return `the key ${
      options.accessKeyId.slice(0, 4)
    }… from the environment (${location.kind.toUpperCase()}_ACCESS_KEY_ID)`
  }
  for (const [place, source] of places) {
    const found = await source(thisMachine)
    if (typeof found !== "string") return shown(found, place)
  }
  throw new StoreError({
    reason: "Unauthorized",
    detail: "AWS credentials not found",
    hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run aws configure",
    operation: "doctor",
  })
}
