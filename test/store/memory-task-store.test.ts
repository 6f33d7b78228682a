import { MemoryTaskStore } from "../../gateway/store/memory-task-store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { taskStoreContract } from "./task-store-contract.ts";

taskStoreContract("memory", async (limits) => {
  const clock = new ManualClock();
  const store = new MemoryTaskStore({ ...limits, clock });
  return {
    store,
    clock,
    reopen: async () => {},
    sweep: async () => store.sweep(),
    close: () => store.close(),
  };
});
