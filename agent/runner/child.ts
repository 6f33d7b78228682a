/** Entry of the runner process: chooses its engine. */

import { OnnxExecutor } from "../executors/onnx.ts";
import { serveRunner } from "./serve.ts";

serveRunner(new OnnxExecutor(), () => process.exit(0));
