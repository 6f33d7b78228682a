/** One message of each kind with the bytes of version 1. These bytes never change: agents in the field write them. */

import type { AgentMessage, GatewayMessage } from "@legacygpu/shared/protocol/messages";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

export const AGENT_VECTORS: readonly [name: string, message: AgentMessage, hex: string][] = [
  [
    "hello",
    {
      type: "hello",
      protocol: [1],
      agentVersion: "0.1.0",
      workerId: "w1",
      instanceId: "i1",
      site: "lab",
      labels: { tier: "a" },
      hardware: {
        cpu: { model: "cpu", cores: 4 },
        memoryBytes: 8589934592,
        platform: "linux x64",
        gpus: [{ name: "RX 580", vendor: "AMD", vramBytes: 8589934592, driver: "radv" }],
      },
      providers: ["webgpu", "cpu"],
      slots: 2,
      models: [{ name: "m", version: "1", file: DIGEST }],
      held: [{ taskId: "t1", token: 1700000000000001 }],
    },
    "dc00018ca474797065a568656c6c6fa870726f746f636f6c9101ac6167656e7456657273696f6ea5302e312e30a8776f726b65724964a27731aa696e7374616e63654964a26931a473697465a36c6162a66c6162656c7381a474696572a161a8686172647761726584a363707582a56d6f64656ca3637075a5636f72657304ab6d656d6f72794279746573cf0000000200000000a8706c6174666f726da96c696e757820783634a4677075739184a46e616d65a6525820353830a676656e646f72a3414d44a97672616d4279746573cf0000000200000000a6647269766572a472616476a970726f76696465727392a6776562677075a3637075a5736c6f747302a66d6f64656c739183a46e616d65a16da776657273696f6ea131a466696c65d9477368613235363a30313233343536373839616263646566303132333435363738396162636465663031323334353637383961626364656630313233343536373839616263646566a468656c649182a67461736b4964a27431a5746f6b656ecf00060a24181e4001",
  ],
  [
    "accepted",
    { type: "accepted", taskId: "t1", token: 7 },
    "dc000183a474797065a86163636570746564a67461736b4964a27431a5746f6b656e07",
  ],
  [
    "result with tensors",
    {
      type: "result",
      taskId: "t1",
      token: 7,
      output: {
        kind: "output",
        tensors: [
          { name: "x", datatype: "FP32", shape: [1, 2], data: new Uint8Array([0, 0, 128, 63, 0, 0, 0, 64]) },
        ],
      },
      timings: { queuedMs: 0, fetchMs: 0, loadMs: 1.5, preprocessMs: 2, executeMs: 3, postprocessMs: 0.25 },
      provider: "cpu",
    },
    "dc000186a474797065a6726573756c74a67461736b4964a27431a5746f6b656e07a66f757470757482a46b696e64a66f7574707574a774656e736f72739184a46e616d65a178a86461746174797065a446503332a57368617065920102a464617461c4080000803f00000040a774696d696e677386a87175657565644d7300a766657463684d7300a66c6f61644d73cb3ff8000000000000ac70726570726f636573734d7302a9657865637574654d7303ad706f737470726f636573734d73cb3fd0000000000000a870726f7669646572a3637075",
  ],
  [
    "result with predictions",
    {
      type: "result",
      taskId: "t1",
      token: 7,
      output: { kind: "output", tensors: [], predictions: [{ label: "seven", index: 7, score: 0.5 }] },
      timings: { queuedMs: 0, fetchMs: 0, loadMs: 0, preprocessMs: 0, executeMs: 0, postprocessMs: 0 },
      provider: "webgpu",
    },
    "dc000186a474797065a6726573756c74a67461736b4964a27431a5746f6b656e07a66f757470757483a46b696e64a66f7574707574a774656e736f727390ab70726564696374696f6e739183a56c6162656ca5736576656ea5696e64657807a573636f7265cb3fe0000000000000a774696d696e677386a87175657565644d7300a766657463684d7300a66c6f61644d7300ac70726570726f636573734d7300a9657865637574654d7300ad706f737470726f636573734d7300a870726f7669646572a6776562677075",
  ],
  [
    "result beside the link",
    {
      type: "result",
      taskId: "t1",
      token: 7,
      output: { kind: "beside", sizeBytes: 100000 },
      timings: { queuedMs: 0, fetchMs: 0, loadMs: 0, preprocessMs: 0, executeMs: 0, postprocessMs: 0 },
      provider: "cpu",
    },
    "dc000186a474797065a6726573756c74a67461736b4964a27431a5746f6b656e07a66f757470757482a46b696e64a6626573696465a973697a654279746573ce000186a0a774696d696e677386a87175657565644d7300a766657463684d7300a66c6f61644d7300ac70726570726f636573734d7300a9657865637574654d7300ad706f737470726f636573734d7300a870726f7669646572a3637075",
  ],
  [
    "failed",
    {
      type: "failed",
      taskId: "t1",
      token: 7,
      error: {
        code: "runner_crashed",
        message: "signal 11",
        retryable: true,
        details: { signal: "SIGSEGV" },
      },
    },
    "dc000184a474797065a66661696c6564a67461736b4964a27431a5746f6b656e07a56572726f7284a4636f6465ae72756e6e65725f63726173686564a76d657373616765a97369676e616c203131a9726574727961626c65c3a764657461696c7381a67369676e616ca753494753454756",
  ],
  [
    "model_state",
    { type: "model_state", name: "m", version: "1", state: "downloading", receivedBytes: 5, totalBytes: 10 },
    "dc000186a474797065ab6d6f64656c5f7374617465a46e616d65a16da776657273696f6ea131a57374617465ab646f776e6c6f6164696e67ad7265636569766564427974657305aa746f74616c42797465730a",
  ],
  [
    "telemetry",
    { type: "telemetry", running: 1, queued: 2, rssBytes: 1000000, cpuPercent: 12.5 },
    "dc000185a474797065a974656c656d65747279a772756e6e696e6701a671756575656402a87273734279746573ce000f4240aa63707550657263656e74cb4029000000000000",
  ],
  [
    "goodbye",
    { type: "goodbye", reason: "drained" },
    "dc000182a474797065a7676f6f64627965a6726561736f6ea7647261696e6564",
  ],
  [
    "ack",
    { type: "ack", receivedBytes: 65536 },
    "dc000182a474797065a361636bad72656365697665644279746573ce00010000",
  ],
  [
    "model_state with a rate",
    {
      type: "model_state",
      name: "m",
      version: "1",
      state: "downloading",
      receivedBytes: 5,
      totalBytes: 10,
      bytesPerSecond: 2.5,
    },
    "dc000187a474797065ab6d6f64656c5f7374617465a46e616d65a16da776657273696f6ea131a57374617465ab646f776e6c6f6164696e67ad7265636569766564427974657305aa746f74616c42797465730aae62797465735065725365636f6e64cb4004000000000000",
  ],
  [
    "model_state of a ready one, with its times",
    {
      type: "model_state",
      name: "m",
      version: "1",
      state: "ready",
      provider: "webgpu",
      timings: { transferMs: 1500, loadMs: 250.5, warmUpMs: 20 },
    },
    "dc000186a474797065ab6d6f64656c5f7374617465a46e616d65a16da776657273696f6ea131a57374617465a57265616479a870726f7669646572a6776562677075a774696d696e677383aa7472616e736665724d73cd05dca66c6f61644d73cb406f500000000000a87761726d55704d7314",
  ],
  [
    "blob_server",
    {
      type: "blob_server",
      port: 4711,
      addresses: ["10.0.0.3", "fd00::3"],
      certificate: "PEM",
      tokenKey: new Uint8Array([1, 2, 3, 4]),
    },
    "dc000185a474797065ab626c6f625f736572766572a4706f7274cd1267a961646472657373657392a831302e302e302e33a7666430303a3a33ab6365727469666963617465a350454da8746f6b656e4b6579c40401020304",
  ],
  [
    "blob_state of a blob that is wanted",
    { type: "blob_state", digest: DIGEST, state: "wanted", receivedBytes: 5 },
    "dc000184a474797065aa626c6f625f7374617465a6646967657374d9477368613235363a30313233343536373839616263646566303132333435363738396162636465663031323334353637383961626364656630313233343536373839616263646566a57374617465a677616e746564ad7265636569766564427974657305",
  ],
  [
    "blob_state of a blob that is there",
    { type: "blob_state", digest: DIGEST, state: "held" },
    "dc000183a474797065aa626c6f625f7374617465a6646967657374d9477368613235363a30313233343536373839616263646566303132333435363738396162636465663031323334353637383961626364656630313233343536373839616263646566a57374617465a468656c64",
  ],
  [
    "hello of an agent that releases",
    {
      type: "hello",
      protocol: [1],
      agentVersion: "0.1.0",
      workerId: "w1",
      instanceId: "i1",
      site: "lab",
      labels: {},
      hardware: {
        cpu: { model: "cpu", cores: 4 },
        memoryBytes: 8589934592,
        platform: "linux x64",
        gpus: [],
      },
      providers: ["cpu"],
      slots: 2,
      models: [],
      held: [],
      releases: true,
    },
    "dc00018da474797065a568656c6c6fa870726f746f636f6c9101ac6167656e7456657273696f6ea5302e312e30a8776f726b65724964a27731aa696e7374616e63654964a26931a473697465a36c6162a66c6162656c7380a8686172647761726584a363707582a56d6f64656ca3637075a5636f72657304ab6d656d6f72794279746573cf0000000200000000a8706c6174666f726da96c696e757820783634a46770757390a970726f76696465727391a3637075a5736c6f747302a66d6f64656c7390a468656c6490a872656c6561736573c3",
  ],
  [
    "result of a run that was not the only one",
    {
      type: "result",
      taskId: "t1",
      token: 7,
      output: { kind: "output", tensors: [] },
      timings: {
        queuedMs: 0,
        fetchMs: 0,
        loadMs: 1.5,
        preprocessMs: 2,
        executeMs: 3,
        postprocessMs: 0.25,
        concurrency: 2,
      },
      provider: "cpu",
    },
    "dc000186a474797065a6726573756c74a67461736b4964a27431a5746f6b656e07a66f757470757482a46b696e64a66f7574707574a774656e736f727390a774696d696e677387a87175657565644d7300a766657463684d7300a66c6f61644d73cb3ff8000000000000ac70726570726f636573734d7302a9657865637574654d7303ad706f737470726f636573734d73cb3fd0000000000000ab636f6e63757272656e637902a870726f7669646572a3637075",
  ],
  [
    "released without having run",
    { type: "released", taskId: "t1", token: 7 },
    "dc000183a474797065a872656c6561736564a67461736b4964a27431a5746f6b656e07",
  ],
  [
    "released after its run",
    {
      type: "released",
      taskId: "t1",
      token: 7,
      timings: { queuedMs: 0, fetchMs: 0, loadMs: 1.5, preprocessMs: 2, executeMs: 3, postprocessMs: 0.25 },
    },
    "dc000184a474797065a872656c6561736564a67461736b4964a27431a5746f6b656e07a774696d696e677386a87175657565644d7300a766657463684d7300a66c6f61644d73cb3ff8000000000000ac70726570726f636573734d7302a9657865637574654d7303ad706f737470726f636573734d73cb3fd0000000000000",
  ],
];

export const GATEWAY_VECTORS: readonly [name: string, message: GatewayMessage, hex: string][] = [
  [
    "welcome",
    {
      type: "welcome",
      protocol: 1,
      sessionId: "s1",
      serverTimeMs: 1700000000000,
      heartbeatIntervalMs: 5000,
      heartbeatTimeoutMs: 15000,
      keep: [7],
    },
    "dc000187a474797065a777656c636f6d65a870726f746f636f6c01a973657373696f6e4964a27331ac73657276657254696d654d73cf0000018bcfe56800b3686561727462656174496e74657276616c4d73cd1388b268656172746265617454696d656f75744d73cd3a98a46b6565709107",
  ],
  [
    "task with tensors",
    {
      type: "task",
      taskId: "t1",
      token: 7,
      model: { name: "m", version: "1" },
      budgetMs: 1000,
      input: {
        kind: "tensors",
        tensors: [
          { name: "x", datatype: "FP32", shape: [1, 2], data: new Uint8Array([0, 0, 128, 63, 0, 0, 0, 64]) },
        ],
      },
      outputs: ["y"],
    },
    "dc000187a474797065a47461736ba67461736b4964a27431a5746f6b656e07a56d6f64656c82a46e616d65a16da776657273696f6ea131a86275646765744d73cd03e8a5696e70757482a46b696e64a774656e736f7273a774656e736f72739184a46e616d65a178a86461746174797065a446503332a57368617065920102a464617461c4080000803f00000040a76f75747075747391a179",
  ],
  [
    "task with a picture",
    {
      type: "task",
      taskId: "t1",
      token: 7,
      model: { name: "m", version: "1" },
      input: { kind: "image", image: new Uint8Array([137, 80, 78, 71]) },
    },
    "dc000185a474797065a47461736ba67461736b4964a27431a5746f6b656e07a56d6f64656c82a46e616d65a16da776657273696f6ea131a5696e70757482a46b696e64a5696d616765a5696d616765c40489504e47",
  ],
  [
    "task with an execution limit",
    {
      type: "task",
      taskId: "t1",
      token: 7,
      model: { name: "m", version: "1" },
      budgetMs: 1000,
      executionLimitMs: 250,
      input: { kind: "image", image: new Uint8Array([137, 80, 78, 71]) },
    },
    "dc000187a474797065a47461736ba67461736b4964a27431a5746f6b656e07a56d6f64656c82a46e616d65a16da776657273696f6ea131a86275646765744d73cd03e8b0657865637574696f6e4c696d69744d73ccfaa5696e70757482a46b696e64a5696d616765a5696d616765c40489504e47",
  ],
  [
    "task beside the link",
    {
      type: "task",
      taskId: "t1",
      token: 7,
      model: { name: "m", version: "1" },
      input: { kind: "beside", sizeBytes: 600000 },
    },
    "dc000185a474797065a47461736ba67461736b4964a27431a5746f6b656e07a56d6f64656c82a46e616d65a16da776657273696f6ea131a5696e70757482a46b696e64a6626573696465a973697a654279746573ce000927c0",
  ],
  [
    "cancel",
    { type: "cancel", taskId: "t1", token: 7, reason: "by its owner" },
    "dc000184a474797065a663616e63656ca67461736b4964a27431a5746f6b656e07a6726561736f6eac627920697473206f776e6572",
  ],
  [
    "cancel of a superseded attempt",
    { type: "cancel", taskId: "t1", token: 7, reason: "late", isSuperseded: true },
    "dc000185a474797065a663616e63656ca67461736b4964a27431a5746f6b656e07a6726561736f6ea46c617465ac697353757065727365646564c3",
  ],
  [
    "load_model",
    {
      type: "load_model",
      model: { name: "m", version: "1", file: DIGEST, fileBytes: 1000, manifest: DIGEST },
      preload: true,
    },
    "dc000183a474797065aa6c6f61645f6d6f64656ca56d6f64656c85a46e616d65a16da776657273696f6ea131a466696c65d9477368613235363a30313233343536373839616263646566303132333435363738396162636465663031323334353637383961626364656630313233343536373839616263646566a966696c654279746573cd03e8a86d616e6966657374d9477368613235363a30313233343536373839616263646566303132333435363738396162636465663031323334353637383961626364656630313233343536373839616263646566a77072656c6f6164c3",
  ],
  [
    "unload_model",
    { type: "unload_model", name: "m", version: "1" },
    "dc000183a474797065ac756e6c6f61645f6d6f64656ca46e616d65a16da776657273696f6ea131",
  ],
  [
    "drain",
    { type: "drain", reason: "maintenance" },
    "dc000182a474797065a5647261696ea6726561736f6eab6d61696e74656e616e6365",
  ],
  [
    "heartbeat",
    { type: "heartbeat", serverTimeMs: 1700000000000 },
    "dc000182a474797065a9686561727462656174ac73657276657254696d654d73cf0000018bcfe56800",
  ],
  [
    "ack",
    { type: "ack", receivedBytes: 65536 },
    "dc000182a474797065a361636bad72656365697665644279746573ce00010000",
  ],
  [
    "welcome of a gateway that shares blobs",
    {
      type: "welcome",
      protocol: 1,
      sessionId: "s1",
      serverTimeMs: 1700000000000,
      heartbeatIntervalMs: 5000,
      heartbeatTimeoutMs: 15000,
      keep: [7],
      sharesBlobs: true,
    },
    "dc000188a474797065a777656c636f6d65a870726f746f636f6c01a973657373696f6e4964a27331ac73657276657254696d654d73cf0000018bcfe56800b3686561727462656174496e74657276616c4d73cd1388b268656172746265617454696d656f75744d73cd3a98a46b6565709107ab736861726573426c6f6273c3",
  ],
  [
    "blob_sources with a neighbour",
    {
      type: "blob_sources",
      digest: DIGEST,
      decision: "neighbours",
      sources: [{ address: "10.0.0.3", port: 4711, certificate: "PEM", token: "1700000300000.mac" }],
    },
    "dc000184a474797065ac626c6f625f736f7572636573a6646967657374d9477368613235363a30313233343536373839616263646566303132333435363738396162636465663031323334353637383961626364656630313233343536373839616263646566a86465636973696f6eaa6e65696768626f757273a7736f75726365739184a761646472657373a831302e302e302e33a4706f7274cd1267ab6365727469666963617465a350454da5746f6b656eb1313730303030303330303030302e6d6163",
  ],
  [
    "blob_sources of a blob that a neighbour is fetching",
    { type: "blob_sources", digest: DIGEST, decision: "wait", sources: [] },
    "dc000184a474797065ac626c6f625f736f7572636573a6646967657374d9477368613235363a30313233343536373839616263646566303132333435363738396162636465663031323334353637383961626364656630313233343536373839616263646566a86465636973696f6ea477616974a7736f757263657390",
  ],
];
