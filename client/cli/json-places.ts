/** Where in a JSON text something is, so that an error can name line and column. */

/** Keys and indices from the outermost value inwards. */
export type JsonPath = readonly (string | number)[];

export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface SyntaxFault extends Place {
  readonly expected: string;
}

const SPACE = /[ \t\r\n]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const FIRST_PRINTABLE = 0x20;
const OTHER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
/** Deeper than any document that people write. */
const MAX_DEPTH = 100;

/** A document whose values have places. */
export class JsonPlaces {
  readonly #text: string;
  /** By path: where the key begins, or the element of a list. */
  readonly #offsets = new Map<string, number>();
  #at = 0;
  /** What makes the text no JSON, if anything does. A key that is there twice counts: nobody could tell which one is meant. */
  readonly fault: SyntaxFault | undefined;

  constructor(text: string) {
    this.#text = text;
    try {
      this.#value([]);
      this.#skip(SPACE);
      if (this.#at < text.length) throw new Unexpected("the end of the document");
    } catch (error) {
      if (!(error instanceof Unexpected)) throw error;
      this.fault = { ...this.#placeAt(this.#at), expected: error.message };
    }
  }

  /** Of the key or element at `path`, or of the innermost one around it that is there. */
  find(path: JsonPath): Place {
    for (let length = path.length; length > 0; length -= 1) {
      const offset = this.#offsets.get(JSON.stringify(path.slice(0, length)));
      if (offset !== undefined) return this.#placeAt(offset);
    }
    return this.#placeAt(0);
  }

  #value(path: JsonPath): void {
    this.#skip(SPACE);
    if (path.length > MAX_DEPTH) throw new Unexpected(`at most ${MAX_DEPTH} levels`);
    const first = this.#text[this.#at];
    if (first === "{") this.#members(path);
    else if (first === "[") this.#elements(path);
    else if (!this.#string() && !this.#skip(OTHER)) throw new Unexpected("a value");
  }

  #members(path: JsonPath): void {
    this.#at += 1;
    for (let isFirst = true; !this.#closes("}", isFirst); isFirst = false) {
      const start = this.#at;
      if (!this.#string()) throw new Unexpected("a key in double quotes");
      const inner = [...path, JSON.parse(this.#text.slice(start, this.#at)) as string];
      if (this.#offsets.has(JSON.stringify(inner))) {
        this.#at = start;
        throw new Unexpected(`a key that is not there yet (${inner.at(-1)} is)`);
      }
      this.#offsets.set(JSON.stringify(inner), start);
      this.#skip(SPACE);
      this.#take(":");
      this.#value(inner);
    }
  }

  #elements(path: JsonPath): void {
    this.#at += 1;
    for (let index = 0; !this.#closes("]", index === 0); index += 1) {
      const inner = [...path, index];
      this.#offsets.set(JSON.stringify(inner), this.#at);
      this.#value(inner);
    }
  }

  /** Not a pattern for the whole: strings of megabytes would be too much for it. */
  #string(): boolean {
    if (this.#text[this.#at] !== '"') return false;
    this.#at += 1;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || char.charCodeAt(0) < FIRST_PRINTABLE)
        throw new Unexpected("the end of the text in double quotes");
      if (char !== "\\") this.#at += 1;
      else if (!this.#skip(ESCAPE)) throw new Unexpected('a known escape behind "\\"');
      if (char === '"') return true;
    }
  }

  /** Behind an opening bracket or a value: whether it ends here. Otherwise the next one begins here. */
  #closes(bracket: string, isFirst: boolean): boolean {
    this.#skip(SPACE);
    if (this.#text[this.#at] === bracket) {
      this.#at += 1;
      return true;
    }
    if (!isFirst) this.#take(",", bracket);
    this.#skip(SPACE);
    return false;
  }

  #take(wanted: string, orElse?: string): void {
    if (this.#text[this.#at] !== wanted)
      throw new Unexpected(orElse === undefined ? `"${wanted}"` : `"${wanted}" or "${orElse}"`);
    this.#at += 1;
  }

  #skip(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found !== null) this.#at = pattern.lastIndex;
    return found !== null;
  }

  #placeAt(offset: number): Place {
    const before = this.#text.slice(0, offset);
    return { line: before.split("\n").length, column: offset - before.lastIndexOf("\n") };
  }
}

/** Its message is what was expected. */
class Unexpected extends Error {}
