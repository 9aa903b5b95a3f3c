/**
 * The figures of README come from `bench/results/` and from nowhere else.
 *
 * @module
 */
import { readFile, writeFile } from "node:fs/promises"
import { root } from "../scripts/tools.ts"
import { limitLine, type Measured, median, ratio, type Report, requestsLine } from "./harness.ts"

/** The table of a report, as README shows it. */
export const table = (report: Report): string =>
  [
    ...(report.suite === "agents" ? byPlace(report) : [
      ...report.questions.some(({ rows }) => rows.length > 3) ? byClient(report) : byPair(report),
      ...limits(report),
    ]),
    "",
    footnote(report),
  ].join("\n")

const limits = ({ limits }: Report): ReadonlyArray<string> =>
  limits === undefined ? [] : ["", ...limits.map((limit) => `- ${limitLine(limit)}`)]

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

/** A column for each place, and one for the requests, which all places should need alike; then tables of savers. */
const byPlace = ({ suite, questions }: Report): ReadonlyArray<string> => {
  const steps = questions.filter(({ rows }) => rows[0]!.unit !== "turns/s")
  const places = steps[0]!.rows.map(({ variant }) => variant)
  return [
    `| ${suite} | ${places.join(" | ")} | requests |`,
    `|---${"|---".repeat(places.length)}|---|`,
    ...steps.map(({ question, rows }) => {
      const requests = [...new Set(rows.map(requestsLine))].join("; ")
      return `| ${question} | ${rows.map(rate).join(" | ")} | ${requests} |`
    }),
    ...questions.filter((question) => !steps.includes(question)).flatMap(bySaver),
  ]
}

const bySaver = ({ question, rows }: Report["questions"][number]): ReadonlyArray<string> => [
  "",
  `| ${question} | speed | ${rows[0]!.variant} to it | processor | stored |`,
  "|---|---|---|---|---|",
  ...rows.map((row) => {
    const stored = row.storedMiB === undefined ? "" : `${row.storedMiB} MiB`
    const multiple = row === rows[0] ? "" : `${ratio(rows[0]!, row).toFixed(2)} ×`
    return `| ${row.variant} | ${rate(row)} | ${multiple} | ${row.cpuSeconds.toFixed(1)} s | ${stored} |`
  }),
]

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
