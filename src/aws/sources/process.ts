/**
 * Credentials that a program prints: the `credential_process` of a profile.
 *
 * The command is split into words and run without a shell, as AWS describes it, so nothing in a profile is ever
 * expanded. What the program prints is never shown.
 *
 * @module
 */
import { sourceError } from "../ask.ts"
import type { Credentials } from "../credentials.ts"
import type { Machine } from "../machine.ts"
import { credentialsFromJson, jsonRecord } from "./source.ts"

/** Milliseconds a program may take; it may ask its user something. */
const timeout = 60_000

/**
 * A command as words: separated by spaces, `"…"` and `'…'` keep spaces, and a backslash keeps a quote, a space or a
 * backslash, and stands for itself elsewhere, as in Windows paths. `undefined` if a quote is not closed.
 */
export const wordsOf = (command: string): ReadonlyArray<string> | undefined => {
  const words: Array<string> = []
  let word: string | undefined
  let quote = ""
  for (let at = 0; at < command.length; at++) {
    const char = command[at]!
    const next = command[at + 1]
    if (quote === "'" ? char === "'" : quote !== "" && char === quote) quote = ""
    else if (char === "\\" && quote !== "'" && next !== undefined && "\"' \\".includes(next)) {
      word = (word ?? "") + next
      at++
    } else if (quote !== "") word = (word ?? "") + char
    else if (char === '"' || char === "'") {
      quote = char
      word ??= ""
    } else if (char === " " || char === "\t") {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? "") + char
  }
  if (quote !== "") return undefined
  return word === undefined ? words : [...words, word]
}

/** Runs `command` and reads what it prints; `where` says in errors which profile it belongs to. */
export const fromProgram = async (machine: Machine, command: string, where: string): Promise<Credentials> => {
  const [program, ...args] = wordsOf(command) ?? []
  if (program === undefined) {
    throw sourceError("Config", `the credential_process of ${where} is empty or has an open quote`)
  }
  const { code, output } = await machine.run(program, args, timeout)
  const who = `the credential_process of ${where}`
  if (code !== 0) {
    const how = code === undefined ? "could not be run, or took too long" : `ended with code ${code}`
    throw sourceError("Unauthorized", `${who} ${how}`, { hint: "run it by hand to see what it says" })
  }
  if (jsonRecord(output, who)["Version"] !== 1) throw sourceError("Protocol", `${who} did not print "Version": 1`)
  return credentialsFromJson(output, who, { token: "SessionToken" })
}
