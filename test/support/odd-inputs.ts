/** What the process of `odd-runner.ts` cannot bear as the first number of an input. */

export const DEADLY = 666;
export const HUGE = 13;
