/**
 * Credentials from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, read at each call;
 * `AWS_CREDENTIAL_EXPIRATION`, which AWS's command exports beside them, says when they end.
 *
 * @module
 */
import { sourceError } from "../ask.ts"
import { Credentials } from "../credentials.ts"
import type { Found, Source } from "./source.ts"

/** Reads the environment. One key without the other is `Config`: someone meant to give both. */
export const fromEnvironment: Source = (machine): Promise<Found> => {
  const accessKeyId = machine.variable("AWS_ACCESS_KEY_ID")
  const secretAccessKey = machine.variable("AWS_SECRET_ACCESS_KEY")
  if (accessKeyId === undefined && secretAccessKey === undefined) return Promise.resolve("AWS_ACCESS_KEY_ID is not set")
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    const [there, missing] = accessKeyId === undefined
      ? ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"]
      : ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    return Promise.reject(
      sourceError("Config", `${there} is set, but ${missing} is not`, {
        hint: `set ${missing} too, or unset ${there}`,
      }),
    )
  }
  const sessionToken = machine.variable("AWS_SESSION_TOKEN")
  const ends = machine.variable("AWS_CREDENTIAL_EXPIRATION")
  const expiration = ends === undefined ? undefined : new Date(ends)
  return Promise.resolve().then(() => new Credentials({ accessKeyId, secretAccessKey, sessionToken, expiration }))
}
