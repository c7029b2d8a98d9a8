/**
 * What a worker's loop pays a frame for captures and the packet log: `npm run bench -- watch`, or with all parts `micro`. Nanoseconds per frame, the quickest
 * quarter of turns, with a device that only lays frames out and takes them. The loop without what serves captures is the compiled one with those lines left out.
 *
 * All variants take turns of a burst or four, so that whatever else the machine does meets them alike, and each is a module of its
 * own, so that the JIT learns nothing in one that it uses in another.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import type { Loop } from '#nat64d/dataplane/loop.js';
import { Stage } from '#nat64d/dataplane/rehearsal.js';
import { CaptureReader, createCaptureRing } from '#nat64d/shm/capture-ring.js';
import { V8_FLAGS } from '#nat64d/shm/v8-flags.js';
import type { CaptureTask, HostFilter } from '#nat64d/shm/worker-task.js';
import { ipv4Frame, ipv6Frame, udpPayload } from '../test/helpers/frames.js';
import { prefix6 } from '../test/helpers/harness.js';
import { makeTask } from '../test/helpers/worker-task.js';
import type { Measurement } from './report.js';
import { quantile } from './statistics.js';

/** What the loop's event loop turn has: all of them go by in one call of `serve`. */
const FRAMES = 1024;
const WARMUP_ROUNDS = 1000;
const ROUNDS = 3000;
const CAPTURE_BYTES = 1 << 20;

const COMPILED = fileURLToPath(new URL('../../dist/dataplane/loop.js', import.meta.url));
/** What a frame of a host with a map meets of captures. */
const HOOK = /^ *if \(this\.#watcher !== null\) \{\n(?:.*\n)*?^ *\}\n/m;
type LoopClass = typeof Loop;

/** The loop as a module of its own, beside this one. */
async function copyOfLoop(name: string, edit = (text: string) => text): Promise<LoopClass> {
  const text = edit(readFileSync(COMPILED, 'utf8'))
    .replaceAll("from '../", "from '../../dist/")
    .replaceAll("from './", "from '../../dist/dataplane/")
    .replace(/^\/\/# sourceMappingURL.*$/m, '');
  const url = new URL(`./loop-${name}.js`, import.meta.url);
  writeFileSync(url, text);
  return ((await import(url.href)) as { Loop: LoopClass }).Loop;
}

function withoutHook(text: string): string {
  const edited = text.replace(HOOK, '');
  if (edited.length === text.length) throw new Error(`${COMPILED}: the hook of captures is not where it was`);
  return edited;
}

interface Variant {
  readonly name: string;
  readonly loop: Loop;
  readonly stage: Stage;
  /** Behind a turn, untimed. */
  readonly after: () => void;
  readonly samples: number[];
  close(): void;
}

async function variant(
  name: string,
  packet: Uint8Array,
  makeLoop: Promise<LoopClass>,
  host?: HostFilter | null,
): Promise<Variant> {
  const Made = await makeLoop;
  const stage = new Stage();
  stage.frame = packet;
  const task = makeTask({});
  const loop = new Made(task, () => {}, stage);
  let after = () => {};
  if (host !== undefined) {
    const capture: CaptureTask = {
      id: 1,
      ring: createCaptureRing(CAPTURE_BYTES),
      host,
      side: 'both',
      snapLength: 262_144,
    };
    loop.capture(capture);
    const reader = new CaptureReader(capture.ring);
    after = () => {
      while (reader.next()) reader.take();
    };
  }
  return { name, loop, stage, after, samples: [], close: () => task.port.close() };
}

function turn({ loop, stage, after, samples }: Variant): void {
  stage.left = FRAMES;
  const startMs = performance.now();
  loop.serve();
  const ns = ((performance.now() - startMs) * 1e6) / FRAMES;
  if (stage.left > 0) throw new Error('not every frame was served');
  samples.push(ns);
  after();
}

async function measureDirection(direction: string, packet: Uint8Array): Promise<Measurement[]> {
  const short = direction.replaceAll('-', '');
  const copy = (what: string, edit?: (text: string) => string) => copyOfLoop(`${short}-${what}`, edit);
  const elsewhere: HostFilter = { family: 6, prefix: prefix6('2001:db8:ffff::/48') };
  const variants = [
    await variant('without the hook', packet, copy('without', withoutHook)),
    await variant('without the hook, once more', packet, copy('again', withoutHook)),
    await variant('off', packet, copy('off')),
    await variant('of another host', packet, copy('other'), elsewhere),
    await variant('of every frame', packet, copy('all'), null),
  ] as const;
  for (let round = 0; round < WARMUP_ROUNDS + ROUNDS; round++) {
    if (round === WARMUP_ROUNDS) for (const { samples } of variants) samples.length = 0;
    // Nobody is always behind the same other.
    for (let i = 0; i < variants.length; i++)
      turn(variants[(i * (1 + (round % 4)) + round) % variants.length] as Variant);
  }
  return variants.map(({ name, samples, close }) => {
    close();
    // What disturbs a turn only makes it longer.
    return { group: `captures, ${direction}`, what: name, unit: 'ns', value: quantile(samples, 0.25) };
  });
}

export async function measure(): Promise<Measurement[]> {
  setFlagsFromString(V8_FLAGS);
  return [
    ...(await measureDirection('v6-to-v4', ipv6Frame(17, udpPayload(64)))),
    ...(await measureDirection('v4-to-v6', ipv4Frame(17, udpPayload(64)))),
  ];
}
