/** What the two stages of `totd` say to each other. */

/** The launcher's pipe to a daemon that detaches itself. */
export const WORD_FD = 3;
/** What the daemon says there once it serves; anything else is why it does not. */
export const SERVING = 'serving';
