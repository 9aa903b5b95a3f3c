/**
 * Leaving things out of a snapshot before it is hashed and written.
 *
 * @module
 */

/**
 * What is not to be stored: paths such as `"user.email"` or `"tools.*.token"` (`*`: any one key or index), which are
 * left out; or a function that gets each value with its path and returns what to store in its place, `undefined` to
 * leave it out. The function sees a value before what is inside of it.
 */
export type Redact =
  | ReadonlyArray<string>
  | ((value: unknown, path: ReadonlyArray<string>) => unknown)

/** A plain JSON value without what is not to be stored. */
export const redacted = (value: unknown, redact: Redact): unknown => {
  if (typeof redact === "function") return walk(value, [], redact)
  const patterns = redact.map((path) => path.split("."))
  return walk(
    value,
    [],
    (inner, path) => patterns.some((pattern) => matches(pattern, path)) ? undefined : inner,
  )
}

const matches = (pattern: ReadonlyArray<string>, path: ReadonlyArray<string>): boolean =>
  pattern.length === path.length && pattern.every((part, i) => part === "*" || part === path[i])

const walk = (
  value: unknown,
  path: ReadonlyArray<string>,
  change: (value: unknown, path: ReadonlyArray<string>) => unknown,
): unknown => {
  const changed = change(value, path)
  if (typeof changed !== "object" || changed === null) return changed
  if (Array.isArray(changed)) {
    return changed.map((element: unknown, i) => walk(element, [...path, String(i)], change))
      .filter((element) => element !== undefined)
  }
  const entries = Object.entries(changed).map(([key, inner]) => [key, walk(inner, [...path, key], change)] as const)
  return Object.fromEntries(entries.filter(([, inner]) => inner !== undefined))
}
