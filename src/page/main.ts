/** The status page: what the gateway tells each second, drawn. Read-only. All text goes in as text, never as HTML. */
import uPlot from 'uplot';
import type { HistoryColumns, PageEvent } from '../control/http/page-data.js';
import type { MapPage, MapView } from '../control/inspect/maps.js';

const HOUR_SEC = 3600;
const RETRY_MS = 3000;
const SCALES = ['', 'k', 'M', 'G', 'T'];

function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

function rate(value: number, unit: string): string {
  let scale = 0;
  let left = value;
  while (left >= 999.5 && scale < SCALES.length - 1) {
    left /= 1000;
    scale++;
  }
  return `${left.toFixed(scale === 0 || left >= 99.95 ? 0 : 1)} ${SCALES[scale]}${unit}`;
}

const count = (value: number) => Math.round(value).toLocaleString('en-US');

function duration(sec: number): string {
  if (sec < 60) return `${Math.floor(sec)} s`;
  if (sec < 3600) return `${Math.floor(sec / 60)} min`;
  if (sec < 86_400) return `${Math.floor(sec / 3600)} h ${Math.floor((sec % 3600) / 60)} min`;
  return `${Math.floor(sec / 86_400)} d ${Math.floor((sec % 86_400) / 3600)} h`;
}

type Cell = string | number;

function fill(
  table: HTMLElement,
  headings: readonly string[],
  rows: readonly (readonly Cell[])[],
  none: string,
): void {
  const isNumber = headings.map(
    (_, i) => rows.length > 0 && rows.every((cells) => typeof cells[i] === 'number'),
  );
  const row = (tag: 'th' | 'td', cells: readonly Cell[]) => {
    const line = document.createElement('tr');
    for (const [i, cell] of cells.entries()) {
      const element = document.createElement(tag);
      element.textContent = typeof cell === 'number' ? count(cell) : cell;
      if (isNumber[i]) element.className = 'number';
      line.append(element);
    }
    return line;
  };
  table.replaceChildren(
    ...(rows.length === 0
      ? [row('td', [none])]
      : [row('th', headings), ...rows.map((cells) => row('td', cells))]),
  );
}

// Charts. Each keeps an hour; columns are replaced as a whole, once a second.
const columns: HistoryColumns = {
  at: [],
  v6ToV4Bits: [],
  v4ToV6Bits: [],
  v6ToV4Frames: [],
  v4ToV6Frames: [],
};
const CHARTS = [
  { id: 'bits', unit: 'b/s', series: ['v6ToV4Bits', 'v4ToV6Bits'] },
  { id: 'frames', unit: '/s', series: ['v6ToV4Frames', 'v4ToV6Frames'] },
] as const;
let charts: uPlot[] = [];

function dataOf({ series }: (typeof CHARTS)[number]): uPlot.AlignedData {
  return [columns.at, ...series.map((name) => columns[name])] as uPlot.AlignedData;
}

/** Anew for another colour scheme. */
function makeCharts(): void {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  for (const chart of charts) chart.destroy();
  charts = CHARTS.map((which) => {
    const box = byId(which.id);
    const axis = {
      stroke: colour('--quiet'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
    };
    const value = (_: uPlot, y: number | null) => (y === null ? '–' : rate(y, which.unit));
    return new uPlot(
      {
        width: box.clientWidth,
        height: 220,
        scales: { y: { range: (_, _min, max) => [0, Math.max(max * 1.1, 1)] } },
        axes: [
          axis,
          { ...axis, size: 80, values: (_, ticks) => ticks.map((tick) => rate(tick, which.unit)) },
        ],
        series: [
          {},
          { label: 'v6-to-v4', stroke: colour('--one'), width: 1.5, value },
          { label: 'v4-to-v6', stroke: colour('--two'), width: 1.5, value },
        ],
      },
      dataOf(which),
      box,
    );
  });
}

function drawCharts(): void {
  for (const [i, which] of CHARTS.entries()) charts[i]?.setData(dataOf(which));
}

let before: PageEvent | undefined;

function showNow({ status }: PageEvent): void {
  const { throughput, pool } = status;
  const cells: [string, string][] = [
    ['v6-to-v4', rate(throughput.v6ToV4.bitsPerSec, 'b/s')],
    ['v4-to-v6', rate(throughput.v4ToV6.bitsPerSec, 'b/s')],
    ['frames', rate(throughput.v6ToV4.framesPerSec + throughput.v4ToV6.framesPerSec, '/s')],
    ['dropped', rate(throughput.dropsPerSec, '/s')],
    ['live maps', pool === null ? 'no pool' : `${count(pool.live)} of ${count(pool.capacity)}`],
    ['explicit maps', count(status.explicitMaps)],
  ];
  byId('now').replaceChildren(
    ...cells.map(([name, value]) => {
      const box = document.createElement('div');
      const label = document.createElement('span');
      const number = document.createElement('b');
      label.textContent = name;
      number.textContent = value;
      box.append(label, number);
      return box;
    }),
  );
}

function show(event: PageEvent): void {
  const { status, counters, workers, dns64, sample } = event;
  const summary = byId('summary');
  const prefix = status.pref64 ?? 'explicit maps';
  summary.textContent = `${status.version} serves ${prefix} on ${status.device}, up ${duration(status.uptimeSec)}, ${status.workers.running} of ${status.workers.count} workers`;
  summary.className = '';
  for (const [name, value] of Object.entries(sample) as [keyof HistoryColumns, number][])
    columns[name].push(value);
  if (columns.at.length > HOUR_SEC) for (const column of Object.values(columns)) column.shift();
  drawCharts();
  showNow(event);
  const drops = Object.entries(counters)
    .filter(([name, value]) => name.startsWith('drop-') && value > 0)
    .map(([name, value]): [string, number, string] => [
      name.slice('drop-'.length),
      value,
      before === undefined ? '' : rate(Math.max(value - (before.counters[name] ?? 0), 0), '/s'),
    ])
    .sort((a, b) => b[1] - a[1]);
  fill(byId('drops'), ['reason', 'frames', 'rate'], drops, 'nothing dropped');
  fill(
    byId('workers'),
    ['worker', 'state', 'since', 'restarts', 'frames in'],
    workers.map(({ worker, isRunning, aliveSec, restarts, framesIn }) => [
      String(worker),
      isRunning ? 'runs' : 'is being replaced',
      duration(aliveSec),
      restarts,
      framesIn,
    ]),
    'none',
  );
  fill(
    byId('hosts'),
    ['IPv6', 'IPv4', 'v6-to-v4', 'v4-to-v6', 'frames'],
    event.busiestHosts.map(({ ipv6, ipv4, v6ToV4, v4ToV6 }) => [
      ipv6,
      ipv4 ?? '–',
      rate(v6ToV4.bitsPerSec, 'b/s'),
      rate(v4ToV6.bitsPerSec, 'b/s'),
      rate(v6ToV4.framesPerSec + v4ToV6.framesPerSec, '/s'),
    ]),
    'no traffic',
  );
  const stats = Object.entries(dns64 ?? {}).flatMap(([name, value]): [string, Cell][] =>
    typeof value === 'number'
      ? [[name, value]]
      : typeof value === 'object' && value !== null
        ? deep(name, value)
        : [],
  );
  fill(byId('dns'), ['counter', 'value'], stats, 'DNS64 is off');
  if (event.events !== null) {
    fill(
      byId('events'),
      ['time', 'level', 'event'],
      event.events.map(({ atMs, level, message }) => [new Date(atMs).toLocaleTimeString(), level, message]),
      'none yet',
    );
  }
  if (event.config !== null) byId('config').textContent = event.config;
  before = event;
}

function deep(name: string, value: object): [string, Cell][] {
  return Object.entries(value).flatMap(([key, inner]): [string, Cell][] =>
    typeof inner === 'number' ? [[`${name}, ${key}`, inner]] : [],
  );
}

async function json<T>(path: string): Promise<T> {
  const response = await fetch(path);
  if (!response.ok) throw new Error((await response.text()).trim());
  return (await response.json()) as T;
}

let asked = 0;

async function showMaps(): Promise<void> {
  const host = byId<HTMLInputElement>('search').value.trim();
  const mine = ++asked;
  const note = byId('maps-note');
  try {
    const { maps, next } = await json<MapPage>(
      `api/maps${host === '' ? '' : `?host=${encodeURIComponent(host)}`}`,
    );
    if (mine !== asked) return;
    note.textContent =
      next === null
        ? `${count(maps.length)} shown`
        : `the first ${count(maps.length)} shown; search for others`;
    fill(byId('maps'), ['IPv4', 'IPv6', 'state', 'last used'], maps.map(mapRow), 'no maps');
  } catch (error) {
    if (mine === asked) note.textContent = (error as Error).message;
  }
}

function mapRow({ ipv4, ipv6, kind, idleSec, isPinned }: MapView): Cell[] {
  const state = isPinned ? 'pinned' : kind === 'dormant' ? 'at rest' : kind;
  return [ipv4, ipv6, state, idleSec === null ? '–' : `${duration(idleSec)} ago`];
}

/** Shows what happens, each second. A browser tries again by itself only where nothing answers, not where it is refused. */
function follow(): void {
  const stream = new EventSource('api/stream');
  stream.onmessage = ({ data }) => show(JSON.parse(data as string) as PageEvent);
  stream.onerror = () => {
    const summary = byId('summary');
    summary.textContent = 'the gateway does not answer; trying again …';
    summary.className = 'lost';
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_MS);
  };
}

async function start(): Promise<void> {
  makeCharts();
  Object.assign(columns, await json<HistoryColumns>('api/history'));
  follow();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', makeCharts);
  new ResizeObserver(() => {
    for (const [i, { id }] of CHARTS.entries())
      charts[i]?.setSize({ width: byId(id).clientWidth, height: 220 });
  }).observe(byId('bits'));
  let timer: ReturnType<typeof setTimeout> | undefined;
  byId('search').addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(showMaps, 250);
  });
  await showMaps();
  setInterval(showMaps, 10_000);
}

start().catch((error: unknown) => {
  const summary = byId('summary');
  summary.textContent = String(error);
  summary.className = 'lost';
});
