/**
 * Bearer tokens, compared so that the time it takes says nothing about how much of a guess was right.
 *
 * @module
 */

const digest = async (text: string): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)))

/**
 * Whether a request carries this bearer token (RFC 6750). Both are hashed before they are compared. An empty `token`,
 * such as an unset variable leaves, is never right.
 */
export const bearerIs = async (request: Request, token: string): Promise<boolean> => {
  const given = /^Bearer ([\x21-\x7e]+)$/i.exec(request.headers.get("authorization") ?? "")?.[1]
  if (given === undefined || token === "") return false
  const [a, b] = await Promise.all([digest(given), digest(token)])
  return a.reduce((difference, byte, i) => difference | byte ^ (b[i] ?? 0), 0) === 0
}
