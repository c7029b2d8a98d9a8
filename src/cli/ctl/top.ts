/** `nat64ctl top`: one screen, drawn again with each event of the gateway. */
import type { ControlClient } from '../../control/control-socket/client.js';
import type { BusyHost } from '../../control/inspect/busiest.js';
import type { Status } from '../../control/inspect/status.js';
import { formatCount, formatDuration, formatRate, formatTable } from './format.js';
import { CommandError, ENDING_SIGNALS } from './session.js';
import { showThroughput } from './show.js';

/** What the topic `status` tells. */
export interface TopEvent {
  readonly status: Status;
  readonly counters: Readonly<Record<string, number>>;
  readonly dns64: Readonly<Record<string, unknown>> | null;
  readonly activeHosts: number | null;
  readonly busiestHosts: readonly BusyHost[];
}

export interface Screen {
  readonly columns: number;
  readonly rows: number;
  readonly hasColour: boolean;
}

export interface TopOptions {
  readonly delaySec: number;
  readonly isBatch: boolean;
  readonly count: number;
}

/** The lines of a screen, cut to its size. `before` is the event that rates are taken against. */
export function drawTop(event: TopEvent, before: TopEvent | null, sec: number, screen: Screen): string[] {
  const { status, counters, dns64, activeHosts, busiestHosts } = event;
  const bold = (text: string) => {
    const shown = text.slice(0, screen.columns);
    return screen.hasColour ? `\x1b[1m${shown}\x1b[0m` : shown;
  };
  const rate = (
    now: Readonly<Record<string, unknown>>,
    then: Readonly<Record<string, unknown>> | null,
    name: string,
  ) => (then === null ? 0 : Math.max(Number(now[name] ?? 0) - Number(then[name] ?? 0), 0) / sec);
  const { pool, workers, throughput } = status;
  const lines = [
    `nat64d ${status.version} on ${status.device}, up ${formatDuration(status.uptimeSec)}, ${workers.running} of ${workers.count} workers`,
    `v6-to-v4  ${showThroughput(throughput.v6ToV4)}`,
    `v4-to-v6  ${showThroughput(throughput.v4ToV6)}`,
    `maps      ${pool === null ? 'no pool' : `${formatCount(pool.live)} live of ${formatCount(pool.capacity)}, ${formatCount(pool.dormant)} at rest`}, ${formatCount(status.explicitMaps)} explicit${activeHosts === null ? '' : `; ${formatCount(activeHosts)} hosts active within 10 s`}`,
  ];
  if (dns64 !== null) {
    const queries =
      rate(dns64, before?.dns64 ?? null, 'queriesUdp') + rate(dns64, before?.dns64 ?? null, 'queriesTcp');
    const made = rate(dns64, before?.dns64 ?? null, 'synthesized');
    lines.push(
      `DNS       ${formatRate(queries, 'queries/s')}, ${formatRate(made, 'synthesized/s')}, ${formatCount(Number(dns64.pending ?? 0))} pending`,
    );
  }
  const cells = (isWanted: (name: string) => boolean) =>
    Object.entries(counters)
      .filter(([name, value]) => isWanted(name) && value > 0)
      .map(([name, value]) => ({ name, value, perSec: rate(counters, before?.counters ?? null, name) }))
      .sort((a, b) => b.perSec - a.perSec || b.value - a.value)
      .map(({ name, value, perSec }) => [name, formatCount(value), formatRate(perSec, '/s')]);
  const drops = cells((name) => name.startsWith('drop-'));
  const others = cells((name) => !name.startsWith('drop-'));
  const table = (heading: string, rows: string[][]) =>
    rows.length === 0
      ? [heading, 'none']
      : formatTable([heading, 'total', 'rate'], rows).trimEnd().split('\n');
  const [dropsHeading = '', ...dropLines] = table('dropped', drops);
  const [othersHeading = '', ...otherLines] = table('counted', others);
  const [hostsHeading = '', ...hostLines] = hostsTable(busiestHosts.slice(0, screen.rows < 40 ? 5 : 10));
  const all = [
    ...lines,
    '',
    bold(hostsHeading),
    ...hostLines,
    '',
    bold(dropsHeading),
    ...dropLines,
    '',
    bold(othersHeading),
    ...otherLines,
  ];
  return all.slice(0, screen.rows).map((line) => cut(line, screen.columns));
}

function hostsTable(hosts: readonly BusyHost[]): string[] {
  const heading = 'busiest hosts';
  if (hosts.length === 0) return [heading, 'none'];
  const rows = hosts.map(({ ipv6, ipv4, v6ToV4, v4ToV6 }) => [
    ipv6,
    ipv4 ?? '-',
    formatRate(v6ToV4.bitsPerSec, 'b/s'),
    formatRate(v4ToV6.bitsPerSec, 'b/s'),
    formatRate(v6ToV4.framesPerSec + v4ToV6.framesPerSec, 'frames/s'),
  ]);
  return formatTable([heading, 'IPv4', 'v6-to-v4', 'v4-to-v6', 'frames'], rows).trimEnd().split('\n');
}

/** Bold lines are cut already. */
function cut(line: string, columns: number): string {
  return line.startsWith('\x1b') ? line : line.slice(0, columns);
}

export async function runTop(client: ControlClient, { delaySec, isBatch, count }: TopOptions): Promise<void> {
  const { stdout, stdin } = process;
  if (!isBatch && !(stdout.isTTY && stdin.isTTY)) {
    throw new CommandError("top needs a terminal; without one use 'top --batch' or 'counters --watch'");
  }
  const hasColour = !isBatch && process.env.NO_COLOR === undefined && process.env.TERM !== 'dumb';
  let events: TopEvent[] = [];
  let drawn = 0;
  let onEnd = () => {};
  const ended = new Promise<void>((resolve) => {
    onEnd = resolve;
  });
  const draw = () => {
    const event = events.at(-1);
    if (event === undefined) return;
    const before = events.length > 1 ? (events[0] as TopEvent) : null;
    const size = isBatch ? { columns: 200, rows: 200 } : { columns: stdout.columns, rows: stdout.rows };
    const lines = drawTop(event, before, delaySec, { ...size, hasColour });
    if (isBatch) stdout.write(`${lines.join('\n')}\n\n`);
    // Each line is written over the one before it and the rest of it erased: nothing flickers.
    else stdout.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join('\r\n')}\x1b[J`);
  };
  const onKey = (key: Buffer) => {
    // Ctrl-C comes as a key in raw mode.
    if (/[qQ]/.test(key.toString()) || key.includes(3)) onEnd();
  };
  if (!isBatch) {
    stdout.write('\x1b[?1049h\x1b[?25l');
    stdin.setRawMode(true);
    stdin.on('data', onKey);
    stdout.on('resize', draw);
  }
  for (const signal of ENDING_SIGNALS) process.once(signal, onEnd);
  try {
    await client.subscribe('status', { intervalMs: Math.round(delaySec * 1000) }, (event) => {
      // More may be on their way when it is time to end.
      if (count !== 0 && drawn === count) return;
      events = [...events.slice(-1), event as TopEvent];
      draw();
      if (++drawn === count) onEnd();
    });
    const reason = await Promise.race([ended, client.closed]);
    if (reason instanceof Error) throw new CommandError(reason.message);
  } finally {
    for (const signal of ENDING_SIGNALS) process.removeListener(signal, onEnd);
    if (!isBatch) {
      stdin.removeListener('data', onKey);
      stdout.removeListener('resize', draw);
      stdin.setRawMode(false);
      stdin.pause();
      stdout.write('\x1b[?25h\x1b[?1049l');
    }
  }
}
