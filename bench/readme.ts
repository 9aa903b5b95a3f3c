/**
 * The figures of README come from `bench/results/` and from nowhere else.
 *
 * @module
 */
import { readFile, writeFile } from "node:fs/promises"
import { root } from "../scripts/tools.ts"
import { median, ratio, type Report } from "./harness.ts"

/** The table of a report, as README shows it. */
export const table = (report: Report): string => {
  const names = new Set(report.questions.map(({ rows }) => rows.at(-1)!.variant))
  // One name for all of them goes into the head, else each row has its own.
  const common = names.size === 1 ? [...names][0]! : undefined
  const rows = report.questions.map(({ question, rows }) => {
    const [holdfast, ...others] = rows
    const plain = others.at(-1)!
    const rate = (value: number): string => `${Math.round(value).toLocaleString("en")} ${holdfast!.unit}`
    const name = plain.variant === common ? "" : ` (${plain.variant})`
    return `| ${question} | ${rate(median(holdfast!.rates))} | ${rate(median(plain.rates))}${name} | ${
      ratio(holdfast!, plain).toFixed(2)
    } × | ${holdfast!.peakMiB} MiB |`
  })
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`).join(", ")
  return [
    `| ${report.suite} | Holdfast | ${common ?? "beside it"} | ratio | peak memory |`,
    "|---|---|---|---|---|",
    ...rows,
    "",
    `Medians of ${report.questions[0]!.rows[0]!.rates.length} interleaved pairs on ${report.machine}; ${versions}; ` +
    `commit ${report.commit}, ${report.date}. Repeat it with \`bun run bench\`.`,
  ].join("\n")
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
