/**
 * Credentials of an ECS task, an EKS pod identity, or whatever else sets `AWS_CONTAINER_CREDENTIALS_*`.
 *
 * @module
 */
import { ask, sourceError, statusError } from "../ask.ts"
import type { Machine } from "../machine.ts"
import { credentialsFromJson, type Found, type Source } from "./source.ts"

const who = "the container's credential service"

/** Where ECS answers relative addresses. */
const ecs = "http://169.254.170.2"

/** Milliseconds for one call. The variables say that the service is there, so it gets more time than a guess does. */
const timeout = 5000

/**
 * Hosts that may be asked without TLS: this machine, and the link-local addresses of ECS and EKS. A URL parser has
 * been over the name, so that `127.1`, `0x7f000001` and the like are seen for what they are.
 */
const mayBePlain = (hostname: string): boolean =>
  /^127\.\d+\.\d+\.\d+$/.test(hostname) ||
  ["localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"].includes(hostname)

const addressOf = (machine: Machine): string | undefined => {
  const relative = machine.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
  if (relative !== undefined) {
    // Anything else could turn the host in front into a user name: "@other.example".
    if (relative.startsWith("/")) return ecs + relative
    throw sourceError("Config", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not start with /")
  }
  const full = machine.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")
  if (full === undefined) return undefined
  if (!URL.canParse(full)) throw sourceError("Config", "AWS_CONTAINER_CREDENTIALS_FULL_URI is not a URL")
  const { protocol, hostname } = new URL(full)
  if (protocol === "https:" || protocol === "http:" && mayBePlain(hostname)) return full
  throw sourceError("Config", `AWS_CONTAINER_CREDENTIALS_FULL_URI leads to ${JSON.stringify(hostname)} without TLS`, {
    hint: "use https, or an address of this machine, ECS (169.254.170.2) or EKS (169.254.170.23)",
  })
}

const tokenOf = async (machine: Machine): Promise<string | undefined> => {
  const file = machine.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
  const token = file === undefined
    ? machine.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    : (await machine.readText(file))?.trim()
  if (file !== undefined && !token) {
    throw sourceError("Config", `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names ${JSON.stringify(file)}, which is empty`)
  }
  if (token !== undefined && !/^[\x20-\x7e]+$/.test(token)) {
    throw sourceError("Config", "the container's authorization token holds a line end or a character that is not ASCII")
  }
  return token
}

/** Asks the container's credential service; the token file is read anew each time, since it is rotated. */
export const fromContainer: Source = async (machine): Promise<Found> => {
  const address = addressOf(machine)
  if (address === undefined) return "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set"
  const token = await tokenOf(machine)
  const headers: Record<string, string> = { accept: "application/json" }
  if (token !== undefined) headers["authorization"] = token
  const { status, text } = await ask(machine, who, address, { headers }, timeout)
  if (status !== 200) throw statusError(who, status)
  return credentialsFromJson(text, who, { token: "Token" })
}
