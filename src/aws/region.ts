/**
 * The region: `AWS_REGION`, else `AWS_DEFAULT_REGION`, else the profile's `region`.
 *
 * @module
 */
import { type Machine, thisMachine } from "./machine.ts"
import { profileName, readProfiles } from "./profiles.ts"

/** Where to look for a region. */
export interface RegionOptions {
  /** The profile. Default: `AWS_PROFILE`, else `default`. */
  readonly profile?: string | undefined
  /** The machine to look on. Default: this one. */
  readonly machine?: Machine | undefined
}

/** The region set on this machine, or `undefined`. The shared files are read only where no variable is set. */
export const resolveRegion = async (options: RegionOptions = {}): Promise<string | undefined> => {
  const machine = options.machine ?? thisMachine
  const set = machine.variable("AWS_REGION") ?? machine.variable("AWS_DEFAULT_REGION")
  return set ?? (navigator.userAgent === "Cloudflare-Workers" ? undefined : await inFiles(machine, options.profile))
}

const inFiles = async (machine: Machine, profile: string | undefined): Promise<string | undefined> => {
  const { byName } = await readProfiles(machine)
  return byName.get(profileName(machine, profile).name)?.get("region") || undefined
}
