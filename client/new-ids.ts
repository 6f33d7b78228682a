/** Ids that the client makes. From the platform's generator: two that are the same would make two requests one. */

/** Crockford's base 32 in lower case: no i, l, o, u. */
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const TIME_CHARS = 10;
const RANDOM_CHARS = 16;

export function newIdempotencyKey(): string {
  return `auto-${randomChars(26)}`;
}

/**
 * An id for a task, to be noted down before the task is submitted with it: whoever is interrupted in between submits again and gets the same task.
 *
 * @param nowMs the time, since ids sort by age.
 */
export function newTaskId(nowMs: number = Date.now()): string {
  let time = "";
  for (let rest = nowMs, i = 0; i < TIME_CHARS; i += 1) {
    time = ALPHABET.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  return `task_${time}${randomChars(RANDOM_CHARS)}`;
}

function randomChars(count: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(count));
  return Array.from(bytes, (byte) => ALPHABET.charAt(byte & 31)).join("");
}
