/** Loaded before every test file. */
import fc from 'fast-check';

// By default fast-check makes arrays and strings of some ten elements, whatever maximum a test asks for.
fc.configureGlobal({ defaultSizeToMaxWhenMaxSpecified: true });
