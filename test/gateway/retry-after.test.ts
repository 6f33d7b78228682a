import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, fail } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import { errorResponse } from "../../gateway/http/endpoint.ts";

const respond = errorResponse(createLogger("test", "silent"));

const retryAfter = (code: ErrorCode, details?: Record<string, unknown>): string | undefined =>
  respond(fail(code, "No.", details), "request-1").headers?.["retry-after"];

test("a refusal for lack of room says when to try again, in whole seconds", () => {
  for (const code of ["queue_full", "key_queue_full"] as const) {
    assert.equal(retryAfter(code), "2");
    assert.equal(retryAfter(code, { retryAfterSeconds: 1 }), "1");
    assert.equal(retryAfter(code, { retryAfterSeconds: 30, limit: 5 }), "30");
    for (const unusable of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "7", null])
      assert.equal(retryAfter(code, { retryAfterSeconds: unusable }), "2", String(unusable));
  }
});

test("other errors say nothing about it", () => {
  for (const code of ["task_not_found", "internal", "deadline_exceeded"] as const)
    assert.equal(retryAfter(code, { retryAfterSeconds: 9 }), undefined, code);
});
