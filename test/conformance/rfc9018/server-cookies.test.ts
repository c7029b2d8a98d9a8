/** Interoperable server cookies: the examples of RFC 9018 appendix A, and what makes a cookie bad. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readAddress } from '#nat64d/control/dns64/access.js';
import { ServerCookies } from '#nat64d/control/dns64/cookies.js';

const hex = (text: string) => Buffer.from(text, 'hex');
const words = (text: string) => readAddress(text)!.words;

/** An option with these bytes. */
function option(data: string): Buffer {
  const bytes = Buffer.concat([Buffer.from([0, 10, 0, 0]), hex(data)]);
  bytes.writeUInt16BE(bytes.length - 4, 2);
  return bytes;
}

const SECRET = 'e5e973e5a6b2a43f48e7dc849e37bfcf';
const FIRST_SEC = 1559731985;
const CLIENT = words('198.51.100.100');
const FIRST = '2464c4abcf10c957010000005cf79f111f8130c3eee29480';

function cookies(sec: number, secret = SECRET) {
  const clock = { sec };
  const secrets = [hex(secret)];
  const made = new ServerCookies(
    () => secrets.shift() ?? hex('00'.repeat(16)),
    () => clock.sec,
  );
  return { made, clock, secrets };
}

describe('appendix A', () => {
  const answer = (made: ServerCookies, data: string, client: string) =>
    made.answerOption(option(data), 0, words(client)).toString('hex', 4);

  it('A.1: a first cookie', () => {
    const { made } = cookies(FIRST_SEC);
    assert.equal(answer(made, '2464c4abcf10c957', '198.51.100.100'), FIRST);
  });

  it('A.2: the same client forty minutes later: still good, and a new one', () => {
    const { made } = cookies(1559734385);
    assert.equal(made.isValid(option(FIRST), 0, CLIENT), true);
    assert.equal(answer(made, FIRST, '198.51.100.100'), '2464c4abcf10c957010000005cf7a871d4a564a1442aca77');
  });

  it('A.3: reserved bytes of a cookie count in its hash and are zero in ours', () => {
    const { made } = cookies(1559734700);
    const shown = 'fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5';
    const client = '203.0.113.203';
    assert.equal(made.isValid(option(shown), 0, words(client)), false, 'it is more than an hour old');
    assert.equal(answer(made, shown, client), 'fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e');
    const { made: earlier } = cookies(0x5cf78f71);
    assert.equal(earlier.isValid(option(shown), 0, words(client)), true);
  });

  it('A.4: IPv6, and a secret that has changed since', () => {
    const { made, clock, secrets } = cookies(1559741961 - 86_400, 'dd3bdf9344b678b185a6f5cb60fca715');
    secrets.push(hex('445536bcd2513298075a5d379663c962'));
    const shown = '22681ab97d52c298010000005cf7c57926556bd0934c72f8';
    const client = '2001:db8:220:1:59de:d0f4:8769:82b8';
    clock.sec = 1559741961;
    assert.equal(made.isValid(option(shown), 0, words(client)), true);
    assert.equal(answer(made, shown, client), '22681ab97d52c298010000005cf7c609a6bb79d16625507a');
  });
});

describe('4.3: the time in a cookie', () => {
  const ROWS: [number, boolean][] = [
    [3600, true],
    [3601, false],
    [0, true],
    [-300, true],
    [-301, false],
  ];
  for (const [ageSec, isGood] of ROWS) {
    it(`${ageSec} s old: ${isGood ? 'good' : 'bad'}`, () => {
      const { made } = cookies(FIRST_SEC + ageSec);
      assert.equal(made.isValid(option(FIRST), 0, CLIENT), isGood);
    });
  }

  it('serial numbers: good beyond 2^32', () => {
    const { made, clock } = cookies(2 ** 32 - 10);
    const given = made.answerOption(option('2464c4abcf10c957'), 0, CLIENT);
    clock.sec = 2 ** 32 + 10;
    assert.equal(made.isValid(given, 0, CLIENT), true);
  });
});

describe('a cookie is bad', () => {
  const { made } = cookies(FIRST_SEC);
  it('of another client', () => {
    assert.equal(made.isValid(option(FIRST), 0, words('198.51.100.101')), false);
    assert.equal(made.isValid(option(FIRST), 0, [0, 0, 0, CLIENT[3]]), false);
  });
  for (let at = 0; at < 24; at++) {
    it(`with another bit in byte ${at}`, () => {
      const changed = option(FIRST);
      changed[4 + at] = (changed[4 + at] as number) ^ 1;
      assert.equal(made.isValid(changed, 0, CLIENT), false);
    });
  }
  it('of another length', () => {
    for (const data of [FIRST.slice(0, 16), FIRST.slice(0, 46), `${FIRST}00`])
      assert.equal(made.isValid(option(data), 0, CLIENT), false);
  });
  it('5: after its secret has been replaced twice', () => {
    const { made, clock } = cookies(FIRST_SEC);
    for (const turns of [1, 2]) {
      clock.sec = FIRST_SEC + turns * 86_400;
      made.isValid(option(FIRST), 0, CLIENT);
    }
    clock.sec = FIRST_SEC;
    assert.equal(made.isValid(option(FIRST), 0, CLIENT), false);
  });
});
