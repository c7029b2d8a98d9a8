/*
 * The addon. Where there is none for this machine, neither compiled nor prebuilt, something whose functions say so when they are
 * called: who can do without asks for `absence` first.
 */
function absent(cause) {
  const absence = new Error(
    `the native addon is absent: there is none for ${process.platform}-${process.arch} with this C library. ` +
      `With g++, make and python3, npm rebuild makes it (in a clone: npm run build). Loading it said: ${String(cause.message).split('\n', 1)[0]}`,
    { cause },
  );
  const fail = () => {
    throw absence;
  };
  const get = (_, name) => (name === 'absence' ? absence : typeof name === 'symbol' ? undefined : fail);
  return new Proxy({}, { get });
}

try {
  module.exports = require('node-gyp-build')(__dirname);
} catch (error) {
  module.exports = absent(error);
}
