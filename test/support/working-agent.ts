/** A {@link FakeAgent} that answers every task it is sent, until a test wants something else of it. */

import type { AgentMessage, GatewayMessage, MessageOf } from "@legacygpu/shared/protocol/messages";
import { FakeAgent } from "./fake-agent.ts";
import type { GatewayRig } from "./gateway-rig.ts";
import { timings } from "./scheduler-rig.ts";

type Task = MessageOf<GatewayMessage, "task">;
export type Answer = (task: Task) => AgentMessage | undefined;

export const completed: Answer = ({ taskId, token }) => ({
  type: "result",
  taskId,
  token,
  output: {
    kind: "output",
    tensors: [{ name: "output", datatype: "FP32", shape: [1, 16], data: new Uint8Array(64) }],
  },
  timings: timings(1),
  provider: "cpu",
});

export const failedWith =
  (code: string, message = code, retryable = true): Answer =>
  ({ taskId, token }) => ({ type: "failed", taskId, token, error: { code, message, retryable } });

export class WorkingAgent {
  readonly agent: FakeAgent;
  answer: Answer = completed;
  readonly #loop: NodeJS.Timeout;
  #answered = 0;

  private constructor(agent: FakeAgent) {
    this.agent = agent;
    this.#loop = setInterval(() => this.#answerNew(), 2);
  }

  static async connect(rig: GatewayRig, workerId: string, answer: Answer = completed): Promise<WorkingAgent> {
    const working = new WorkingAgent(await FakeAgent.connect(rig, workerId, { slots: 8 }));
    working.answer = answer;
    return working;
  }

  async close(): Promise<void> {
    clearInterval(this.#loop);
    await this.agent.close();
  }

  #answerNew(): void {
    const tasks = this.agent.all("task");
    for (const task of tasks.slice(this.#answered)) {
      const message = this.answer(task);
      if (message !== undefined) this.agent.send(message);
    }
    this.#answered = tasks.length;
  }
}
