/** Names as Redis, `--json` and the log spell them. */

/** `messageId` becomes `message_id`, `redisURL` `redis_url`. */
export function snakeCase(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1_$2')
    .toLowerCase();
}
