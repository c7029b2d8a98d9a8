/** The addon's batched UDP (native/index.d.ts). */
import native from '#native';

/** Null where the addon is absent. */
export const udpAddon: typeof native | null = native.absence ? null : native;
