/** `legacygpu certs …`: the gateway's private CA and its server certificate, on the gateway's own machine. */

import { openHome } from "@legacygpu/shared/home";
import type { Command } from "commander";
import type { CertificateFacts, CertificateTools } from "../certificate-tools.ts";
import { type Cli, refuse } from "../command.ts";
import type { Context } from "../context.ts";
import { durationText, facts } from "../table.ts";

interface RotateFlags {
  readonly start?: boolean;
  readonly finish?: boolean;
}

const AFTER_START = `
Agents that have joined learn the new CA within a day of being connected. Give ca.pem to every client and every other agent. Then run
legacygpu certs rotate-ca --finish; whoever knows only the old CA is refused from then on.
`;

const AFTER_FINISH = `
A running gateway uses the new certificate within a minute. Whoever still has the old ca.pem needs this one.
`;

/** @param tools loaded only when one of the commands runs. */
export function addCertsCommands(program: Command, cli: Cli, tools: () => Promise<CertificateTools>): void {
  const group = program
    .command("certs")
    .description("the gateway's private CA and its certificate, on its own machine");
  cli.command(group.command("show").description("subjects, names, ends and pins"), async (context) => {
    const { describeCertificates } = await tools();
    await print(context, describeCertificates, "");
    return undefined;
  });
  const rotate = group
    .command("rotate-ca")
    .description("replace the CA in two steps, so that nobody is cut off in between")
    .option("--start", "make the new CA and hand out both; the old one still issues")
    .option("--finish", "issue from the new CA and forget the old one");
  const mistake = ({ start, finish }: RotateFlags): string | undefined =>
    start === finish ? "give either --start or --finish" : undefined;
  cli.command(refuse(rotate, mistake), async (context: Context, { start }: RotateFlags) => {
    const { describeCertificates, startCaChange, finishCaChange } = await tools();
    const change = start === true ? startCaChange : finishCaChange;
    await change({ dir: certsDir(context), clock: context.io.clock });
    await print(context, describeCertificates, start === true ? AFTER_START : AFTER_FINISH);
    return undefined;
  });
}

const certsDir = (context: Context): string => openHome(context.io.env).certs;

async function print(
  context: Context,
  describe: CertificateTools["describeCertificates"],
  hint: string,
): Promise<void> {
  const dir = certsDir(context);
  const found = await describe(dir);
  context.print({ certificates: found.map(toJson) }, () => {
    if (found.length === 0)
      return `There are no certificates in ${dir}. The first start of a gateway makes them.\n`;
    return found.map((each) => textOf(each, context.io.clock.now())).join("\n") + hint;
  });
}

function textOf(certificate: CertificateFacts, nowMs: number): string {
  const { role, file, subject, names, notAfterMs, spkiSha256 } = certificate;
  const left = notAfterMs > nowMs ? `in ${durationText(notAfterMs - nowMs)}` : "over";
  return facts([
    [role, subject],
    ["file", file],
    ["names", names.length === 0 ? undefined : names.join(", ")],
    ["ends", `${new Date(notAfterMs).toISOString()} (${left})`],
    // As `curl --pinnedpubkey` takes it.
    ["pin", `sha256//${spkiSha256}`],
  ]);
}

function toJson({
  role,
  file,
  subject,
  names,
  notBeforeMs,
  notAfterMs,
  spkiSha256,
}: CertificateFacts): object {
  return {
    role,
    file,
    subject,
    names,
    not_before: new Date(notBeforeMs).toISOString(),
    not_after: new Date(notAfterMs).toISOString(),
    spki_sha256: spkiSha256,
  };
}
