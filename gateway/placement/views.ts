/** What the planner is told, and what it answers. Plain values: it asks nobody and changes nothing. */

/**
 * sound: may get a model. doubtful: it was spared and may prove itself; it gets a model when no other can. pausing: its link broke, or was
 * made, a moment ago; it keeps what it has and gets nothing. failing: it drains, is spared, or has been away for longer; what it has is to be
 * had elsewhere.
 */
export type WorkerCondition = "sound" | "doubtful" | "pausing" | "failing";

export interface WorkerView {
  readonly id: string;
  readonly site: string;
  readonly condition: WorkerCondition;
  readonly providers: readonly string[];
  /** Of its largest card; 0: it has none, or nobody knows. */
  readonly gpuBytes: number;
  /** What it runs, as a share of its slots. */
  readonly load: number;
}

/**
 * A version of a model on a worker.
 *
 * | state    | it                                          | leaves it                                                        |
 * | -------- | ------------------------------------------- | ---------------------------------------------------------------- |
 * | loading  | was told to load it; gets no tasks yet      | it says `ready` → ready; `failed`, or the worker is gone → forgotten |
 * | ready    | gets tasks                                  | too many, replaced, or outdated → retiring; evicted → forgotten   |
 * | retiring | gets no more tasks, finishes what it holds  | wanted again → ready; holds nothing → told to unload, forgotten   |
 */
export type ReplicaState = "loading" | "ready" | "retiring";

export interface ReplicaView {
  readonly workerId: string;
  readonly version: string;
  readonly state: ReplicaState;
  readonly inFlight: number;
}

/** What a version asks of a worker. */
export interface PlacedVersion {
  readonly version: string;
  /** One of each list; an absent one asks for nothing. */
  readonly providers: readonly (readonly string[] | undefined)[];
  readonly sites: readonly string[] | undefined;
  /** GPU memory that it takes. */
  readonly needBytes: number;
  /** Whether the manifest says so. Otherwise it is an estimate, and no reason to turn a worker down. */
  readonly isNeedDeclared: boolean;
}

export interface Demand {
  readonly waiting: number;
  /** How long the last of these waits at the present pace; undefined: that is not known. */
  readonly estimatedWaitMs: number | undefined;
  /** How many replicas its tasks have needed at once at some time within the idle time to live. */
  readonly retained: number;
}

export interface DeploymentView {
  readonly model: string;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** Undefined: there is no such version, or it is not deployed any more; what is left of it goes. */
  readonly wanted: PlacedVersion | undefined;
  readonly replicas: readonly ReplicaView[];
  /** As many as were wanted last. */
  readonly target: number;
  /** Whether the last replica was added so long ago that its effect can be seen. */
  readonly isSettled: boolean;
  readonly demand: Demand;
  /** Workers that are not to be asked again yet. */
  readonly barred: ReadonlySet<string>;
  /** Workers that have the file on their disk. */
  readonly holders: ReadonlySet<string>;
  /** Workers that have the wanted version loaded without being its replicas: from before the deployment, or this start. */
  readonly loaded: ReadonlySet<string>;
}

export type ChangeKind =
  /** Have the worker load it. */
  | "load"
  /** It has it loaded: it is a replica from now on. */
  | "adopt"
  /** It has it loaded, and is one too many: as a replica that retires. */
  | "dismiss"
  /** No more tasks for it. */
  | "retire"
  /** It was retiring and is wanted again. */
  | "keep"
  /** Have the worker forget it. */
  | "unload";

export interface Change {
  readonly kind: ChangeKind;
  readonly model: string;
  readonly version: string;
  readonly workerId: string;
  /** For the log and for people. */
  readonly why: string;
}

export interface Plan {
  readonly changes: readonly Change[];
  /** By model: how many replicas are wanted. */
  readonly targets: ReadonlyMap<string, number>;
  /** By model: why there are fewer, when no worker is left. */
  readonly shortfalls: ReadonlyMap<string, string>;
}
