/** How boxes become workers: join tokens let them in, proofs of their key get them identities. One per gateway. */

import type { Prove } from "@legacygpu/shared/api/enrolment";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { AuditLog } from "../audit/audit-log.ts";
import type { DocumentStore } from "../store/task-store.ts";
import { Challenges } from "./challenges.ts";
import { EnrolledWorkers, type IssuedIdentity } from "./enrolled-workers.ts";
import { JoinTokens } from "./join-tokens.ts";
import { isProof } from "./proof.ts";

const IDENTITY_LIFE_MS = 86_400_000;

export interface EnrolmentOptions {
  readonly documents: DocumentStore;
  readonly clock: Clock;
  readonly audit: Pick<AuditLog, "record">;
  /** The CAs that agents pin; undefined when the gateway has its certificate from one that every system knows. Asked each time: they change. */
  readonly caPem: () => string | undefined;
  /** manual: a worker that has enrolled gets no identity before an operator approves it. */
  readonly approval: "automatic" | "manual";
  /** Whether an agent with this worker id has a live link. */
  readonly isConnected: (workerId: string) => boolean;
  /** Whether a key has this id: no worker may choose it. Default: none has. */
  readonly isKeyId?: (id: string) => boolean;
  /** Default 24 h. */
  readonly identityLifeMs?: number;
}

export class Enrolment {
  readonly joinTokens: JoinTokens;
  /** Knows who presents an `lgi_…`, and tells whose registration ends. */
  readonly workers: EnrolledWorkers;
  readonly challenges: Challenges;
  readonly clock: Clock;
  readonly audit: Pick<AuditLog, "record">;
  readonly caPem: () => string | undefined;

  /** @throws `store_corrupt` */
  constructor(options: EnrolmentOptions) {
    const { documents, clock, audit, caPem, approval, isConnected } = options;
    const { isKeyId = () => false, identityLifeMs = IDENTITY_LIFE_MS } = options;
    this.joinTokens = new JoinTokens(documents, clock);
    this.workers = new EnrolledWorkers({
      documents,
      clock,
      joinTokens: this.joinTokens,
      approval,
      isConnected,
      isKeyId,
      identityLifeMs,
    });
    this.challenges = new Challenges(clock);
    this.clock = clock;
    this.audit = audit;
    this.caPem = caPem;
  }

  /**
   * @throws `auth_invalid`, the same and in the same time for an unknown worker, a wrong signature and a challenge that is not good;
   * then `worker_not_approved`, `worker_revoked`, `store_full`, `store_failed`
   */
  async prove(proof: Prove): Promise<IssuedIdentity> {
    const { worker_id: id, challenge } = proof;
    const isFresh = this.challenges.take(challenge, id);
    const worker = this.workers.get(id);
    const isSigned = isProof(worker?.publicKey, proof);
    if (!isFresh || !isSigned || worker === undefined) throw fail("auth_invalid");
    return this.workers.renew(worker);
  }
}
