/**
 * What tenants may use in a day, held against what they have used.
 *
 * Tasks are charged before they are stored, and bodies as they are announced: those two are never passed. How long models run is known only
 * afterwards: who has used up their GPU seconds gets no further task in, and the tasks that were let in before are still run.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { TaskRecord } from "../tasks/record.ts";
import type { TaskQuota } from "../tasks/task-service.ts";
import type { AnnouncedBody } from "./allowance.ts";
import { executionMs } from "./execution-time.ts";
import type { DailyQuotasConfig, QuotaConfig } from "./limits-config.ts";
import type { Account, UsageLedger } from "./usage-ledger.ts";

export interface TenantQuotasOptions {
  readonly clock: Clock;
  readonly ledger: UsageLedger;
  readonly config: DailyQuotasConfig | undefined;
}

interface Quota {
  readonly tasks: number | undefined;
  readonly gpuSeconds: number | undefined;
  readonly bytes: number | undefined;
}

export interface Meter {
  readonly used: number;
  readonly limit: number | undefined;
}

export interface TenantUsage {
  readonly tenant: string;
  /** `YYYY-MM-DD`, UTC. */
  readonly day: string;
  readonly resetsAtMs: number;
  readonly tasks: Meter;
  readonly gpuSeconds: Meter;
  readonly bytes: Meter;
  readonly requests: Meter;
}

interface Passed {
  readonly quota: "tasks" | "gpu_seconds" | "bytes";
  readonly used: number;
  readonly requested: number;
  readonly limit: number;
}

export class TenantQuotas implements TaskQuota {
  readonly #clock: Clock;
  readonly #ledger: UsageLedger;
  readonly #default: Quota;
  readonly #byTenant: ReadonlyMap<string, Quota>;

  /** @throws `config_invalid` */
  constructor({ clock, ledger, config = {} }: TenantQuotasOptions) {
    const given = config.default ?? {};
    this.#clock = clock;
    this.#ledger = ledger;
    this.#default = quotaOf("dailyQuotas.default", given);
    this.#byTenant = new Map(
      Object.entries(config.tenants ?? {}).map(([tenant, changes]) => [
        tenant,
        quotaOf(`dailyQuotas.tenants.${tenant}`, over(given, changes)),
      ]),
    );
  }

  /** Of a tenant, today: where everything that it does is counted. */
  account(tenant: string): Account {
    return this.#ledger.account(tenant);
  }

  limitsBytesOf(tenant: string): boolean {
    return this.#quota(tenant).bytes !== undefined;
  }

  /** @throws `quota_exceeded` when the body does not fit into what is left of today. Nothing is taken. */
  requireBytes({ tenant, counts, pendingBytes }: Account, body: AnnouncedBody): void {
    const { bytes: limit } = this.#quota(tenant);
    if (limit === undefined || body === 0) return;
    const used = counts.bytes + pendingBytes;
    const requested = body === "chunked" ? 1 : body;
    if (used + requested > limit) throw this.#exceeded({ quota: "bytes", used, requested, limit });
  }

  /** @throws `quota_exceeded`: then nothing was charged. @returns the day, for {@link refundTasks}. */
  chargeTasks({ tenant }: { readonly tenant: string }, count: number): number {
    const account = this.#ledger.account(tenant);
    const { gpuMs, tasks } = account.counts;
    const { gpuSeconds, tasks: limit } = this.#quota(tenant);
    if (gpuSeconds !== undefined && gpuMs >= gpuSeconds * 1000) {
      throw this.#exceeded({ quota: "gpu_seconds", used: gpuMs / 1000, requested: 0, limit: gpuSeconds });
    }
    if (limit !== undefined && tasks + count > limit)
      throw this.#exceeded({ quota: "tasks", used: tasks, requested: count, limit });
    account.add("tasks", count);
    return account.day;
  }

  /** They were not stored. */
  refundTasks({ tenant }: { readonly tenant: string }, count: number, day: number): void {
    const account = this.#ledger.account(tenant);
    // Otherwise midnight has passed, and nothing is held against that day any more.
    if (account.day === day) account.add("tasks", -count);
  }

  taskSettled(task: TaskRecord): void {
    this.taskRan(task.tenant, executionMs(task));
  }

  taskRan(tenant: string, executeMs: number): void {
    if (executeMs > 0) this.#ledger.account(tenant).add("gpuMs", executeMs);
  }

  usage(tenant: string): TenantUsage {
    const { tasks, gpuMs, bytes, requests } = this.#ledger.countsOf(tenant);
    const quota = this.#quota(tenant);
    return {
      tenant,
      day: this.#ledger.dayText,
      resetsAtMs: this.#ledger.dayEndsAtMs,
      tasks: { used: tasks, limit: quota.tasks },
      gpuSeconds: { used: gpuMs / 1000, limit: quota.gpuSeconds },
      bytes: { used: bytes, limit: quota.bytes },
      requests: { used: requests, limit: undefined },
    };
  }

  #quota(tenant: string): Quota {
    return this.#byTenant.get(tenant) ?? this.#default;
  }

  #exceeded({ quota, used, requested, limit }: Passed): LegacyGpuError {
    const resetsAtMs = this.#ledger.dayEndsAtMs;
    const resetsAt = new Date(resetsAtMs).toISOString();
    const retryAfterSeconds = Math.max(1, Math.ceil((resetsAtMs - this.#clock.now()) / 1000));
    const details = { quota, used, requested, limit, resetsAt, retryAfterSeconds };
    if (requested > limit) {
      const message = `This needs ${requested} ${quota}, more than the ${limit} that this tenant may use in a day: send less at a time.`;
      return fail("quota_exceeded", message, details);
    }
    const asked = requested === 0 ? "" : `, and this needs ${requested} more`;
    const message = `This tenant has used ${used} of the ${limit} ${quota} of today${asked}; they begin anew at ${resetsAt}.`;
    return fail("quota_exceeded", message, details);
  }
}

function over(below: QuotaConfig, above: QuotaConfig): QuotaConfig {
  const { tasks = below.tasks, gpuSeconds = below.gpuSeconds, bytes = below.bytes } = above;
  return { tasks, gpuSeconds, bytes };
}

function quotaOf(name: string, { tasks, gpuSeconds, bytes }: QuotaConfig): Quota {
  return {
    tasks: amount(`${name}.tasks`, tasks),
    gpuSeconds: amount(`${name}.gpuSeconds`, gpuSeconds),
    bytes: amount(`${name}.bytes`, bytes),
  };
}

function amount(path: string, given: number | null | undefined): number | undefined {
  if (given === undefined || given === null) return undefined;
  if (Number.isFinite(given) && given >= 0) return given;
  throw fail("config_invalid", `${path}: ${given} is not a number from 0.`, { path });
}
