/**
 * Flags for V8, set before the first worker has frames to translate, and no earlier: they are for all threads, and what the main
 * thread does at a start, once, is not worth being compiled so thoroughly (a tenth of a start with 60,000 maps).
 *
 * The translators are long functions that call many small ones. By default the optimizer stops inlining into a function when
 * 920 bytes of bytecode have been inlined, and the rest stay calls: a third of the time per frame, measured on Node 20.
 */
export const V8_FLAGS = '--max-inlined-bytecode-size-cumulative=4000';
