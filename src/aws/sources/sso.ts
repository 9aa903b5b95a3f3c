/**
 * Profiles of AWS IAM Identity Center (`sso_session`, `sso_start_url`) and of `aws login`. Their token cache and
 * renewal belong to AWS's tools, so they are left to `@aws-sdk/credential-providers`, loaded when it is needed.
 *
 * @module
 */
import { StoreError } from "../../error.ts"
import { sourceError } from "../ask.ts"
import { type Credentials, type CredentialsLike, credentialsOf } from "../credentials.ts"

/** The part of the package that is used. */
interface CredentialProviders {
  readonly fromIni: (options: { readonly profile: string }) => () => Promise<CredentialsLike>
}

/** In a variable, so that no bundler and no type checker looks for a package that need not be there. */
const peer = "@aws-sdk/credential-providers"

/** Loads the optional package. */
export const loadPeer = (): Promise<CredentialProviders> => import(peer) as Promise<CredentialProviders>

/** Whether a profile is one of those. */
export const isSso = (profile: ReadonlyMap<string, string>): boolean =>
  profile.has("sso_session") || profile.has("sso_start_url") || profile.has("login_session")

/** The credentials of the profile `name`. `Config` if the package is not installed. */
export const fromSso = async (
  name: string,
  load: () => Promise<CredentialProviders> = loadPeer,
): Promise<Credentials> => {
  let providers: CredentialProviders
  try {
    providers = await load()
  } catch (cause) {
    throw sourceError("Config", `the profile ${JSON.stringify(name)} signs in through AWS, which takes ${peer}`, {
      hint: `install ${peer}, or use credential_process = aws configure export-credentials --profile ${name}`,
      cause,
    })
  }
  try {
    return credentialsOf(await providers.fromIni({ profile: name })())
  } catch (cause) {
    if (StoreError.is(cause)) throw cause
    throw sourceError("Unauthorized", `signing in with the profile ${JSON.stringify(name)} failed`, {
      hint: `run aws sso login --profile ${name}`,
      cause,
    })
  }
}
