/** Reads a pcapng file by the fields of draft-ietf-opsawg-pcapng. An oracle: knows nothing of src/, and takes nothing that is wrong. */
import assert from 'node:assert/strict';

export interface Block {
  type: number;
  /** Fields before the options, by name. */
  fields: Record<string, number | bigint>;
  data: Buffer;
  options: Map<number, Buffer>;
}

/** Sizes in bytes of the fixed fields of each type of block. */
const FIELDS: Readonly<Record<number, readonly (readonly [string, 2 | 4 | 8])[]>> = {
  168627466: [
    ['magic', 4],
    ['major', 2],
    ['minor', 2],
    ['sectionLength', 8],
  ],
  1: [
    ['linkType', 2],
    ['reserved', 2],
    ['snapLength', 4],
  ],
  5: [
    ['interface', 4],
    ['high', 4],
    ['low', 4],
  ],
  6: [
    ['interface', 4],
    ['high', 4],
    ['low', 4],
    ['captured', 4],
    ['length', 4],
  ],
};

export function readPcapng(file: Uint8Array): Block[] {
  const bytes = Buffer.from(file);
  const blocks: Block[] = [];
  for (let at = 0; at < bytes.length; ) {
    const type = bytes.readUInt32LE(at);
    const length = bytes.readUInt32LE(at + 4);
    assert.equal(length % 4, 0);
    assert.ok(length >= 12 && at + length <= bytes.length, `a block of ${length} bytes at ${at}`);
    assert.equal(bytes.readUInt32LE(at + length - 4), length, 'both lengths of a block');
    blocks.push(readBlock(type, bytes.subarray(at + 8, at + length - 4)));
    at += length;
  }
  return blocks;
}

function readBlock(type: number, body: Buffer): Block {
  const known = FIELDS[type];
  assert.ok(known, `a block of type ${type}`);
  const fields: Block['fields'] = {};
  let at = 0;
  for (const [name, size] of known) {
    fields[name] =
      size === 2 ? body.readUInt16LE(at) : size === 4 ? body.readUInt32LE(at) : body.readBigInt64LE(at);
    at += size;
  }
  const captured = Number(fields.captured ?? 0);
  const data = body.subarray(at, at + captured);
  assert.equal(data.length, captured);
  at += Math.ceil(captured / 4) * 4;
  const options = new Map<number, Buffer>();
  while (at < body.length) {
    const [code, length] = [body.readUInt16LE(at), body.readUInt16LE(at + 2)];
    at += 4;
    if (code === 0) {
      assert.deepEqual([length, at], [0, body.length], 'opt_endofopt ends the block');
      break;
    }
    options.set(code, body.subarray(at, at + length));
    at += Math.ceil(length / 4) * 4;
  }
  return { type, fields, data, options };
}

/** Since the epoch, of a block with a time and an interface of nanoseconds. */
export function nsOf({ fields }: Block): bigint {
  return (BigInt(fields.high ?? 0) << 32n) | BigInt(fields.low ?? 0);
}
