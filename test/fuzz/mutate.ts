/** Changes to bytes and texts that lead deep: telling values, parts left out, doubled, exchanged or cut off. */
import type { Random } from './random.js';

const TELLING = [0, 1, 2, 0x0c, 0x20, 0x29, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff];
const MOST_BYTES = 70_000;

/** @param words pieces that mean something where they stand */
export function mutate(random: Random, whole: Buffer, words: readonly Buffer[] = [], most = 6): Buffer {
  let bytes = Buffer.from(whole);
  for (let left = random.between(1, most); left > 0; left--) {
    const at = random.below(bytes.length + 1);
    const end = Math.min(bytes.length, at + random.pick([1, 1, 2, 4, 8, 16, 64, 400]));
    switch (random.below(words.length > 0 ? 10 : 8)) {
      case 0:
      case 1:
        if (at < bytes.length) bytes[at] = random.below(256);
        break;
      case 2:
        if (at < bytes.length) bytes[at] = random.pick(TELLING);
        break;
      case 3:
        if (at + 2 <= bytes.length)
          bytes.writeUInt16BE(
            random.pick([0, 1, bytes.length, bytes.length - at, 0xc000 | at, 0xffff]) & 0xffff,
            at,
          );
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
        break;
      case 5: {
        // A part of it, doubled: now and then many times.
        const part = bytes.subarray(at, end);
        const times = random.oneIn(20) ? random.below(300) : 1;
        bytes = Buffer.concat([
          bytes.subarray(0, end),
          ...new Array<Buffer>(times).fill(part),
          bytes.subarray(end),
        ]);
        break;
      }
      case 6:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          random.bytes(random.between(1, 8)),
          bytes.subarray(at),
        ]);
        break;
      case 7:
        if (random.oneIn(3)) bytes = bytes.subarray(0, at);
        break;
      default:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          random.pick(words),
          bytes.subarray(random.oneIn(2) ? at : end),
        ]);
    }
    if (bytes.length > MOST_BYTES) bytes = bytes.subarray(0, MOST_BYTES);
  }
  return bytes;
}

/** The same by lines and words of a text, with bytes now and then. */
export function mutateText(random: Random, whole: Buffer, words: readonly Buffer[]): Buffer {
  if (random.oneIn(4)) return mutate(random, whole, words);
  const lines = whole.toString('latin1').split('\n');
  for (let left = random.between(1, 8); left > 0; left--) {
    const at = random.below(lines.length);
    const line = lines[at] ?? '';
    const parts = line.split(/(?<=[\s=,.:/"[\]])|(?=[\s=,.:/"[\]])/);
    switch (random.below(9)) {
      case 0:
        lines.splice(at, 1);
        break;
      case 1:
        lines.splice(
          random.below(lines.length + 1),
          0,
          ...new Array<string>(random.oneIn(50) ? 200 : 1).fill(line),
        );
        break;
      case 2:
        lines[at] = lines[random.below(lines.length)] ?? '';
        break;
      case 3:
        lines[at] = line.replace(/^#\s?/, '');
        break;
      case 4:
        parts.splice(random.below(parts.length), 1);
        lines[at] = parts.join('');
        break;
      case 5:
        lines[at] = mutate(random, Buffer.from(line, 'latin1'), words, 2).toString('latin1');
        break;
      default:
        parts[random.below(parts.length)] = random.pick(words).toString('latin1');
        lines[at] = parts.join('');
    }
    if (lines.length === 0) lines.push('');
  }
  return Buffer.from(lines.join('\n'), 'latin1').subarray(0, MOST_BYTES);
}
