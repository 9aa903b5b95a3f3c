/**
 * The stored form of LangGraph's values: one line of JSON that says what follows, then the serializer's bytes as they
 * are, one value after the other.
 *
 * Nothing is escaped or encoded twice, and `head -n 1` shows what an object is.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import type { RecordFormat } from "../stores/records.ts"

/** A value as the serializer has written it. */
export interface Section {
  /** What it is: a channel's name, `"checkpoint"` or `"metadata"`. */
  readonly name: string
  /** The serializer's word for how to read it: `"json"`, `"bytes"`. */
  readonly type: string
  /** Its bytes. */
  readonly bytes: Uint8Array
  /** Of a write: its number within the task; below zero for LangGraph's own channels. */
  readonly index?: number | undefined
  /** Of a write: where in the graph its task is. */
  readonly path?: string | undefined
}

/** An object of the saver. */
export interface Frame {
  /** The thread. */
  readonly thread: string
  /** The namespace. */
  readonly namespace: string
  /** The checkpoint. */
  readonly checkpoint: string
  /** Of a checkpoint: the one it follows. */
  readonly parent?: string | undefined
  /** Of writes: the task that made them. */
  readonly task?: string | undefined
  /** The values. */
  readonly sections: ReadonlyArray<Section>
}

const version = "holdfast-langgraph-1"

const Head = Schema.Struct({
  format: Schema.Literal(version),
  thread: Schema.String,
  namespace: Schema.String,
  checkpoint: Schema.String,
  parent: Schema.optionalKey(Schema.String),
  task: Schema.optionalKey(Schema.String),
  sections: Schema.Array(Schema.Struct({
    name: Schema.String,
    type: Schema.String,
    length: Schema.Int,
    index: Schema.optionalKey(Schema.Int),
    path: Schema.optionalKey(Schema.String),
  })),
})

const decodeHead = Schema.decodeUnknownSync(Head)
const newline = 0x0a

/** How frames are written and read. */
export const frameFormat = (what: string): RecordFormat<Frame> => ({
  what,
  encode: ({ sections, ...rest }) => {
    const described = sections.map(({ bytes, ...section }) => ({ ...section, length: bytes.length }))
    // JSON leaves out what is undefined.
    const head = new TextEncoder().encode(`${JSON.stringify({ format: version, ...rest, sections: described })}\n`)
    const all = new Uint8Array(sections.reduce((sum, { bytes }) => sum + bytes.length, head.length))
    all.set(head)
    let at = head.length
    for (const { bytes } of sections) {
      all.set(bytes, at)
      at += bytes.length
    }
    return all
  },
  decode: (bytes) => {
    const end = bytes.indexOf(newline)
    if (end < 0) throw new Error("it has no first line")
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, end))
    const { format: _, sections, ...rest } = decodeHead(JSON.parse(text))
    let at = end + 1
    const read = sections.map(({ length, ...section }): Section => {
      if (length < 0 || at + length > bytes.length) throw new Error("it is shorter than its first line says")
      at += length
      return { ...section, bytes: bytes.subarray(at - length, at) }
    })
    if (at !== bytes.length) throw new Error("it is longer than its first line says")
    return { ...rest, sections: read }
  },
  // As the store compresses by itself: states are text, and some are long.
  save: { contentType: "application/octet-stream", compression: undefined },
})
