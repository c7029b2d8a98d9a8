/** TOML as plain data, with the place of every key and value. */
import { type AST, getStaticTOMLValue, ParseError, parseTOML } from 'toml-eslint-parser';
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
  /** The place of a key. */
  placeOfKey(path: readonly PropertyKey[]): Place;
}

const textOf = (path: readonly PropertyKey[]) => path.map(String).join('\u0000');

/** Reads TOML. Throws ConfigError with the place of a syntax error. */
export function readToml(text: string, file: string): TomlDocument {
  let program: AST.TOMLProgram;
  try {
    program = parseTOML(text);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    const place = { line: error.lineNumber, col: error.column + 1 };
    throw new ConfigError(file, [{ ...place, key: '', message: `no valid TOML: ${error.message}` }]);
  }
  const values = new Map<string, Place>();
  const keys = new Map<string, Place>();
  const placeAt = (node: { loc: AST.SourceLocation }): Place => ({
    line: node.loc.start.line,
    col: node.loc.start.column + 1,
  });

  const visitPair = (pair: AST.TOMLKeyValue, path: readonly PropertyKey[]) => {
    let inner = path;
    for (const part of pair.key.keys) {
      inner = [...inner, part.type === 'TOMLBare' ? part.name : part.value];
      if (!keys.has(textOf(inner))) keys.set(textOf(inner), placeAt(part));
    }
    visitValue(pair.value, inner);
  };
  const visitValue = (node: AST.TOMLContentNode, path: readonly PropertyKey[]) => {
    values.set(textOf(path), placeAt(node));
    if (node.type === 'TOMLArray')
      for (const [i, element] of node.elements.entries()) visitValue(element, [...path, i]);
    if (node.type === 'TOMLInlineTable') for (const pair of node.body) visitPair(pair, path);
  };
  for (const node of program.body[0].body) {
    if (node.type === 'TOMLKeyValue') {
      visitPair(node, []);
    } else {
      values.set(textOf(node.resolvedKey), placeAt(node));
      keys.set(textOf(node.resolvedKey), placeAt(node));
      // An array of tables is where its first one is.
      const whole = textOf(node.resolvedKey.filter((part) => typeof part === 'string'));
      if (!keys.has(whole)) keys.set(whole, placeAt(node));
      if (!values.has(whole)) values.set(whole, placeAt(node));
      for (const pair of node.body) visitPair(pair, node.resolvedKey);
    }
  }

  const nearest = (places: Map<string, Place>, path: readonly PropertyKey[]): Place => {
    for (let length = path.length; length > 0; length--) {
      const place = places.get(textOf(path.slice(0, length)));
      if (place !== undefined) return place;
    }
    return { line: 1, col: 1 };
  };
  return {
    data: getStaticTOMLValue(program),
    placeOf: (path) => nearest(values, path),
    placeOfKey: (path) => nearest(keys, path),
  };
}
