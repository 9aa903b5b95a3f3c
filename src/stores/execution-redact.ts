/**
 * What of a run setting is secret, and the setting without it.
 *
 * @module
 */
import type { StoredRunSetting } from "./execution-settings.ts"

/** What stands in the place of a secret. */
export const redactedText = "[redacted]"

/** Names of a provider's settings that hold secrets: `apiKey`, `secretAccessKey`, `sessionToken` and their like. */
const secretName = /key|secret|token|password|credential/i

/**
 * A run setting without its secrets: the keys and headers of the provider, the key of Perstack's service, the values
 * of all variables, and a proxy with a user in it. Its `redacted` names what has been kept out, and what was kept out
 * before.
 */
export const redactRunSetting = <A extends StoredRunSetting>(setting: A): A => {
  const names = new Set(setting.redacted)
  const hide = (name: string, value: unknown): unknown => {
    if (value === undefined) return value
    names.add(name)
    return redactedText
  }
  const hideAll = (path: string, values: object): Record<string, unknown> =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, hide(`${path}.${name}`, value)]))
  const provider = Object.entries(setting.providerConfig).map(([name, value]) => {
    const path = `providerConfig.${name}`
    if (name === "headers" && typeof value === "object" && value !== null) return [name, hideAll(path, value)]
    const userInfo = typeof value === "string" && hasUserInfo(value)
    return [name, secretName.test(name) || userInfo ? hide(path, value) : value]
  })
  const { perstackApiKey, proxyUrl } = setting
  const clean = {
    ...setting,
    providerConfig: Object.fromEntries(provider),
    env: hideAll("env", setting.env),
    ...(perstackApiKey === undefined ? {} : { perstackApiKey: hide("perstackApiKey", perstackApiKey) }),
    ...(proxyUrl === undefined || !hasUserInfo(proxyUrl) ? {} : { proxyUrl: hide("proxyUrl", proxyUrl) }),
  }
  return names.size === 0 ? clean : { ...clean, redacted: [...names] }
}

/** Whether a URL holds a user or a password. */
const hasUserInfo = (url: string): boolean => /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*@/i.test(url)
