/** `npm run bench -- NAME`: runs one benchmark. */
const benches: Record<string, () => Promise<{ run(): Promise<void> }>> = {
  translate: () => import('./translate.bench.js'),
};

const [name = ''] = process.argv.slice(2);
const load = benches[name];
if (load === undefined) {
  console.error(`usage: npm run bench -- ${Object.keys(benches).join('|')}`);
  process.exitCode = 2;
} else {
  await (await load()).run();
}
