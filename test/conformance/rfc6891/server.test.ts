/** EDNS(0) towards clients. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeQuery, type Gateway, gateway, type Script } from '../rfc6147/harness.js';

const FORMERR = 1;
const SCRIPT: Script = { 'www.example A': { answer: ['www.example 300 A 192.0.2.1'] } };

async function withGateway(run: (gate: Gateway) => Promise<void>): Promise<void> {
  const gate = await gateway(SCRIPT);
  try {
    await run(gate);
  } finally {
    await gate.close();
  }
}

const OPT = encodeQuery({ name: '.', type: 'A', edns: 1232 }).subarray(17);
/** A query with these bytes as its additional section. */
function query(additional: Buffer, count: number): Buffer {
  const bytes = Buffer.concat([encodeQuery({ name: 'www.example', type: 'A' }), additional]);
  bytes.writeUInt16BE(count, 10);
  return bytes;
}
const withOptions = (options: Buffer) => {
  const opt = Buffer.concat([OPT, options]);
  opt.writeUInt16BE(options.length, 9);
  return query(opt, 1);
};
const rcodeOf = (answer: Buffer) => answer.readUInt16BE(2) & 0xf;

describe('6.1.1', () => {
  it('two OPT records: FORMERR', () =>
    withGateway(async (gate) => {
      assert.equal(rcodeOf((await gate.send(query(Buffer.concat([OPT, OPT]), 2)))!), FORMERR);
    }));

  it('an OPT that is not at the root: FORMERR', () =>
    withGateway(async (gate) => {
      const named = Buffer.concat([Buffer.from('\x01a\0', 'latin1'), OPT.subarray(1)]);
      assert.equal(rcodeOf((await gate.send(query(named, 1)))!), FORMERR);
    }));
});

describe('6.1.2: options', () => {
  it('that are not known are ignored, and not sent back', () =>
    withGateway(async (gate) => {
      const unknown = Buffer.from([0xfd, 0xe9, 0, 3, 1, 2, 3]);
      const answer = (await gate.send(withOptions(unknown)))!;
      assert.equal(rcodeOf(answer), 0);
      assert.equal(answer.readUInt16BE(6), 1);
      assert.equal(answer.readUInt16BE(answer.length - 2), 0);
    }));

  it('that do not fill their OPT: FORMERR', () =>
    withGateway(async (gate) => {
      for (const options of [[0], [0, 10, 0], [0, 10, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8]]) {
        assert.equal(rcodeOf((await gate.send(withOptions(Buffer.from(options))))!), FORMERR);
      }
    }));
});

describe('6.2.5', () => {
  it('of the flags, DO comes back and the others are zero', () =>
    withGateway(async (gate) => {
      const opt = Buffer.from(OPT);
      opt.writeUInt16BE(0xffff, 7);
      const answer = (await gate.send(query(opt, 1)))!;
      assert.equal(answer.readUInt16BE(answer.length - 4), 0x8000);
    }));
});

describe('7', () => {
  it('an OPT behind other records of the additional section counts', () =>
    withGateway(async (gate) => {
      const other = Buffer.from([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 9]);
      const answer = (await gate.send(query(Buffer.concat([other, OPT]), 2)))!;
      assert.equal(rcodeOf(answer), 0);
      assert.equal(answer.readUInt16BE(10), 1);
    }));
});
