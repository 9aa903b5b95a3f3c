/**
 * The profiles of `~/.aws/config` and `~/.aws/credentials`, put together. `AWS_CONFIG_FILE` and
 * `AWS_SHARED_CREDENTIALS_FILE` name other files; `AWS_PROFILE` another profile than `default`.
 *
 * @module
 */
import { StoreError } from "../error.ts"
import { sourceError } from "./ask.ts"
import { parseIni, type Sections } from "./ini.ts"
import type { Machine } from "./machine.ts"

/** The settings of one profile, by lower-case name. */
export type Profile = ReadonlyMap<string, string>

/** All profiles. */
export interface Profiles {
  /** By name. */
  readonly byName: ReadonlyMap<string, Profile>
  /** The files, for messages; one that is missing is said to be. */
  readonly files: string
}

const homeOf = (machine: Machine): string | undefined => machine.variable("HOME") ?? machine.variable("USERPROFILE")

const pathOf = (machine: Machine, variable: string, name: string): string | undefined => {
  const home = homeOf(machine)
  const given = machine.variable(variable)
  if (given === undefined) return home === undefined ? undefined : `${home}/.aws/${name}`
  return /^~[/\\]/.test(given) && home !== undefined ? home + given.slice(1) : given
}

/** The text of a file, and how to speak of it. A default file that may not be read counts as missing. */
const read = async (
  machine: Machine,
  variable: string,
  name: string,
): Promise<{ sections: Sections; said: string }> => {
  const path = pathOf(machine, variable, name)
  if (path === undefined) return { sections: new Map(), said: `~/.aws/${name} (no home folder)` }
  try {
    const text = await machine.readText(path)
    return text === undefined
      ? { sections: new Map(), said: `${path} (not there)` }
      : { sections: parseIni(text, path), said: path }
  } catch (error) {
    const named = machine.variable(variable) !== undefined
    if (named || !StoreError.is(error) || !["Forbidden", "Unsupported"].includes(error.reason)) throw error
    return { sections: new Map(), said: `${path} (${error.detail})` }
  }
}

/** The profile a section of the config file is about: `profile "a b"` → `a b`. Other sections are about other things. */
const nameIn = (section: string): string | undefined =>
  section === "default" ? section : /^profile (["']?)(.+)\1$/.exec(section)?.[2]

/** Reads both files, where they exist. What the credentials file says wins. */
export const readProfiles = async (machine: Machine): Promise<Profiles> => {
  const config = await read(machine, "AWS_CONFIG_FILE", "config")
  const credentials = await read(machine, "AWS_SHARED_CREDENTIALS_FILE", "credentials")
  const byName = new Map<string, Map<string, string>>()
  const add = (name: string, values: Profile): void => {
    byName.set(name, new Map([...byName.get(name) ?? [], ...values]))
  }
  for (const [section, values] of config.sections) {
    const name = nameIn(section)
    if (name !== undefined) add(name, values)
  }
  for (const [name, values] of credentials.sections) add(name, values)
  return { byName, files: `${credentials.said}, ${config.said}` }
}

/** The name of the profile to use, and whether someone chose it. */
export const profileName = (machine: Machine, option?: string): { readonly name: string; readonly chosen: boolean } => {
  const name = option ?? machine.variable("AWS_PROFILE")
  return { name: name ?? "default", chosen: name !== undefined }
}

/** The error for a profile that does not exist. */
export const unknownProfile = (name: string, profiles: Profiles): StoreError => {
  const names = [...profiles.byName.keys()].sort()
  const near = names.filter((other) => other.toLowerCase().startsWith(name.slice(0, 2).toLowerCase()))
  const shown = (near.length > 0 ? near : names).slice(0, 10).map((other) => JSON.stringify(other)).join(", ")
  return sourceError("Config", `there is no profile ${JSON.stringify(name)} in ${profiles.files}`, {
    hint: shown === "" ? "run aws configure, or unset AWS_PROFILE" : `use one of ${shown}`,
  })
}
