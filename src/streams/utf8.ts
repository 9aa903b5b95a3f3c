/**
 * Facts about a string's UTF-8 form, without making it.
 *
 * @module
 */

/** The number of bytes `text` has in UTF-8. */
export const utf8Length = (text: string): number => {
  let size = text.length
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x80) continue
    if (code < 0x800) size += 1
    else if (code >= 0xd800 && code < 0xdc00 && i + 1 < text.length) {
      size += 2
      i++
    } else size += 2
  }
  return size
}

/**
 * Compares two well-formed strings by their UTF-8 bytes. JavaScript compares UTF-16 units, which puts
 * U+FF5E after U+1F600; bytes and code points put it before.
 */
export const compareUtf8 = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i)
    let y = b.charCodeAt(i)
    if (x === y) continue
    // Surrogates stand for code points above every other unit: lift them over 0xe000..0xffff.
    if (x >= 0xd800 && y >= 0xd800) {
      x = x >= 0xe000 ? x - 0x800 : x + 0x2000
      y = y >= 0xe000 ? y - 0x800 : y + 0x2000
    }
    return x - y
  }
  return a.length - b.length
}

/** Units whose order is not that of the bytes they become. */
const high = /[\ud800-\uffff]/

/** Sorts by the UTF-8 bytes of what `textOf` gives: by JavaScript's own order, which is much faster, where it is the same. */
export const sortUtf8 = <A>(items: Array<A>, textOf: (item: A) => string): Array<A> => {
  if (items.some((item) => high.test(textOf(item)))) return items.sort((a, b) => compareUtf8(textOf(a), textOf(b)))
  return items.sort((a, b) => {
    const x = textOf(a)
    const y = textOf(b)
    return x < y ? -1 : x === y ? 0 : 1
  })
}
