/** The addon's batched UDP (native/index.d.ts). */
import type native from '#native';

/** Null where the addon is absent, or not made for this machine. */
export const udpAddon: typeof native | null = await import('#native').then(
  (module) => module.default,
  () => null,
);
