/**
 * The slice of the server library that the rest of this folder touches, so that `server.ts` stays its only importer and
 * the state machines can be read without its manual.
 */

/** Valid until `onAborted` has run or the response has ended; any use after that throws. */
export interface NativeResponse {
  onAborted(listener: () => void): unknown;
  /** The chunk is only readable until the listener returns. */
  onData(listener: (chunk: ArrayBuffer, isLast: boolean) => void): unknown;
  onWritable(listener: (offset: number) => boolean): unknown;
  cork(write: () => void): unknown;
  writeStatus(status: string): unknown;
  writeHeader(name: string, value: string): unknown;
  end(body?: string | Uint8Array, closeConnection?: boolean): unknown;
  endWithoutBody(): unknown;
  /** Begins or continues a chunked body. False: not all of it was passed on, the library keeps the rest. */
  write(chunk: Uint8Array): boolean;
  /** Answers `[everything was taken, the response is complete]`. */
  tryEnd(chunk: string | Uint8Array, totalBytes: number): [boolean, boolean];
  getWriteOffset(): number;
  pause(): unknown;
  resume(): unknown;
  close(): unknown;
  getRemoteAddressAsText(): ArrayBuffer;
}

/** Lives on the stack of the library: readable only until the route handler returns. */
export interface NativeRequest {
  getCaseSensitiveMethod(): string;
  getUrl(): string;
  getQuery(): string;
  getParameter(index: number): string | undefined;
  getHeader(lowerCaseName: string): string;
  forEach(visit: (name: string, value: string) => void): void;
}

/** Valid until its close event. */
export interface NativeSocket {
  /** 1: sent, 0: buffered, 2: dropped. */
  send(frame: Uint8Array, isBinary: boolean, compress: boolean): number;
  ping(payload: Uint8Array): number;
  cork(write: () => void): unknown;
  getBufferedAmount(): number;
  end(code: number, reason: string): void;
  close(): void;
}
