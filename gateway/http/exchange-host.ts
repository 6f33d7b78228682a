/** What an exchange needs of its server, and what it serves. */

import type { CrossOrigin } from "./cors.ts";
import type { Deadlines } from "./deadlines.ts";
import type { EndlessStreams } from "./endless-streams.ts";
import type { Response, Route } from "./exchange.ts";
import type { Outbox } from "./outbox.ts";

/** Whose time can be over. */
export interface Expiring {
  expire(): void;
}

export interface ExchangeHost {
  readonly outbox: Outbox;
  readonly answerDeadlines: Deadlines<Expiring>;
  readonly lingerDeadlines: Deadlines<Expiring>;
  readonly endlessStreams: EndlessStreams;
  readonly crossOrigin: CrossOrigin | undefined;
  /** Never throws. */
  errorResponse(error: unknown, requestId: string): Response;
  isClosing(): boolean;
  nextId(): string;
  finished(): void;
  onFault(error: unknown): void;
}

export interface CompiledRoute extends Pick<Route, "body" | "guard" | "handle" | "finished"> {
  readonly paramNames: readonly string[];
}
