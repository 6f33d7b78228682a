/** Which tasks a question is about. */

import type { TaskState } from "@legacygpu/shared/task";

export interface ListDeadLettersQuery {
  readonly model?: string;
  /** Tasks with an attempt at this site. */
  readonly site?: string;
  readonly tag?: string;
  /** 1 to 1000. Default 100. */
  readonly limit?: number;
  /** `next_cursor` of the page before. */
  readonly cursor?: string;
}

export interface ListTasksQuery extends ListDeadLettersQuery {
  readonly state?: TaskState;
  readonly batch?: string;
}

/** Which dead letters; those that fit all that is said. */
export interface DeadLetterSelection {
  readonly model?: string;
  readonly ids?: readonly string[];
}
