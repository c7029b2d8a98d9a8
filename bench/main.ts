/** `npm run bench -- NAME`: runs one benchmark. */
const benches: Record<string, () => Promise<{ run(args: string[]): Promise<void> }>> = {
  throughput: () => import('./throughput.bench.js'),
  lookup: () => import('./lookup.bench.js'),
  pool: () => import('./pool.bench.js'),
  translate: () => import('./translate.bench.js'),
};

const [name = '', ...args] = process.argv.slice(2);
const load = benches[name];
if (load === undefined) {
  console.error(`usage: npm run bench -- ${Object.keys(benches).join('|')}`);
  process.exitCode = 2;
} else {
  await (await load()).run(args);
}
