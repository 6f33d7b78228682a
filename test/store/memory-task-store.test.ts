import { MemoryTaskStore } from "../../gateway/store/memory-task-store.ts";
import { taskStoreContract } from "./task-store-contract.ts";

taskStoreContract("memory", async (limits) => {
  const store = new MemoryTaskStore(limits);
  return { store, reopen: async () => {}, sweep: async () => {}, close: () => store.close() };
});
