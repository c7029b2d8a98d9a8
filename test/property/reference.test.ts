/** The fast translator against the reference: same verdict, same bytes, for packets of every shape. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Harness } from '../helpers/harness.js';
import { templates } from '../helpers/reference/generate-packets.js';
import { setups } from '../helpers/reference/generate-settings.js';
import type { Frame } from '../helpers/reference/offload.js';
import { Reference } from '../helpers/reference.js';

/** FC_RUNS=20 runs each property twenty times as often. */
const runs = (count: number) => ({ numRuns: Math.ceil(count * Number(process.env.FC_RUNS ?? 1)) });

const shown = (outcome: { verdict: string; frames: readonly Frame[] }) => ({
  verdict: outcome.verdict,
  frames: outcome.frames.map(({ vnet, bytes }) => ({ vnet, bytes: Buffer.from(bytes).toString('hex') })),
});

const cases = fc
  .record({ setup: setups, sent: fc.array(templates, { minLength: 1, maxLength: 3 }) })
  .map(({ setup, sent }) => ({ setup, sent: sent.map((template) => template(setup)) }));

test('the fast translator and the reference agree on verdict, virtio-net header and every byte', () => {
  fc.assert(
    fc.property(cases, ({ setup, sent }) => {
      const fast = new Harness(setup.options);
      const reference = new Reference(setup.options);
      for (const { bytes, vnet } of sent) {
        assert.deepEqual(shown(fast.send(bytes, vnet)), shown(reference.translate(bytes, vnet)));
      }
    }),
    runs(2000),
  );
});
