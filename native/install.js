/*
 * What `npm install` of the package runs: nothing where the prebuilt addon loads, a compilation where it does not (another
 * processor, another C library). A checkout is built by scripts/build.mjs.
 */
const { spawnSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const { dirname, join } = require('node:path');

function loads() {
  // Anew each time: one that was absent may have been compiled since.
  delete require.cache[require.resolve('./index.js')];
  return require('./index.js').absence === undefined;
}

/** node-gyp as npm brings it, or as it is in the PATH. */
function nodeGyp() {
  const { npm_config_node_gyp: script } = process.env;
  return script === undefined ? ['node-gyp'] : [process.execPath, script];
}

function compile() {
  // The headers that came with this Node spare a download, and a machine without internet can build.
  const prefix = join(dirname(process.execPath), '..');
  const hasHeaders = existsSync(join(prefix, 'include', 'node', 'node_api.h'));
  const [command, ...words] = [...nodeGyp(), 'rebuild', ...(hasHeaders ? [`--nodedir=${prefix}`] : [])];
  const { status, error } = spawnSync(command, words, { cwd: __dirname, stdio: 'inherit' });
  return status === 0 && error === undefined;
}

const isCheckout = existsSync(join(__dirname, '..', 'scripts', 'build.mjs'));
if (!isCheckout && !loads() && !(compile() && loads())) {
  console.error(
    `nat64d: there is no prebuilt addon for ${process.platform}-${process.arch} with this C library, and it cannot be compiled; ` +
      'what is missing is said above. It takes g++, make and python3: on Debian, apt-get install g++ make python3. Then try again.',
  );
  process.exit(1);
}
