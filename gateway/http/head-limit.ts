/**
 * Lets request heads be up to 16 KiB instead of 4: an access token of an identity provider that lists a person's groups is longer than that.
 *
 * The server library reads this limit from the environment when it is loaded, and nowhere else. Therefore this module is imported
 * before it, and this is the one place that writes to the environment. Each connection may keep this much of a head that is not complete.
 */

export const MAX_HEAD_BYTES = 16 * 1024;

process.env.UWS_HTTP_MAX_HEADERS_SIZE = String(MAX_HEAD_BYTES);
