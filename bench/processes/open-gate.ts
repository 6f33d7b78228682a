/** A door that asks for keys and knows no limits, for those who put the gateway's parts together by themselves. */

import { Authenticator, type CredentialSource } from "@legacygpu/gateway/auth/authenticator";
import { Gatekeeper } from "@legacygpu/gateway/auth/gatekeeper";
import { systemClock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";

export function openGate(keys: CredentialSource): Gatekeeper {
  const none = {
    authenticate: (): never => {
      throw fail("auth_invalid");
    },
  };
  const visit = { leave: () => {} };
  return new Gatekeeper({
    clock: systemClock,
    authenticator: new Authenticator({ keys, identities: none, tokens: none }),
    limits: {
      checkAddress: () => {},
      authenticationFailed: () => {},
      openSocket: () => {},
      enterUnknown: () => visit,
      enter: () => visit,
    },
    audit: { record: () => {} },
    revocable: [],
  });
}
