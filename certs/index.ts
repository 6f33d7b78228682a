/** Development certificates: what other packages may use of this one. */

export { type CertificateOptions, type Certificates, ensureCertificates } from "./ensure-certificates.ts";
