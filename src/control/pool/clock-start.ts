/**
 * Where the gateway's clock begins, in seconds: past the 14 days that a dormant map is kept, so that the second of last use
 * of a map restored from a file is never below 1 (0 stands for "never").
 */
export const CLOCK_START_SEC = 2_000_000;
