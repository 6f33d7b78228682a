/** The private CA and its certificates: what other packages may use of this one. */

export { type CaChangeOptions, finishCaChange, startCaChange } from "./ca-change.ts";
export { type CertificateFacts, describeCertificates } from "./describe.ts";
export { type CertificateOptions, type Certificates, ensureCertificates } from "./ensure-certificates.ts";
