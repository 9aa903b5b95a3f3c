/**
 * The figures of README come from `bench/results/` and from nowhere else.
 *
 * @module
 */
import { readFile, writeFile } from "node:fs/promises"
import { root } from "../scripts/tools.ts"
import { limitLine, type Measured, median, ratio, type Report } from "./harness.ts"

/** The table of a report, as README shows it. */
export const table = (report: Report): string =>
  [
    ...(report.questions.some(({ rows }) => rows.length > 3) ? byClient(report) : byPair(report)),
    "",
    ...(report.limits ?? []).map((limit) => `- ${limitLine(limit)}`),
    ...(report.limits === undefined ? [] : [""]),
    footnote(report),
  ].join("\n")

const rate = (row: Measured): string => `${Math.round(median(row.rates)).toLocaleString("en")} ${row.unit}`

/** A column for each of many others, in the order in which they appear: Holdfast as a multiple of it. */
const byClient = ({ suite, questions }: Report): ReadonlyArray<string> => {
  const names = [...new Set(questions.flatMap(({ rows }) => rows.slice(1).map(({ variant }) => variant)))]
  return [
    `| ${suite}: Holdfast as a multiple of | ${names.join(" | ")} | Holdfast | peak memory |`,
    `|---${"|---".repeat(names.length)}|---|---|`,
    ...questions.map(({ question, rows }) => {
      const holdfast = rows[0]!
      const cells = names.map((name) => {
        const other = rows.find(({ variant }) => variant === name)
        return other === undefined ? "" : `${ratio(holdfast, other).toFixed(2)} ×`
      })
      return `| ${question} | ${cells.join(" | ")} | ${rate(holdfast)} | ${holdfast.peakMiB} MiB |`
    }),
  ]
}

/** Holdfast and the one other, or the last one, of each question. */
const byPair = (report: Report): ReadonlyArray<string> => {
  const names = new Set(report.questions.map(({ rows }) => rows.at(-1)!.variant))
  // One name for all of them goes into the head, else each row has its own.
  const common = names.size === 1 ? [...names][0]! : undefined
  const rows = report.questions.map(({ question, rows }) => {
    const [holdfast, ...others] = rows
    const plain = others.at(-1)!
    const name = plain.variant === common ? "" : ` (${plain.variant})`
    return `| ${question} | ${rate(holdfast!)} | ${rate(plain)}${name} | ${ratio(holdfast!, plain).toFixed(2)} × | ${
      holdfast!.peakMiB
    } MiB |`
  })
  return [
    `| ${report.suite} | Holdfast | ${common ?? "beside it"} | ratio | peak memory |`,
    "|---|---|---|---|---|",
    ...rows,
  ]
}

const footnote = (report: Report): string => {
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`).join(", ")
  return `Medians of ${
    report.questions[0]!.rows[0]!.rates.length
  } interleaved pairs on ${report.machine}; ${versions}; ` +
    `commit ${report.commit}, ${report.date}. Repeat it with \`bun run bench\`.`
}

/** README with the tables of the kept results in it. */
export const withFigures = async (readme: string): Promise<string> => {
  let text = readme
  for (const [block, suite] of readme.matchAll(/<!-- bench:(\w+) -->[\s\S]*?<!-- \/bench -->/g)) {
    const report = JSON.parse(await readFile(`${root}bench/results/${suite}.json`, "utf8")) as Report
    text = text.replace(block, `<!-- bench:${suite} -->\n${table(report)}\n<!-- /bench -->`)
  }
  return text
}

/** Writes the tables into README.md. */
export const writeReadme = async (): Promise<void> => {
  const path = `${root}README.md`
  await writeFile(path, await withFigures(await readFile(path, "utf8")))
}
