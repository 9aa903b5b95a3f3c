/**
 * Credentials of a profile in AWS's shared files: keys, a role, a token, a program, or a sign-in.
 *
 * @module
 */
import { sourceError } from "../ask.ts"
import { Credentials } from "../credentials.ts"
import type { Machine } from "../machine.ts"
import { type Profile, profileName, type Profiles, readProfiles, unknownProfile } from "../profiles.ts"
import { fromContainer } from "./container.ts"
import { fromEnvironment } from "./env.ts"
import { fromInstance } from "./imds.ts"
import { fromProgram } from "./process.ts"
import type { Found, Source } from "./source.ts"
import { fromSso, isSso } from "./sso.ts"
import { assumeRole, type Role } from "./sts.ts"
import { roleForToken } from "./web-identity.ts"

/** The values of `credential_source`. */
const namedSources: ReadonlyMap<string, Source> = new Map([
  ["Environment", fromEnvironment],
  ["EcsContainer", fromContainer],
  ["Ec2InstanceMetadata", fromInstance],
])

/** The profile `option`, else that of `AWS_PROFILE`, else `default`. */
export const fromProfile = async (machine: Machine, option?: string): Promise<Found> => {
  const { name, chosen } = profileName(machine, option)
  const profiles = await readProfiles(machine)
  if (!profiles.byName.has(name)) {
    if (chosen) throw unknownProfile(name, profiles)
    return `there is no profile "default" in ${profiles.files}`
  }
  const found = await resolve(machine, profiles, name, [])
  if (found !== undefined) return found
  const without = `the profile ${JSON.stringify(name)} in ${profiles.files} has no credentials`
  if (chosen) throw sourceError("Config", without, { hint: "give it keys, a role, a credential_process or a sign-in" })
  return without
}

/** Both keys, or `undefined` if there is neither. */
const keysOf = (profile: Profile, where: string): Credentials | undefined => {
  const accessKeyId = profile.get("aws_access_key_id")
  const secretAccessKey = profile.get("aws_secret_access_key")
  if (!accessKeyId && !secretAccessKey) return undefined
  if (!accessKeyId || !secretAccessKey) {
    const missing = accessKeyId ? "aws_secret_access_key" : "aws_access_key_id"
    throw sourceError("Config", `${where} has no ${missing}, but the other key`, { hint: `add ${missing}` })
  }
  return new Credentials({ accessKeyId, secretAccessKey, sessionToken: profile.get("aws_session_token") })
}

/** The credentials of the profile `name`; `via` are the profiles that led here. `undefined` if it has none. */
const resolve = async (
  machine: Machine,
  profiles: Profiles,
  name: string,
  via: ReadonlyArray<string>,
): Promise<Credentials | undefined> => {
  const profile = profiles.byName.get(name)
  if (profile === undefined) throw unknownProfile(name, profiles)
  const where = `the profile ${JSON.stringify(name)}`
  // Where a role names itself or an earlier profile as its source, that profile's own keys are meant.
  if (via.length > 0) {
    const keys = keysOf(profile, where)
    if (keys !== undefined) return keys
  }
  if (via.includes(name)) {
    throw sourceError("Config", `the profiles ${[...via, name].join(" → ")} are each other's source_profile`)
  }
  const arn = profile.get("role_arn")
  const tokenFile = profile.get("web_identity_token_file")
  const role = (): Role => ({
    arn: arn!,
    sessionName: profile.get("role_session_name") || undefined,
    externalId: profile.get("external_id") || undefined,
    seconds: profile.get("duration_seconds") || undefined,
    region: profile.get("region") || machine.variable("AWS_REGION") || machine.variable("AWS_DEFAULT_REGION"),
  })
  if (arn && tokenFile) return await roleForToken(machine, role(), tokenFile)
  if (arn) {
    if (profile.has("mfa_serial")) {
      throw sourceError("Unsupported", `${where} asks for a code of a second factor, which a program cannot give`, {
        hint: "use credential_process = aws configure export-credentials, or a role without mfa_serial",
      })
    }
    return await assumeRole(machine, role(), await sourceOf(machine, profiles, name, profile, via))
  }
  const keys = keysOf(profile, where)
  if (keys !== undefined) return keys
  const command = profile.get("credential_process")
  if (command) return await fromProgram(machine, command, where)
  return isSso(profile) ? await fromSso(name) : undefined
}

/** With what the role of a profile is assumed. */
const sourceOf = async (
  machine: Machine,
  profiles: Profiles,
  name: string,
  profile: Profile,
  via: ReadonlyArray<string>,
): Promise<Credentials> => {
  const where = `the profile ${JSON.stringify(name)}`
  const source = profile.get("source_profile")
  const named = profile.get("credential_source")
  if (source && named) throw sourceError("Config", `${where} has both source_profile and credential_source; keep one`)
  if (source) {
    const found = await resolve(machine, profiles, source, [...via, name])
    if (found !== undefined) return found
    throw sourceError("Config", `the profile ${JSON.stringify(source)} has no credentials, and ${where} needs them`)
  }
  if (!named) throw sourceError("Config", `${where} has role_arn, but neither source_profile nor credential_source`)
  const ask = namedSources.get(named)
  if (ask === undefined) {
    const known = [...namedSources.keys()].join(", ")
    throw sourceError("Config", `${where} has the credential_source ${JSON.stringify(named)}; known are ${known}`)
  }
  const found = await ask(machine)
  if (typeof found !== "string") return found
  throw sourceError("Unauthorized", `${where} takes its credentials from ${named}: ${found}`)
}
