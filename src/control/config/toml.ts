/** TOML as plain data, with the place of every key and value. */
import { type AST, ParseError, parseTOML } from 'toml-eslint-parser';
import { ConfigError } from './problem.js';

export interface Place {
  /** Both from 1. */
  readonly line: number;
  readonly col: number;
}

export interface TomlDocument {
  readonly data: unknown;
  /** The place of a value, or of the nearest table around it where it is not there. */
  placeOf(path: readonly PropertyKey[]): Place;
  /** The place of a key, or of the nearest table around it. */
  placeOfKey(path: readonly PropertyKey[]): Place;
}

/** A key of a table or an element of a list. */
interface Entry {
  readonly key: Place;
  /** A table without a header of its own begins at the first key that names it. */
  value: Place;
  kind: 'table' | 'list' | 'leaf';
  leaf: unknown;
  readonly inner: Map<PropertyKey, Entry>;
}

/** Reads TOML. Throws ConfigError with the place of a syntax error. */
export function readToml(text: string, file: string): TomlDocument {
  try {
    const root = readEntries(text);
    return {
      data: dataOf(root),
      placeOf: (path) => nearest(root, path).value,
      placeOfKey: (path) => nearest(root, path).key,
    };
  } catch (error) {
    if (error instanceof ParseError) {
      const place = { line: error.lineNumber, col: error.column + 1 };
      throw new ConfigError(file, [{ ...place, key: '', message: `no valid TOML: ${error.message}` }]);
    }
    // The stack is full.
    if (error instanceof RangeError) {
      throw new ConfigError(file, [{ line: 1, col: 1, key: '', message: 'is nested too deeply to be read' }]);
    }
    throw error;
  }
}

function readEntries(text: string): Entry {
  const root = newEntry({ line: 1, col: 1 });
  // Some editors begin a file with a byte order mark.
  for (const node of parseTOML(text.replace(/^\ufeff/, '')).body[0].body) {
    if (node.type === 'TOMLKeyValue') {
      addPair(root, node);
    } else {
      let table = root;
      for (const part of node.resolvedKey) table = enter(table, part, placeAt(node));
      for (const pair of node.body) addPair(table, pair);
    }
  }
  return root;
}

function placeAt(node: { loc: AST.SourceLocation }): Place {
  return { line: node.loc.start.line, col: node.loc.start.column + 1 };
}

function newEntry(place: Place): Entry {
  return { key: place, value: place, kind: 'table', leaf: undefined, inner: new Map() };
}

/** The entry of a key or an index, made at `place` where it is new. */
function enter(around: Entry, part: string | number, place: Place): Entry {
  if (typeof part === 'number') around.kind = 'list';
  let entry = around.inner.get(part);
  if (entry === undefined) {
    entry = newEntry(place);
    around.inner.set(part, entry);
  }
  return entry;
}

function addPair(table: Entry, pair: AST.TOMLKeyValue): void {
  let entry = table;
  for (const part of pair.key.keys) {
    entry = enter(entry, part.type === 'TOMLBare' ? part.name : part.value, placeAt(part));
  }
  setValue(entry, pair.value);
}

function setValue(entry: Entry, node: AST.TOMLContentNode): void {
  entry.value = placeAt(node);
  if (node.type === 'TOMLArray') {
    entry.kind = 'list';
    for (const [i, element] of node.elements.entries()) setValue(enter(entry, i, placeAt(element)), element);
  } else if (node.type === 'TOMLInlineTable') {
    for (const pair of node.body) addPair(entry, pair);
  } else {
    entry.kind = 'leaf';
    entry.leaf = node.kind === 'integer' && !Number.isSafeInteger(node.value) ? node.bigint : node.value;
  }
}

/** The parser's own getStaticTOMLValue assigns key by key: `[__proto__]` would change every object of the program. */
function dataOf(entry: Entry): unknown {
  if (entry.kind === 'leaf') return entry.leaf;
  const inner = [...entry.inner].map(([part, one]) => [part, dataOf(one)] as const);
  return entry.kind === 'list' ? inner.map(([, data]) => data) : Object.fromEntries(inner);
}

function nearest(root: Entry, path: readonly PropertyKey[]): Entry {
  let entry = root;
  for (const part of path) {
    const next = entry.inner.get(part);
    if (next === undefined) break;
    entry = next;
  }
  return entry;
}
