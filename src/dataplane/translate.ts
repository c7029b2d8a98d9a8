/** One frame through the translator: what a worker's loop calls, and what tests call. */
import { counter } from '../shm/counters.js';
import type { Tables } from '../shm/worker-task.js';
import { Context, type TranslatorMemory } from './context.js';
import { readVnetHeader } from './emit.js';
import { IcmpFragments } from './icmp-fragments.js';
import { translateV4ToV6 } from './translate-v4-to-v6.js';
import { translateV6ToV4 } from './translate-v6-to-v4.js';

const DROP_NOT_IP = counter('drop-not-ip');

/** A context with all that its settings ask for. */
export function createContext(memory: TranslatorMemory): Context {
  const ctx = new Context(memory);
  configureFragments(ctx, memory);
  return ctx;
}

/** Takes the settings and tables of a reload over. */
export function reconfigure(ctx: Context, tables: Tables): void {
  ctx.configure(tables);
  configureFragments(ctx, tables);
}

function configureFragments(ctx: Context, { settings }: Tables): void {
  if (settings.icmpFragments === 'hold') {
    ctx.fragments ??= new IcmpFragments(ctx);
  } else {
    ctx.fragments?.clear();
    ctx.fragments = null;
  }
}

/** Translates the frame at `offset`, its virtio-net header before it. Returns a verdict; see context.ts. */
export function translateFrame(ctx: Context, offset: number, length: number): number {
  readVnetHeader(ctx, offset);
  const version = length > 0 ? (ctx.u8[offset] as number) >>> 4 : 0;
  let verdict = DROP_NOT_IP;
  if (version === 6) verdict = translateV6ToV4(ctx, offset, length);
  else if (version === 4) verdict = translateV4ToV6(ctx, offset, length);
  if (ctx.fragments !== null) ctx.fragments.release(translateFrame);
  return verdict;
}
