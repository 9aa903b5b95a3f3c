/**
 * The text of AWS's shared files: sections of `name = value`.
 *
 * Comments start a line with `#` or `;`, or follow a value after a space. Indented lines below a name without a
 * value are settings of one service and are skipped. Errors name the file and the line and never show it.
 *
 * @module
 */
import { sourceError } from "./ask.ts"

/** The sections of a file, each a map of values by lower-case name; of two with one name the later value wins. */
export type Sections = ReadonlyMap<string, ReadonlyMap<string, string>>

/** Reads the text of `file`. `Config` for a line that is neither a section nor a value. */
export const parseIni = (text: string, file: string): Sections => {
  const sections = new Map<string, Map<string, string>>()
  let section: Map<string, string> | undefined
  let nested = false
  const lines = text.replace(/^\ufeff/, "").split(/\r\n|[\r\n]/)
  for (const [index, line] of lines.entries()) {
    const wrong = (what: string): Error =>
      sourceError("Config", `line ${index + 1} of ${JSON.stringify(file)} ${what}`, { hint: "correct that line" })
    const content = line.replace(/(?:^|\s)[#;].*$/, "").trim()
    if (content === "") continue
    if (content.startsWith("[")) {
      const name = /^\[([^\]]+)\]$/.exec(content)?.[1]?.trim().replace(/\s+/g, " ")
      if (!name) throw wrong("starts with [ and is not a [section]")
      section = sections.get(name) ?? new Map()
      sections.set(name, section)
      nested = false
      continue
    }
    if (nested && /^\s/.test(line)) continue
    const equals = content.indexOf("=")
    if (equals < 1) throw wrong("is neither a [section] nor name = value")
    if (section === undefined) throw wrong("stands before the first [section]")
    const value = content.slice(equals + 1).trim()
    section.set(content.slice(0, equals).trim().toLowerCase(), value)
    nested = value === ""
  }
  return sections
}
